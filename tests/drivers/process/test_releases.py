"""Releases: what of a folder is copied, what is shared, and what a broken, huge or changing folder does."""

import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers import source
from tenfold.drivers.project import Project
from tenfold.drivers.releases import capture, release_ids, remove, source_digest
from tenfold.effects import RemoveRelease
from tenfold.ports import Permanent, Refused, Retryable


def write(root: Path, files: Mapping[str, str]) -> None:
    """Make files with their folders."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def names(folder: Path) -> set[str]:
    """All files and links in a release; a link to data is marked with @."""
    found = set()
    for at, folders, files in os.walk(folder):
        for name in [*files, *(name for name in folders if (Path(at) / name).is_symlink())]:
            path = Path(at) / name
            shared = path.is_symlink() and path.readlink().is_absolute()
            found.add(str(path.relative_to(folder)) + ("@" if shared else ""))
    return found


def test_a_plain_folder_is_copied_but_for_junk_and_data(project: Project) -> None:
    """Without git: caches are left out, environments and databases are shared, everything else is the release's own."""
    root = project.root
    write(root, {"app.py": "1", "static/site.css": "2", "db.sqlite3": "data", ".env": "KEY=1", ".env.example": "KEY="})
    write(root, {"__pycache__/x.pyc": "junk", ".hg/store": "junk", "uploads/photo": "data", "pkg/nested.db": "data"})
    write(root, {".venv/pyvenv.cfg": "", "node_modules/pad.js": "", "db.sqlite3-wal": "side"})
    (root / "empty").mkdir()
    made = capture(project, (), built=False)
    assert made.id == "r1" and made.files == 3
    shared = {"db.sqlite3@", ".env@", "uploads@", "pkg/nested.db@", ".venv@", "node_modules@"}
    own = {"app.py", "static/site.css", ".env.example"}
    assert names(made.path) == own | shared
    assert (made.path / "empty").is_dir()
    (made.path / "db.sqlite3").write_text("written through the release")
    assert (root / "db.sqlite3").read_text() == "written through the release"


def test_with_a_build_environments_are_not_shared(project: Project) -> None:
    """A build writes its environment; were it shared, it would change under the releases that serve."""
    write(project.root, {"app.py": "1", ".venv/pyvenv.cfg": "", "web/node_modules/pad.js": ""})
    assert names(capture(project, (), built=True).path) == {"app.py"}
    assert names(capture(project, (), built=False).path) == {"app.py", ".venv@", "web/node_modules@"}


def test_a_checkout_is_what_git_says(project: Project) -> None:
    """In git: tracked and new files are copied, ignored ones shared, ignored output of builds copied, deleted files left out."""
    root = project.root
    write(
        root, {"app.py": "1", "gone.py": "1", ".gitignore": ".venv\n/data/\ndist/\n*.log\n__pycache__\n", "ä b.py": "1"}
    )
    git(root, "init")
    git(root, "add", "-A")
    git(root, "commit", "-m", "x")
    (root / "gone.py").unlink()
    write(root, {"new.py": "1", "data/rows": "d", "dist/bundle.js": "b", "web.log": "l", "pkg/data.py": "1"})
    write(root, {".venv/pyvenv.cfg": "", "uploads/photo": "d", "notes.sqlite3": "d"})
    (root / "pkg" / "__pycache__").mkdir()
    (root / "pkg" / "__pycache__" / "x.pyc").touch()
    own = {"app.py", "new.py", ".gitignore", "ä b.py", "pkg/data.py"}
    data = {"data@", "web.log@", "uploads@", "notes.sqlite3@"}
    assert names(capture(project, (), built=False).path) == own | data | {".venv@", "dist/bundle.js"}
    assert names(capture(project, (), built=True).path) == own | data


def test_a_subfolder_of_a_checkout_and_an_ignored_one(project: Project, tmp_path: Path) -> None:
    """A project deep in a repository gets its own part of it; one that the repository ignores is a plain folder."""
    outer = tmp_path / "outer"
    write(outer, {"top.py": "1", "app/web.py": "1", ".gitignore": "scratch/\n", "scratch/web.py": "1"})
    git(outer, "init")
    git(outer, "add", "-A")
    assert names(capture(Project(outer / "app", "x"), (), built=False).path) == {"web.py"}
    assert names(capture(Project(outer / "scratch", "x"), (), built=False).path) == {"web.py"}


def test_kept_paths_are_shared_whatever_they_are(project: Project) -> None:
    """A kept folder is made, a kept file may come later through its link, and neither is lost with its release."""
    root = project.root
    write(root, {"app.py": "1", "state/old.txt": "data", "lib/cache/x": "data"})
    keep = ("state/", "new-folder/", "later.json", "lib/cache")
    made = capture(project, keep, built=False)
    assert names(made.path) == {"app.py", "state@", "new-folder@", "later.json@", "lib/cache@"}
    (made.path / "later.json").write_text("{}")
    (made.path / "new-folder" / "x").write_text("1")
    remove(project, made.id)
    assert (root / "later.json").read_text() == "{}" and (root / "new-folder" / "x").read_text() == "1"
    assert (root / "state" / "old.txt").exists()


def test_data_that_a_program_saved_by_renaming_is_not_lost(project: Project) -> None:
    """A shared file that was replaced in a release stops the next release and the removal, until it was moved back."""
    write(project.root, {"app.py": "1", "state.json": "old"})
    made = capture(project, ("state.json",), built=False)
    (made.path / "fresh").write_text("new")
    (made.path / "fresh").replace(made.path / "state.json")
    for attempt in (lambda: capture(project, ("state.json",), built=False), lambda: remove(project, "r1")):
        with pytest.raises(Permanent, match=r"release r1 replaced the shared state.json by one of its own"):
            attempt()
    (made.path / "state.json").replace(project.root / "state.json")
    assert (capture(project, ("state.json",), built=False).path / "state.json").read_text() == "new"
    remove(project, "r1")
    assert release_ids(project) == ("r2",)


@pytest.mark.parametrize("name", ["../data", "/etc", "a/../../b", "", "."])
def test_a_kept_path_must_stay_inside(project: Project, name: str) -> None:
    """A `keep` that leads out of the project is an error, not a link to elsewhere."""
    with pytest.raises(Permanent, match="must be a path inside"):
        capture(project, (name,), built=False)


def test_a_kept_path_behind_a_link_is_not_written_through_it(project: Project, tmp_path: Path) -> None:
    """A link in the source that leads to data elsewhere stays as it is; nothing is made in what it leads to."""
    (tmp_path / "elsewhere").mkdir()
    project.root.joinpath("data").symlink_to(tmp_path / "elsewhere")
    made = capture(project, ("data/uploads/",), built=False)
    assert (made.path / "data").resolve() == tmp_path / "elsewhere"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["uploads"]
    assert not (tmp_path / "elsewhere" / "uploads").is_symlink()


def test_links_keep_their_meaning_and_loops_end(project: Project) -> None:
    """Links inside stay relative, links out of the project still lead there, loops are copied as what they are."""
    root = project.root / "app"
    write(root, {"a.py": "1", "sub/b.py": "1"})
    (project.root / "shared.txt").write_text("outside")
    (root / "sub" / "up").symlink_to("../a.py")
    (root / "out").symlink_to("../shared.txt")
    (root / "loop").symlink_to("loop")
    (root / "self").symlink_to(".")
    made = capture(Project(root, "x"), (), built=False)
    assert (made.path / "sub" / "up").readlink() == Path("../a.py")
    assert (made.path / "out").read_text() == "outside"
    assert (made.path / "loop").readlink() == Path("loop") and (made.path / "self").readlink() == Path()


def test_the_digest_tells_whether_anything_changed(project: Project) -> None:
    """Equal source has an equal digest, whenever it is taken; content, names, programs and links count, data and times don't."""
    root = project.root
    write(root, {"app.py": "1", "db.sqlite3": "data"})
    first = capture(project, (), built=False).digest
    assert source_digest(project, (), built=False) == first
    os.utime(root / "app.py", (1, 1))
    (root / "db.sqlite3").write_text("changed")
    assert source_digest(project, (), built=False) == first
    seen = {first}
    for change in (
        lambda: (root / "app.py").write_text("2"),
        lambda: (root / "app.py").chmod(0o755),
        lambda: (root / "app.py").rename(root / "main.py"),
        lambda: (root / "link").symlink_to("main.py"),
        lambda: ((root / "link").unlink(), (root / "link").symlink_to("gone")),
    ):
        change()
        digest = source_digest(project, (), built=False)
        assert digest not in seen and capture(project, (), built=False).digest == digest
        seen.add(digest)


def test_a_copy_is_faithful_and_independent(project: Project) -> None:
    """Programs stay programs, times stay, and changing the folder later changes no release."""
    write(project.root, {"run.sh": "#!/bin/sh\n"})
    (project.root / "run.sh").chmod(0o755)
    os.utime(project.root / "run.sh", (1000, 1000))
    made = capture(project, (), built=False)
    copied = (made.path / "run.sh").stat()
    assert copied.st_mode & 0o777 == 0o755 and copied.st_mtime == 1000
    (project.root / "run.sh").write_text("changed")
    assert (made.path / "run.sh").read_text() == "#!/bin/sh\n"


def test_pipes_and_sockets_are_left_out(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no file, link or folder can't be part of a release and does not stop one."""
    write(project.root, {"app.py": "1"})
    os.mkfifo(project.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(project.root)  # The path of a socket may be only 107 characters long.
        listener.bind("socket")
        assert names(capture(project, (), built=False).path) == {"app.py"}


def test_numbers_are_never_given_twice(project: Project) -> None:
    """Two deploys at once, a removed release, a journal that knows higher numbers: each release gets a number of its own."""
    write(project.root, {"app.py": "1"})
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: capture(project, (), built=False).id, range(8)))
    assert sorted(made, key=lambda id_: int(id_[1:])) == [f"r{n}" for n in range(1, 9)] == list(release_ids(project))
    remove(project, "r8")
    assert capture(project, (), built=False).id == "r9"
    assert capture(project, (), built=False, after=20).id == "r21"
    assert not list(project.releases.glob(".r*.new"))


def test_a_full_disk_leaves_nothing_behind(project: Project) -> None:
    """A release that does not fit is taken away again, and the error says how much room it needs."""
    write(project.root, {"app.py": "1", "large.bin": "x" * 400_000})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(Retryable, match=r"the disk is full: release r1 needs 0.4 MiB; free some space"):
            capture(project, (), built=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert release_ids(project) == ()
    assert sum(path.stat().st_size for path in project.releases.rglob("*") if path.is_file()) < 100
    assert capture(project, (), built=False).id == "r1"


def test_too_much_is_refused_with_the_folder_to_blame(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is mostly data names its largest part and both ways out."""
    monkeypatch.setattr(source, "FILES_MAX", 20)
    monkeypatch.setattr(source, "SIZE_BYTES_MAX", 3_000_000)
    write(project.root, {"app.py": "1", "dumps/one": "x" * 4_000_000})
    with pytest.raises(Permanent, match=r"in dumps\); if that is data, share it by `keep: \[dumps\]`"):
        capture(project, (), built=False)
    shutil.rmtree(project.root / "dumps")
    write(project.root, {f"photos/{number}": "1" for number in range(30)})
    with pytest.raises(Permanent, match=r"more than 20 files .* in photos\)"):
        capture(project, (), built=False)
    assert capture(project, ("photos",), built=False).files == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_can_not_be_read_is_named(project: Project) -> None:
    """The file to blame is named, and no half release stays."""
    write(project.root, {"app.py": "1", "private/key": "1"})
    (project.root / "private" / "key").chmod(0)
    with pytest.raises(Permanent, match="can't read private/key: Permission denied"):
        capture(project, (), built=False)
    (project.root / "private").chmod(0)
    try:
        with pytest.raises(Permanent, match="can't read the folder private: Permission denied"):
            capture(project, (), built=False)
    finally:
        (project.root / "private").chmod(0o700)
    assert release_ids(project) == ()


def test_a_release_goes_even_where_a_build_locked_it(project: Project) -> None:
    """Folders that nobody may write to go too; removing what is gone is fine; only releases can be removed."""
    write(project.root, {"app.py": "1", "cache/mod/x.go": "1"})
    made = capture(project, (), built=False)
    for path in (made.path / "cache" / "mod" / "x.go", made.path / "cache" / "mod", made.path / "cache"):
        path.chmod(0o500)
    remove(project, made.id)
    remove(project, made.id)
    assert release_ids(project) == ()
    for name in ("", "..", "r0", "r1/../..", ".last"):
        with pytest.raises(Permanent):
            remove(project, name)


async def test_a_release_that_is_run_is_not_removed(bench: Any, habit: Any) -> None:
    """The driver refuses to delete the files under a running instance, and deletes them after."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    assert "r1" in await bench.facts()
    with pytest.raises(Refused, match="release r1 is still run by web-1"):
        await bench.send(RemoveRelease("r1"))
    await bench.stop("web-1")
    await bench.send(RemoveRelease("r1"))
    assert "r1" not in await bench.facts()


def test_an_interrupted_capture_is_cleared_away_by_the_next(project: Project) -> None:
    """What kill -9 left half made is no release, and gone after the next capture."""
    write(project.root, {"app.py": "1"})
    left = project.releases / ".r1.new"
    left.mkdir(parents=True)
    (left / "half").touch()
    assert release_ids(project) == ()
    assert capture(project, (), built=False).id == "r1"
    assert not left.exists()
