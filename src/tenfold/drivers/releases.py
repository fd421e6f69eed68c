"""Captures the project's folder as a numbered release, and removes old ones. Stage: source -> release.

A release's files never change once it is there under its number: it is made aside and renamed whole. What all releases share
are links into the project's folder, so removing a release never touches data.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.drivers import source
from tenfold.drivers.project import Project
from tenfold.ports import Permanent, Retryable

_NAME = re.compile(r"r[1-9][0-9]*")
_CHUNK_BYTES = 1 << 20
_SPOKEN = ("tenfold.yaml", "scenarios.yaml")
"""What is said about the app, and no part of it: copied, but no change of the source. What a release keeps of it, services and
variables, is compared by itself."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A release on disk: `id` (`r7`), its folder, the digest of its source, and how much it holds."""

    id: str
    path: Path
    digest: str
    files: int
    size_bytes: int


def capture(project: Project, keep: Sequence[str], built: bool, after: int = 0) -> Captured:
    """Copy the project's source into the next release; numbers only grow, also past `after`, and none is given twice.

    `keep` are paths shared by all releases; `built` tells that a service has a `build`, which makes environments itself.
    Raises `Permanent` for what a person must mend first, `Retryable` when the disk is full; either leaves nothing behind.
    """
    planned = source.plan(project.root, keep, built)
    _make_kept_folders(project.root, keep)
    with _alone(project):
        for earlier in release_ids(project):
            _check_links(project, earlier)
        number = max([after, _last_number(project), *(int(name[1:]) for name in release_ids(project))]) + 1
        release = f"r{number}"
        fresh = project.releases / f".{release}.new"
        try:
            digest = _fill(fresh, project.root, planned)
            _links_file(project, release).write_text("\n".join(sorted(source.data_of(planned))))
            (project.releases / ".last").write_text(str(number))
            fresh.replace(project.releases / release)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise _explained(error, release, planned) from error
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return Captured(release, project.releases / release, digest, len(planned.files), planned.size_bytes)


def source_digest(project: Project, keep: Sequence[str], built: bool) -> str:
    """The digest that a release captured now would have: equal digests mean nothing has changed. Raises as `capture` does."""
    planned = source.plan(project.root, keep, built)
    digest = hashlib.sha256()
    for name, about in sorted(planned.files.items()):
        if name in _SPOKEN:
            continue
        _note(digest, name, about)
        if stat.S_ISLNK(about.st_mode):
            digest.update(os.fsencode(_link_target(project.root, name)))
        else:
            with _reading(project.root, name) as reader:
                while chunk := reader(_CHUNK_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()


def release_ids(project: Project) -> tuple[str, ...]:
    """The releases whose files are here, oldest first."""
    if not project.releases.is_dir():
        return ()
    names = (entry.name for entry in project.releases.iterdir() if _NAME.fullmatch(entry.name))
    return tuple(sorted(names, key=lambda name: int(name[1:])))


def remove(project: Project, release: str) -> None:
    """Delete a release's files, never what they link to; nothing happens when they are gone.

    Raises `Retryable` when it can't, `Permanent` when data lies in the release that lies nowhere else.
    """
    if not _NAME.fullmatch(release):
        raise Permanent(f"{release!r} is no release; releases are named r1, r2, …")
    _check_links(project, release)
    folder = project.releases / release
    going = project.releases / f".{release}.old"
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(going)
        if going.exists():
            shutil.rmtree(going, onerror=_unlock_and_retry)
        _links_file(project, release).unlink(missing_ok=True)
    except OSError as error:
        raise Retryable(f"can't remove the files of release {release}: {error.strerror} ({error.filename})") from error


def _fill(fresh: Path, root: Path, planned: source.Plan) -> str:
    """Make the release's folder; returns the digest of what was copied."""
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    holders = {name.rpartition("/")[0] for name in (*planned.files, *planned.shared)}
    for name in sorted(planned.folders | holders):
        if not any(str(folder) in planned.files for folder in (Path(name), *Path(name).parents)):
            (fresh / name).mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, about in sorted(planned.files.items()):
        target = fresh / name
        if name in _SPOKEN:
            _copy(root, name, target, about, lambda chunk: None)
            continue
        _note(digest, name, about)
        if stat.S_ISLNK(about.st_mode):
            link = _link_target(root, name)
            digest.update(os.fsencode(link))
            target.symlink_to(link)
        else:
            _copy(root, name, target, about, digest.update)
    for name in sorted(planned.shared):
        if any(str(folder) in planned.files for folder in Path(name).parents):
            continue  # A copied link leads there already, and through it we would write into what it points to.
        (fresh / name).symlink_to(root.resolve() / name)
    return digest.hexdigest()


def _copy(root: Path, name: str, target: Path, about: os.stat_result, seen: Callable[[bytes], None]) -> None:
    with _reading(root, name) as reader:
        mode = stat.S_IMODE(about.st_mode) | stat.S_IWUSR
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(writer, "wb") as file:
            while chunk := reader(_CHUNK_BYTES):
                seen(chunk)
                file.write(chunk)
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))


@contextlib.contextmanager
def _reading(root: Path, name: str) -> Iterator[Callable[[int], bytes]]:
    """A function that reads on in a source file; what can't be read is named."""
    try:
        # A file that became a link or a pipe since it was looked at is neither followed nor waited for.
        handle = os.open(root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Permanent(f"can't read {name}: {error.strerror}; make it readable, or let .gitignore name it") from error
    with os.fdopen(handle, "rb") as file:
        yield file.read


def _note(digest: "hashlib._Hash", name: str, about: os.stat_result) -> None:
    """Path, kind and the executable bit: what of a file's mode is part of the source. Ends are marked by lengths."""
    kind = "link" if stat.S_ISLNK(about.st_mode) else "program" if about.st_mode & 0o100 else "file"
    path = os.fsencode(name)
    digest.update(f"\n{kind} {len(path)} {about.st_size} ".encode() + path + b"\n")


def _link_target(root: Path, name: str) -> Path:
    """Where a copied link points: as it says when that stays inside the project, else to the same place by its full path."""
    told = (root / name).readlink()
    meant = os.path.normpath(Path(name).parent / told)
    return (root / meant).resolve() if meant.startswith("..") else told


def _links_file(project: Project, release: str) -> Path:
    """The names of the data that a release shares, one on each line."""
    return project.releases / f".{release}.shared"


def _check_links(project: Project, release: str) -> None:
    """A program that saves by renaming replaces a link by a file of its own: then data is in this release alone."""
    try:
        shared = _links_file(project, release).read_text().splitlines()
    except FileNotFoundError:
        return
    for name in shared:
        path = project.releases / release / name
        if path.exists() and not path.is_symlink():
            raise Permanent(
                f"release {release} replaced the shared {name} by one of its own, which other releases don't see; "
                f"move {path} to {project.root / name}, and let the program keep it in a folder that `keep` names"
            )


def _make_kept_folders(root: Path, keep: Sequence[str]) -> None:
    """A kept path that does not exist yet: a folder when it ends with `/`; a file is made by the program, through the link."""
    for name in keep:
        try:
            (root / name if name.endswith("/") else (root / name).parent).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Permanent(f"keep: can't make {name} in the project's folder: {error.strerror}") from error


@contextlib.contextmanager
def _alone(project: Project) -> Iterator[None]:
    """One capture at a time; what an interrupted one left behind is cleared away first."""
    try:
        project.releases.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(project.releases, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Permanent(f"can't keep releases in {project.releases}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in project.releases.glob(".r*.new"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(lock)


def _last_number(project: Project) -> int:
    """The highest number ever given, so that a removed release's is not given again."""
    try:
        return int((project.releases / ".last").read_text() or "0")
    except FileNotFoundError:
        return 0


def _explained(error: OSError, release: str, planned: source.Plan) -> Permanent | Retryable:
    size = f"{planned.size_bytes / 1024**2:.1f} MiB"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Retryable(f"the disk is full: release {release} needs {size}; free some space and try again")
    return Permanent(f"can't make release {release}: {error.strerror} ({error.filename})")


def _unlock_and_retry(again: Callable[[str], object], path: str, _error: object) -> None:
    """Build tools leave folders that nobody may write to; they are ours to open."""
    stuck = Path(path)
    stuck.parent.chmod(stat.S_IRWXU)
    if not stuck.is_symlink():
        stuck.chmod(stat.S_IRWXU)
    again(path)
