"""The files that processes write to: their ends, their growth, their age. Stage: world -> facts.

A program must never die or wait because of its log, so a file that grows is copied and cut while the program goes on
writing; files are opened for append, so what it writes next lands at the new end.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

SIZE_BYTES_MAX = 16 * 1024 * 1024
"""A log larger than this is cut; the part before stays as `<name>.log.1`, so a program keeps at most twice this."""

_INSTANCE_LOG = re.compile(r"-\d+\.log$")
_ENDED_LOGS_MAX = 200
_LAST_LINE_CHARS_MAX = 300
_SECRET_CHARS_MAX = 8192


def tail(path: Path, lines: int, size_bytes_max: int = 256 * 1024) -> list[str]:
    """The last `lines` lines of a log, oldest first, from its last `size_bytes_max`; none when there is no such file.

    Lines are whole, so that a secret in them can be recognised: mask them before you shorten them.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - size_bytes_max)
            file.seek(start)
            data = file.read(size_bytes_max)
    except FileNotFoundError:
        return []
    found = data.decode(errors="replace").splitlines()
    if start > 0 and found:
        # The first one may begin in the midst of a secret; of a single long line, what follows is shown.
        found = found[1:] or [found[0][_SECRET_CHARS_MAX:]]
    return found[-lines:]


def last_line(path: Path, mask: Callable[[str], str]) -> str:
    """The last line of a log that says anything, masked, at most 300 characters; empty when there is none."""
    said = (line.strip() for line in reversed(tail(path, 50, 32 * 1024)))
    return mask(next((line for line in said if line), ""))[:_LAST_LINE_CHARS_MAX]


def is_large(path: Path) -> bool:
    """True when a log has grown so much that it should be cut."""
    return _size_bytes(path) > SIZE_BYTES_MAX


def cut(path: Path) -> bool:
    """Copy the end of a log that has grown too large to `<name>.1` and empty it; False when it is small or gone.

    A full disk must not stop the emptying: then the copy is left out.
    """
    if not is_large(path):
        return False
    old = path.with_name(path.name + ".1")
    try:
        _copy_end(path, old, SIZE_BYTES_MAX)
    except OSError:
        old.unlink(missing_ok=True)
    os.truncate(path, 0)
    return True


def prune(folder: Path, living: frozenset[Path], keep_max: int = _ENDED_LOGS_MAX) -> None:
    """Delete the oldest logs in `folder` of instances that have ended, so that `keep_max` of them stay."""
    ended = [path for path in folder.glob("*.log") if _INSTANCE_LOG.search(path.name) and path not in living]
    if len(ended) <= keep_max:
        return
    ended.sort(key=lambda path: path.stat().st_mtime)
    for path in ended[: len(ended) - keep_max]:
        path.with_name(path.name + ".1").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _copy_end(source: Path, target: Path, size_bytes: int) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        reader.seek(-size_bytes, os.SEEK_END)
        left = size_bytes
        while left > 0 and (chunk := reader.read(min(left, 1 << 20))):
            writer.write(chunk)
            left -= len(chunk)
