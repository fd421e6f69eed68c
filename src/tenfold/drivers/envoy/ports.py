"""Ports of a region that others have by heart: apps those of their stores, the entry that of the gateway. Stage: effects -> world.

They are kept in a file, so that they stay the same however often a gateway or the control plane is started again.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from tenfold.drivers.enginehome import write_file
from tenfold.drivers.freeport import FreePorts, is_free
from tenfold.drivers.network import Network
from tenfold.drivers.project import Project
from tenfold.ports import Retryable

_TRIES_MAX = 1000

_Kept = dict[str, dict[str, int]]


class KeptPorts:
    """One port per region and purpose, chosen when it is first asked for."""

    def __init__(self, project: Project, ports: FreePorts, network: Network) -> None:
        self._path = project.run / "gateway-ports.json"
        self._ports = ports
        self._network = network
        kept = [port for of_region in _read(self._path).values() for port in of_region.values()]
        if kept:
            # They may not listen at this moment, and yet are nobody else's.
            ports.skip_past(max(kept))

    def of(self, region: str, purpose: str, host: str) -> int:
        """The port for `purpose` in `region`, at its address `host`. Raises `Retryable` when none is free or it can't be kept."""
        return self._change(lambda kept: kept.get(region, {}).get(purpose), region, purpose, host)

    def known(self, region: str) -> dict[str, int]:
        """All ports that were chosen for `region`, by purpose."""
        return _read(self._path).get(region, {})

    def another(self, region: str, purpose: str, host: str) -> int:
        """Another port than the one so far, which somebody else took."""
        return self._change(lambda kept: None, region, purpose, host)

    def is_free(self, region: str, host: str, port: int) -> bool:
        """True when nothing listens there."""
        with self._network.inside(region):
            return is_free(port, host)

    def _change(self, known: Callable[[_Kept], int | None], region: str, purpose: str, host: str) -> int:
        """What is known, or else a port that is chosen now and kept. One control plane at a time: another may just stand by."""
        if (port := known(_read(self._path))) is not None:
            return port
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = _read(self._path)
            port = known(kept)
            if port is None:
                port = self._free(region, host, kept)
                kept.setdefault(region, {})[purpose] = port
                write_file(self._path, msgspec.json.encode(kept) + b"\n")
        finally:
            os.close(lock)
        return port

    def _free(self, region: str, host: str, kept: _Kept) -> int:
        taken = {port for ports in kept.values() for port in ports.values()}
        for _ in range(_TRIES_MAX):
            port = self._ports.take(taken)
            if self.is_free(region, host, port):
                return port
        raise Retryable(f"No port is free in {region}: end some of the programs that listen there.")


def _read(path: Path) -> _Kept:
    """What is kept; nothing when the file is not there or was damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
