"""What only root can show, or only an environment of its own: the built wheel, other users, memory limits, full disks."""

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenfold.drivers.wheels import RunUser, blocked_at

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534


@dataclass(frozen=True)
class User:
    """Somebody who installed the wheel: `bin` holds the `tenfold` that they call, `home` is theirs. `uid` None: whoever runs the tests."""

    bin: Path
    home: Path
    uid: int | None = None

    def call(self, folder: Path, *words: str, within_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Call `tenfold` in `folder`, with nothing in the environment but what a login gives."""
        return subprocess.run(
            [str(self.bin / "tenfold"), *words],
            cwd=folder,
            env={"HOME": str(self.home), "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin"},
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def make_folder(self, name: str) -> Path:
        """A folder of their own."""
        folder = self.home / name
        folder.mkdir()
        if self.uid is not None:
            os.chown(folder, self.uid, self.uid)
        return folder


def answer_of(url: str, within_s: float = 5.0) -> int:
    """The status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=within_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of `tmp_path`."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-full-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run(words: Sequence[str]) -> None:
    """Run a tool; what it said is shown when it fails."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def open_python() -> str:
    """A Python that every user may run: ours, or else the system's."""
    for path in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        if path.exists() and blocked_at(path, RunUser(NOBODY, NOBODY)) is None:
            return str(path)
    raise AssertionError("every Python of this machine is closed to other users: run the tests with one that is not")


@pytest.fixture(scope="session")
def installed(open_folder: Path) -> Path:
    """The programs of a fresh environment that has nothing but the built wheel with its engines, at the versions of the lock file."""
    pip = ("-m", "pip", "--disable-pip-version-check", "-qq")
    run([sys.executable, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(open_folder), "."])
    (wheel,) = open_folder.glob("tenfold-*.whl")
    run([open_python(), "-m", "venv", str(open_folder / "venv")])
    python = str(open_folder / "venv" / "bin" / "python")
    run([python, *pip, "install", "--constraint", "requirements.lock", f"{wheel}[engines]"])
    return open_folder / "venv" / "bin"


@pytest.fixture(params=["root", "nobody"])
def user(request: pytest.FixtureRequest, installed: Path, open_folder: Path) -> Iterator[User]:
    """Root, and a user without any rights, each with a home of their own."""
    assert os.geteuid() == 0, "these tests need root: run them as root, or in a container"
    home = Path(tempfile.mkdtemp(prefix=f"{request.param}-", dir=open_folder))
    uid = None if request.param == "root" else NOBODY
    if uid is not None:
        os.chown(home, uid, uid)
    yield User(installed, home, uid)
    for folder in home.iterdir():
        if (folder / ".tenfold").exists():
            User(installed, home, uid).call(folder, "down")
