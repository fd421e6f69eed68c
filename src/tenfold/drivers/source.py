"""Decides which files of the project's folder belong to a release and which are shared by all. Stage: source -> release.

Three kinds of things lie in an app's folder: its source (copied, so that an old release stays what it was), its data (shared by
a link, so that a deploy loses none), and what tools made (left out, or shared where nothing makes it again).
"""

import fnmatch
import os
import re
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tenfold.ports import Permanent

FILES_MAX = 200_000
SIZE_BYTES_MAX = 2 * 1024**3

_JUNK = (
    *(".git", ".hg", ".svn", ".tenfold", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
    *(".tox", ".nox", ".DS_Store", ".import_linter_cache", ".idea", ".vscode", ".cache", ".parcel-cache", ".turbo"),
    *("*.pyc", "*.swp", "*~", "*.db-wal", "*.db-shm", "*.db-journal", "*.sqlite3-wal"),
    *("*.sqlite3-shm", "*.sqlite3-journal", "*.sqlite-wal", "*.sqlite-shm", "*.sqlite-journal"),
)
"""Never part of a release unless git tracks it: caches, editors' files, the side files of an open SQLite database."""

_TOOLED = (".venv", "venv", "node_modules", "vendor/bundle")
"""Made by installing: too large to copy and made again by `build`. Without a `build`, shared."""

_BUILT = ("dist", "build", "target", "out", ".next", ".nuxt", ".output", ".svelte-kit", "staticfiles", "_build")
"""Made by building, where ignored by git: copied, so that going back brings them back; made again where there is a `build`."""

_DATA = ("*.sqlite3", "*.sqlite", "*.db", ".env", ".env.*")
"""Data and settings of this machine: always shared, wherever they lie and whoever tracks them."""

_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")

_DATA_FOLDERS = ("uploads", "media", "storage", "instance")
"""Folders at the top that hold what users gave, unless git tracks something in them."""


_JUNK_NAME = re.compile("|".join(map(fnmatch.translate, _JUNK)))
_DATA_NAME = re.compile("|".join(map(fnmatch.translate, _DATA)))


@dataclass(slots=True)
class Plan:
    """What a release is made of, as paths relative to the project's folder: `files` and `folders` to copy, `shared` to link."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)

    @property
    def size_bytes(self) -> int:
        return sum(found.st_size for found in self.files.values())


def plan(root: Path, keep: Sequence[str], built: bool) -> Plan:
    """Look through `root`. `keep` names what is shared besides what is known to be; `built` tells that a `build` runs in the release.

    Raises `Permanent` naming the file or folder when one can't be read, when there is too much, or when `keep` leads elsewhere.
    """
    found = Plan()
    kept = {_inside(name) for name in keep}
    found.shared |= {name for name in kept if not any(str(parent) in kept for parent in PurePosixPath(name).parents)}
    if _uses_git(root):
        _plan_checkout(root, found, built)
    else:
        _walk(root, "", found, built)
    _check_size(found)
    return found


def data_of(planned: Plan) -> set[str]:
    """Of what is shared, that which nothing could make again."""
    return {name for name in planned.shared if not _is_tooled(name)}


def _plan_checkout(root: Path, found: Plan, built: bool) -> None:
    """Tracked and new files are source; what git ignores is data, unless it is known to be made by tools."""
    tracked = _git(root, "ls-files", "-z", "--cached", "--recurse-submodules")
    top = {name.partition("/")[0] for name in tracked}
    for name in tracked:
        if not name.startswith(".tenfold/"):
            _add(root, name, found)
    for name in _git(root, "ls-files", "-z", "--others", "--exclude-standard"):
        first = name.partition("/")[0]
        if first in _DATA_FOLDERS and first not in top:
            found.shared.add(first)
        elif name.endswith("/"):
            _walk(root, name.rstrip("/"), found, built)
        elif not _is_junk(name):
            _add(root, name, found)
    for name in _git(root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"):
        path = name.rstrip("/")
        if _is_tooled(path):
            if not built:
                found.shared.add(path)
        elif path.rpartition("/")[2] in _BUILT:
            if not built:
                _walk(root, path, found, built)
        elif not _is_junk(path) and not _is_shared(path, found.shared):
            found.shared.add(path)


def _walk(root: Path, under: str, found: Plan, built: bool) -> None:
    """Everything below `under` but for junk, without asking git."""
    waiting = [under]
    while waiting:
        folder = waiting.pop()
        for name, is_folder in _entries(root, folder):
            if _is_junk(name) or _is_shared(name, found.shared):
                continue
            if is_folder and _is_tooled(name):
                if not built:
                    found.shared.add(name)
            elif is_folder and name in _DATA_FOLDERS:
                found.shared.add(name)
            elif is_folder:
                found.folders.add(name)
                waiting.append(name)
            else:
                _add(root, name, found)


def _add(root: Path, name: str, found: Plan) -> None:
    """Take one file: as data when its name says so, else as source."""
    if _is_shared(name, found.shared):
        return
    try:
        about = (root / name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return  # Deleted, but git has not been told.
    except OSError as error:
        raise Permanent(f"can't read {name}: {error.strerror}; make it readable, or let .gitignore name it") from error
    base = name.rpartition("/")[2]
    if _DATA_NAME.fullmatch(base) and base not in _EXAMPLES:
        found.shared.add(name)
    elif stat.S_ISREG(about.st_mode) or stat.S_ISLNK(about.st_mode):
        found.files[name] = about
        if len(found.files) > FILES_MAX:
            _check_size(found)


def _entries(root: Path, folder: str) -> Iterator[tuple[str, bool]]:
    """The names in a folder, relative to `root`, and whether each is a folder itself (links are not)."""
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                yield (f"{folder}/{entry.name}" if folder else entry.name), entry.is_dir(follow_symlinks=False)
    except OSError as error:
        raise Permanent(
            f"can't read the folder {folder or root}: {error.strerror}; make it readable, or move it elsewhere"
        ) from error


def _check_size(found: Plan) -> None:
    """Refuse what would fill the disk release by release: nearly always data that should be shared."""
    if len(found.files) > FILES_MAX:
        folder, count = Counter(name.partition("/")[0] for name in found.files).most_common(1)[0]
        what = f"more than {FILES_MAX:,} files (most, {count:,}, in {folder})"
    elif found.size_bytes > SIZE_BYTES_MAX:
        sizes: Counter[str] = Counter()
        for name, about in found.files.items():
            sizes[name.partition("/")[0]] += about.st_size
        folder, size = sizes.most_common(1)[0]
        what = f"more than {SIZE_BYTES_MAX / 1024**3:.0f} GiB (most, {size / 1024**3:.1f} GiB, in {folder})"
    else:
        return
    raise Permanent(
        f"a release of this folder would hold {what}; if that is data, share it by `keep: [{folder}]`, "
        "if it is not needed, let .gitignore name it"
    )


def _inside(name: str) -> str:
    """A `keep` path, cleaned; raises `Permanent` when it leads out of the project."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Permanent(f"keep: {name!r} must be a path inside the project's folder, like uploads/")
    return str(path)


def _is_shared(name: str, shared: set[str]) -> bool:
    """True when `name`, or a folder it lies in, is shared."""
    if name in shared:
        return True
    end = name.rfind("/")
    while end > 0:
        if name[:end] in shared:
            return True
        end = name.rfind("/", 0, end)
    return False


def _is_junk(name: str) -> bool:
    return any(map(_JUNK_NAME.fullmatch, name.split("/")))


def _is_tooled(name: str) -> bool:
    return name in _TOOLED or name.rpartition("/")[2] in _TOOLED


def _uses_git(root: Path) -> bool:
    """True when `root` lies in a git checkout that does not ignore it."""
    if not any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents)):
        return False
    try:
        ignored = _run_git(root, "check-ignore", "-q", ".")
    except FileNotFoundError as error:
        raise Permanent("this folder is a git checkout but git is not installed; run: apt install git") from error
    if ignored.returncode == 0:
        return False
    # A folder that is not ignored, yet has nothing in git at all (a home folder kept in git), is as good as without.
    return bool(_git(root, "ls-files", "-z", "--cached")) or (root / ".git").exists()


def _git(root: Path, *arguments: str) -> list[str]:
    done = _run_git(root, *arguments)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Permanent(f"git can't list the files of {root}: {said[-1] if said else 'it gave no reason'}")
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _run_git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # The folder may belong to another user, and a monitor set up in it would be a program that nobody asked to run.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments]
    return subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False)
