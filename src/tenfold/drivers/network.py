"""How the regions of a project reach one another on this machine. Stage: effects -> world, below the drivers.

What a driver starts or asks in a region it starts and asks through here, so that the same driver works when all regions share
this machine's loopback and when each has a network of its own with an emulated distance to the others. Which of these it is, is
remembered until `down`, so that every command and every control plane finds the same.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.wan import wan as emulated
from tenfold.drivers.wan.distance import rtt_ms
from tenfold.drivers.wan.wan import Wan
from tenfold.model import LOOPBACK, Model, Region
from tenfold.ports import Permanent, Retryable


class Network(Protocol):
    """The network between the regions."""

    @property
    def notice(self) -> str:
        """What a person should be told of it once, as a sentence; empty when there is nothing to tell."""
        ...

    @property
    def console_host(self) -> str:
        """The address of this machine that programs in every region reach: the console listens there too."""
        ...

    async def open(self) -> None:
        """Make the network ready, taking over what is there, and keep it so until `close`. Raises `DriverError`."""
        ...

    async def close(self) -> None:
        """Let go of it; it goes on."""
        ...

    def host(self, region: str) -> str:
        """The address of `region` that the others reach: its gateway and its stores listen there."""
        ...

    def command(self, region: str, argv: Sequence[str]) -> tuple[str, ...]:
        """The command that runs `argv` within the network of `region`, for the user who runs this one.

        What is to run as another user is better started `with network.inside(region)`: processes inherit the network of the
        thread that starts them, and only root may enter one.
        """
        ...

    def inside(self, region: str) -> AbstractContextManager[None]:
        """Sockets and processes that this thread makes meanwhile belong to `region`. Nothing may be awaited within.

        Raises `Retryable` on entering when the network of `region` is not there (yet).
        """
        ...

    def delay_ms(self, origin: str, region: str) -> float:
        """What a gateway itself must add to requests from `origin` to `region`; 0 where the network does."""
        ...

    def entry_source(self, origin: str) -> str | None:
        """The address from which the global entry sends on the requests of clients near `origin`; None: any."""
        ...


class Loopback:
    """All regions on this machine's loopback, no distance between them."""

    notice = ""
    console_host = LOOPBACK

    async def open(self) -> None:
        """It is always ready."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def host(self, region: str) -> str:
        """127.0.0.1."""
        return LOOPBACK

    def command(self, region: str, argv: Sequence[str]) -> tuple[str, ...]:
        """As it is."""
        return tuple(argv)

    def inside(self, region: str) -> AbstractContextManager[None]:
        """Nothing to enter."""
        return nullcontext()

    def delay_ms(self, origin: str, region: str) -> float:
        """None."""
        return 0.0

    def entry_source(self, origin: str) -> str | None:
        """Any."""
        return None


class Delayed(Loopback):
    """All regions on loopback, where each gateway delays what comes from afar by a round trip."""

    notice = (
        "not root, so the gateways add the delay between the regions themselves: "
        "lost packets and partitions can't be emulated"
    )

    def __init__(self, regions: Mapping[str, Region]) -> None:
        self._regions = regions

    def delay_ms(self, origin: str, region: str) -> float:
        """The round trip between their places."""
        return rtt_ms(self._regions, origin, region)


def network_of(project: Project, model: Model, wan: bool | None = None) -> Network:
    """The network between the regions of `model`: an emulated one when `wan` is true, remembered; None: what is remembered.

    With one region there is nothing between. Raises `Permanent` when the project runs with another network, or when this user may
    not use the one it runs with.
    """
    if not model.is_spread:
        return Loopback()
    known = _remembered(project)
    kind = known if wan is None else "loopback" if not wan else "wan" if os.geteuid() == 0 else "delayed"
    if kind != known:
        if Processes(project).look():
            how = "without" if known == "loopback" else "with"
            raise Permanent(f"this project runs {how} --wan: `tenfold down` first, to run it otherwise")
        _remember(project, kind)
    if kind == "loopback":
        return Loopback()
    if kind == "delayed":
        return Delayed(model.regions)
    if os.geteuid() != 0:
        raise Permanent("root has given this project's regions networks of their own: run this as root")
    return Wan(project, model.regions)


def clear(project: Project) -> None:
    """Remove what an emulated network left on this machine, and forget that there was one: for when nothing runs in it any more."""
    emulated.remove(project)
    _file(project).unlink(missing_ok=True)


def _remembered(project: Project) -> str:
    try:
        return _file(project).read_text().strip()
    except FileNotFoundError:
        return "loopback"


def _remember(project: Project, kind: str) -> None:
    path = _file(project)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{kind}\n")
        fresh.replace(path)
    except OSError as error:
        raise Retryable(f"the kind of network can't be noted in {path}: {error.strerror}") from error


def _file(project: Project) -> Path:
    return project.run / "network"
