"""`tenfold console`, and where the console of a project listens. Stage: blueprint -> console."""

import errno
from collections.abc import Iterator

from tenfold.cli.here import Fail
from tenfold.console.console import Console, Place
from tenfold.console.guard import TokenError, make_token
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.model import Model

PORTS_TRIED = 20
"""So many ports are tried, one after another, before any that is free is taken."""


def token_of(project: Project) -> str:
    """The console's token, made when there is none. Raises `Fail`."""
    try:
        return make_token(project.run / "console-token")
    except TokenError as error:
        raise Fail(str(error)) from None


async def listen(
    console: Console, project: Project, model: Model, ports: FreePorts, also: tuple[str, ...] = ()
) -> Place:
    """Have `console` listen where it did before, else beside the edge, else at the next port that is free. Raises `Fail`."""
    for port in _ports(project, model, ports):
        place = Place(port, also=also)
        try:
            await console.start(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise Fail(f"the console can't listen at {place.host}:{port}: {error.strerror}") from None
        _remember(project, place)
        return place
    raise Fail("no port is free for the console: end some of the programs that listen")


def _ports(project: Project, model: Model, ports: FreePorts) -> Iterator[int]:
    before = remembered(project)
    first = model.edge.port + 1
    if before is not None:
        yield before
    yield from (port for port in range(first, first + PORTS_TRIED) if port != before and port < 65536)
    yield ports.take()


def remembered(project: Project) -> int | None:
    """The port at which the console listened last; None when that is not known."""
    try:
        return int((project.run / "console-port").read_text())
    except (OSError, ValueError):
        return None


def _remember(project: Project, place: Place) -> None:
    try:
        (project.run / "console-port").write_text(f"{place.port}\n")
    except OSError as error:
        raise Fail(f"the console's port can't be noted in {project.run}: {error.strerror}") from None
