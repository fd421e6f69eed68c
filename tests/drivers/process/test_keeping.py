"""What is kept in files: the fence, secrets, logs."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.drivers import logs
from tenfold.drivers.env import environment_for, with_address
from tenfold.drivers.fence import Fence
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Mask, Secrets
from tenfold.model import Release, Service
from tenfold.ports import Permanent, Refused


def test_the_fence_remembers_the_highest_epoch_for_everyone(tmp_path: Path) -> None:
    """Two drivers, and a third one later, obey the newest control plane alone."""
    one, two = Fence(tmp_path / "run" / "fence"), Fence(tmp_path / "run" / "fence")
    one.check(3)
    two.check(3)
    two.check(4)
    with pytest.raises(Refused, match=r"another control plane has taken over .* \(epoch 4, not 3\)"):
        one.check(3)
    with pytest.raises(Refused):
        Fence(tmp_path / "run" / "fence").check(1)
    (tmp_path / "run" / "fence").write_text("")
    with pytest.raises(Permanent, match="is damaged"):
        one.check(5)


def test_secrets_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    """Set, list, override, forget; the file has mode 600, and one that others may read is not read."""
    path = tmp_path / ".tenfold" / "secrets.production"
    secrets = Secrets(path, environ={"B": "from the environment"})
    assert secrets.names() == ()
    secrets.set("A", "first\nsecond")
    secrets.set("B", "from the file")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.names() == ("A", "B")
    assert secrets.values(["A", "B"]) == {"A": "first\nsecond", "B": "from the environment"}
    assert secrets.unset("B") and not secrets.unset("B")
    with pytest.raises(Permanent, match="secrets C, D not set; run: tenfold -e production secrets set C"):
        secrets.values(["A", "C", "D"])
    path.chmod(0o640)
    with pytest.raises(Permanent, match=f"others may read .* run: chmod 600 {path}"):
        secrets.values(["A"])


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "TENFOLD_ID", "Ä"])
def test_names_that_no_environment_could_hold_are_refused(tmp_path: Path, name: str) -> None:
    """A secret's name must be a variable's name, and none of Tenfold's."""
    with pytest.raises(Permanent):
        Secrets(tmp_path / "secrets", environ={}).set(name, "value")
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("content", [b"\x00\xff", b"[]", b'{"A": 1}', b"", b"A=1"])
def test_a_damaged_file_of_secrets_says_so(tmp_path: Path, content: bytes) -> None:
    """What is not a file of secrets is not guessed at, nor overwritten by the next change."""
    path = tmp_path / "secrets"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Permanent, match="damaged"):
        Secrets(path, environ={}).values(["A"])
    with pytest.raises(Permanent, match="damaged"):
        Secrets(path, environ={}).set("A", "1")
    assert path.read_bytes() == content


@given(st.lists(st.text(min_size=4), max_size=4), st.text(), st.text())
def test_a_masked_text_holds_no_secret(values: list[str], before: str, after: str) -> None:
    """Whatever stands around a secret, and however secrets overlap, none is left readable."""
    mask = Mask(values)
    for value in values:
        text = mask(before + value + after)
        assert value not in text.replace("***", "\0")


def test_short_values_are_not_masked() -> None:
    """A value of three letters would be found in ordinary words."""
    assert Mask(["abc", ""])("abcd abc") == "abcd abc"


def test_the_end_of_a_log_is_whole_lines(tmp_path: Path) -> None:
    """A tail has no first half of a line, in which half a secret would not be recognised."""
    log = tmp_path / "web-1.log"
    assert logs.tail(log, 5) == [] and logs.last_line(log, str) == ""
    log.write_bytes(b"one\ntwo \xff\nthree\n\n  \n")
    assert logs.tail(log, 3) == ["three", "", "  "]
    assert logs.last_line(log, str) == "three"
    log.write_text("secret" * 100 + "\nlast\n")
    assert logs.tail(log, 5, size_bytes_max=50) == ["last"]
    log.write_text("x" * 20_000)
    assert len(logs.tail(log, 5, size_bytes_max=10_000)[0]) < 2_000
    log.write_text("x" * 290 + "secretsecret")
    assert logs.last_line(log, Mask(["secretsecret"])).endswith("x***")


def test_a_log_is_cut_under_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's next line lands at the new beginning, without a hole before it."""
    monkeypatch.setattr(logs, "SIZE_BYTES_MAX", 1000)
    log = tmp_path / "web-1.log"
    writer = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(writer, b"x" * 2500)
    assert logs.cut(log) and not logs.cut(log)
    os.write(writer, b"next\n")
    os.close(writer)
    assert log.read_text() == "next\n" and (tmp_path / "web-1.log.1").stat().st_size == 1000


def test_old_logs_are_deleted_but_no_engines(tmp_path: Path) -> None:
    """The oldest logs of instances that ended go; those of the living and of engines stay."""
    names = ["gateway-us-central1.log", "control.log", *(f"web-{n}.log" for n in range(6))]
    for age, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    logs.prune(tmp_path, frozenset({tmp_path / "web-0.log"}), keep_max=2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"gateway-us-central1.log", "control.log", "web-0.log", "web-4.log", "web-5.log"}


def test_the_shells_own_variables_are_left_alone() -> None:
    """`{port}` and `{host}` are filled in; `${port}` and other braces are the shell's."""
    command = "run {host}:{port} ${port} ${HOME} {a,b}"
    assert with_address(command, 80) == "run 127.0.0.1:80 ${port} ${HOME} {a,b}"
    assert with_address(command, None) == command


def test_a_program_finds_its_release_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own programs come first in PATH, the service's words win over the project's, tags of another process do not leak."""
    monkeypatch.setenv("TENFOLD_ID", "web-9")
    monkeypatch.setenv("SHARED", "invoker")
    project = Project(tmp_path, "shop")
    folder = project.releases / "r1"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").touch()
    service = Service("web", "true", env={"LEVEL": "service"})
    release = Release("r1", {"web": service}, "d", 1.0, env={"LEVEL": "release", "SHARED": "release"}, secrets=("KEY",))
    secrets = Secrets(project.secrets("x"), environ={"KEY": "value"})
    around = environment_for(project, release, "web", "eu", secrets, {"DATABASE_URL": "postgres://x"}, {"PORT": "80"})
    assert around.cwd == folder and around.env["PATH"].startswith(f"{folder}/.venv/bin:")
    assert around.env["VIRTUAL_ENV"] == f"{folder}/.venv"
    wanted = {"LEVEL": "service", "SHARED": "release", "KEY": "value", "PORT": "80", "DATABASE_URL": "postgres://x"}
    assert wanted.items() <= around.env.items()
    assert around.env["TENFOLD_REGION"] == "eu" and "TENFOLD_ID" not in around.env
