"""The program that does a harm and undoes it: when its time is over, and as soon as nobody holds the other end of its standard input.

Stage: proof -> world. Its only argument is the harm as JSON: `do` (kill, freeze, fill, delay), `seconds`, and what that kind needs.
It says `done` once the harm is in force, or why it can't be.
"""

import asyncio
import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from tenfold.drivers.envoy.admin import ask
from tenfold.drivers.harm.subjects import living, some
from tenfold.drivers.procs import Processes, send
from tenfold.drivers.proctable import Identity
from tenfold.drivers.project import Project
from tenfold.drivers.vitals import NotAnswering
from tenfold.ports import DriverError, Permanent

_LOOK_S = 0.002
_KEEP_S = 0.1
_WITHIN_S = 10.0
_ADMIN_S = 2.0
_CHUNK_BYTES_MAX = 1 << 30
_CHUNK_BYTES_MIN = 4096


class _Harm(Protocol):
    def strike(self) -> None:
        """Do it, and do it again to what has come since. Raises `DriverError` when it can't be done."""
        ...

    def undo(self) -> None: ...


class _Kill:
    """Keeps a subject dead: whatever begins is killed too."""

    def __init__(self, processes: Processes, subject: str) -> None:
        self._processes = processes
        self._subject = subject
        some(processes, subject)

    def strike(self) -> None:
        until_s = time.monotonic() + _WITHIN_S
        while found := living(self._processes, self._subject):
            for member in found:
                send(member.identity, signal.SIGKILL)
            if time.monotonic() > until_s:
                raise Permanent(f"{self._subject} could not be killed: a process of it hangs in the kernel")
            time.sleep(_LOOK_S)

    def undo(self) -> None:
        """What is dead stays dead; others may start it again now."""


class _Freeze:
    """Keeps a subject frozen, also those that are born meanwhile."""

    def __init__(self, processes: Processes, subject: str) -> None:
        self._processes = processes
        self._subject = subject
        self._frozen: dict[Identity, None] = {}
        some(processes, subject)

    def strike(self) -> None:
        until_s = time.monotonic() + _WITHIN_S
        # Until all stand still: meanwhile those not stopped yet may have given birth to others.
        while moving := [m for m in living(self._processes, self._subject) if not m.frozen]:
            for member in moving:
                self._frozen[member.identity] = None
                send(member.identity, signal.SIGSTOP)
            if time.monotonic() > until_s:
                raise Permanent(f"{self._subject} could not be frozen: a process of it hangs in the kernel")
            time.sleep(_LOOK_S)

    def undo(self) -> None:
        for identity in self._frozen:
            send(identity, signal.SIGCONT)


class _Fill:
    """Keeps a file system full with a file that has no name: it goes with whoever holds it, also when that is killed."""

    def __init__(self, folder: Path) -> None:
        try:
            self._ballast = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Permanent(f"the disk of {folder} can't be filled: {error.strerror}") from error
        self._size_bytes = 0

    def strike(self) -> None:
        chunk_bytes = _CHUNK_BYTES_MAX
        while chunk_bytes >= _CHUNK_BYTES_MIN:
            try:
                os.posix_fallocate(self._ballast, self._size_bytes, chunk_bytes)
                self._size_bytes += chunk_bytes
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise Permanent(f"the disk can't be filled: {error.strerror}") from error
                chunk_bytes //= 2

    def undo(self) -> None:
        os.close(self._ballast)


class _Delay:
    """Sets what a gateway adds to requests from each origin, by the runtime keys that its configuration names."""

    def __init__(self, socket: Path, keys: dict[str, int]) -> None:
        self._socket = socket
        self._keys = keys
        self._is_set = False

    def strike(self) -> None:
        try:
            self._modify({key: str(delay_ms) for key, delay_ms in self._keys.items()})
        except NotAnswering as error:
            # Once in force it is kept so: a gateway that was started anew gets it as soon as it answers.
            if not self._is_set:
                raise Permanent(f"the gateway can't be slowed: {error}") from error
        self._is_set = True

    def undo(self) -> None:
        with contextlib.suppress(NotAnswering):
            self._modify(dict.fromkeys(self._keys, ""))

    def _modify(self, values: dict[str, str]) -> None:
        words = "&".join(f"{key}={value}" for key, value in values.items())
        asyncio.run(ask(self._socket, f"/runtime_modify?{words}", _ADMIN_S, "POST"))


def _harm_of(spec: dict[str, Any]) -> _Harm:
    match spec["do"]:
        case "kill":
            return _Kill(_processes(spec), spec["subject"])
        case "freeze":
            return _Freeze(_processes(spec), spec["subject"])
        case "fill":
            return _Fill(Path(spec["folder"]))
        case "delay":
            return _Delay(Path(spec["socket"]), spec["keys"])
        case unknown:
            raise ValueError(f"no harm is called {unknown}")


def _processes(spec: dict[str, Any]) -> Processes:
    root = Path(spec["root"])
    return Processes(Project(root, root.name))


def _is_over(until_s: float, pause_s: float) -> bool:
    """Wait for `pause_s`; True when the time is up, or nobody holds the other end of our input any more."""
    left_s = until_s - time.monotonic()
    ready, _, _ = select.select([0], (), (), max(0.0, min(pause_s, left_s)))
    return left_s <= 0 or (bool(ready) and not os.read(0, 1))


def main() -> None:
    """Do the harm, keep it so, undo it."""
    # Whoever wants it to end closes the pipe; a signal to a group of processes must not leave the harm behind.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    spec = json.loads(sys.argv[1])
    until_s = time.monotonic() + spec["seconds"]
    harm: _Harm | None = None
    try:
        harm = _harm_of(spec)
        harm.strike()
        os.write(1, b"done\n")
        while not _is_over(until_s, _KEEP_S):
            harm.strike()
    except BrokenPipeError:
        return
    except DriverError as error:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, f"{error}\n".encode())
    finally:
        if harm is not None:
            harm.undo()


if __name__ == "__main__":
    main()
