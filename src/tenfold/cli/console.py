"""`tenfold console`, and where the console of a project listens. Stage: blueprint -> console."""

import asyncio
import errno
import signal
from collections.abc import Callable, Iterator

import click

from tenfold.cli.here import NEVER_RUN, Fail, Here, WrongCall, make_state
from tenfold.console.console import Console, Place
from tenfold.console.guard import TokenError, is_loopback, make_token, new_token
from tenfold.drivers.clock import WallClock
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.model import LOOPBACK, ConsoleAt, Model

PORTS_TRIED = 20
"""So many ports are tried, one after another, before any that is free is taken."""


@click.command("console")
@click.option("--port", type=click.IntRange(1, 65535), help="Listen here (default: where it did before).")
@click.option("--host", help="Listen at this address too, with the token.")
@click.option("--token", "shows_token", is_flag=True, help="Print the token that actions need, and nothing else.")
@click.pass_obj
def console_command(here: Here, port: int | None, host: str | None, shows_token: bool) -> None:
    """The page that shows what runs and why: prints its address, or serves the past of a project that does not run.

    While the project runs, its control plane serves the page. Of one that is down, this command shows what the journal
    holds, until Ctrl-C.
    """
    project = here.project()
    if shows_token:
        make_state(project)
        click.echo(token_of(project))
        return
    with here.reader() as reader:
        tick = reader.latest()
        model = reader.model(tick.model) if tick is not None else None
    if model is None:
        raise Fail(NEVER_RUN)
    if here.control_plane_soon() is not None:
        if port is not None or host is not None:
            raise WrongCall(
                "this project runs, and its console listens where the blueprint says: console: {port, host}"
            )
        for url in addresses(project, model):
            click.echo(f"console at {url}")
        return
    at = ConsoleAt(port or model.console.port, host or model.console.host, model.console.domains)
    asyncio.run(_serve(project, model, at, is_port_given=port is not None))


async def _serve(project: Project, model: Model, at: ConsoleAt, is_port_given: bool) -> None:
    """Serve the journal of a project that does not run, until Ctrl-C. Raises `Fail`."""
    console = Console(project.journal, token_of(project), WallClock(), is_live=False)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    place = await listen(console, project, model, at, is_only=is_port_given)
    try:
        click.echo(f"{model.name} is down; this is its past")
        for url in (place.url, *_elsewhere(at, place.port)):
            click.secho(f"  console at {url}", bold=True)
        click.echo("  Ctrl-C ends it")
        await ended.wait()
    finally:
        await console.close()


def token_of(project: Project) -> str:
    """The console's token, made when there is none. Raises `Fail`."""
    try:
        return make_token(project.run / "console-token")
    except TokenError as error:
        raise Fail(str(error)) from None


def addresses(project: Project, model: Model) -> tuple[str, ...]:
    """Where the console of a project that runs is: on this machine, and where else the blueprint says."""
    port = _remembered(project) or _first(model, model.console)
    return (Place(port).url, *_elsewhere(model.console, port))


def _elsewhere(at: ConsoleAt, port: int) -> tuple[str, ...]:
    if at.host is None or is_loopback(at.host):
        return ()
    name = next(iter(at.domains), at.host)
    return (f"http://{f'[{name}]' if ':' in name else name}:{port}/",)


async def open_console(
    project: Project,
    model: Model,
    also: tuple[str, ...],
    say: Callable[[str], None],
    is_needed: bool,
) -> tuple[Console, Place]:
    """The console of a control plane, listening. Where `is_needed` something that is wrong with it raises `Fail`; otherwise it is said, and
    the console listens on loopback alone: a control plane that takes over leads, with a console or without its token."""
    clock = WallClock()
    try:
        console = Console(project.journal, token_of(project), clock)
    except Fail as error:
        if is_needed:
            raise
        say(f"{error.message}: until then nothing can be done by the console")
        console = Console(project.journal, new_token(), clock)
    try:
        return console, await listen(console, project, model, model.console, also)
    except Fail as error:
        if is_needed:
            raise
        say(f"{error.message}: it listens on loopback alone")
        return console, await listen(console, project, model, ConsoleAt(), also)


async def listen(
    console: Console, project: Project, model: Model, at: ConsoleAt, also: tuple[str, ...] = (), is_only: bool = False
) -> Place:
    """Have `console` listen: where it did before, else beside the edge, else at the next port that is free (`is_only`: at the one that is
    named). `also` are addresses of the project's own networks. Raises `Fail`."""
    for port in _ports(project, model, at, is_only):
        place = Place(port, at.host or LOOPBACK, also, at.domains)
        try:
            await console.start(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise Fail(f"the console can't listen at {place.host}:{port}: {error.strerror}") from None
        _remember(project, port)
        return place
    raise Fail(f"port {at.port} is busy: name another with --port, or end what listens there")


def _first(model: Model, at: ConsoleAt) -> int:
    return at.port or min(model.edge.port + 1, 65535)


def _ports(project: Project, model: Model, at: ConsoleAt, is_only: bool) -> Iterator[int]:
    first = _first(model, at)
    if is_only:
        yield first
        return
    before = _remembered(project)
    # A blueprint that names another port than before means it.
    if before is not None and at.port is None:
        yield before
    yield from (port for port in range(first, min(first + PORTS_TRIED, 65536)) if port != before or at.port is not None)
    yield FreePorts(project).take()


def _remembered(project: Project) -> int | None:
    """The port at which the console listened last; None when that is not known."""
    try:
        port = int((project.run / "console-port").read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None


def _remember(project: Project, port: int) -> None:
    if _remembered(project) == port:
        return
    try:
        (project.run / "console-port").write_text(f"{port}\n")
    except OSError as error:
        raise Fail(f"the console's port can't be noted in {project.run}: {error.strerror}") from None
