"""The control plane as a process: lease, journal, drivers, loop and console of one project, from start to clean end."""

import asyncio
import errno
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from tenfold.cli import wiring
from tenfold.cli.console import open_console
from tenfold.cli.feed import Feed
from tenfold.cli.here import Fail, make_state
from tenfold.cli.lease import SpreadLease
from tenfold.console.console import Console, Place
from tenfold.deciders import decide
from tenfold.deciders.standby import voter_places
from tenfold.drivers.clock import WallClock
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Network, clear
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.facts import DownRequest, PersonRequest
from tenfold.loop import Answer, Desk, End, Journal, JournalError, JournalReader, Loop, World, new_request_id
from tenfold.model import LOOPBACK, Model, Release
from tenfold.ports import DriverError, Lease

log = logging.getLogger(__name__)

KEEP_EVERY_S = 0.2
VOTERS_START_AFTER_S = 1.0
"""How long the lease is out of reach before voters are started without it: while it is held the loop keeps them running."""
LOG_BYTES_MAX = 4 * 1024 * 1024


@dataclass(slots=True)
class ControlPlane:
    """A loop that is ready to run, and what it holds on to."""

    project: Project
    model: Model
    lease: Lease
    journal: Journal
    network: Network
    drivers: wiring.Drivers
    console: Console
    loop: Loop
    console_place: Place

    async def close(self) -> None:
        """Let go of everything in reverse order; what runs goes on running. When nothing does, the network between the regions
        goes too."""
        await self.console.close()
        await self.drivers.close()
        await self.network.close()
        if self.loop.end is End.DOWN:
            clear(self.project)
        self.journal.close()
        await self.lease.release()


async def open_network(project: Project, model: Model, wan: bool | None = None) -> Network:
    """The network between the regions, ready; see `wiring.network`. Raises `Fail`."""
    network = wiring.network(project, model, wan)
    try:
        await network.open()
    except DriverError as error:
        raise Fail(str(error)) from None
    return network


async def open_control_plane(
    project: Project,
    model: Model,
    network: Network,
    lease: Lease,
    epoch: int,
    say: Callable[[str], None],
    led_from: str = "",
) -> ControlPlane:
    """Open journal and drivers and wire them to a loop that leads from region `led_from` (empty: the first). Raises `Fail`."""
    clock = WallClock()
    journal = Journal(project.journal)
    try:
        journal.open()
    except JournalError as error:
        raise Fail(str(error)) from None
    ports = FreePorts(project, model.edge.port)
    also = () if network.console_host == LOOPBACK else (network.console_host,)
    console, place = await open_console(project, model, also, say, is_needed=not led_from)

    def release_of(id_: str) -> Release | None:
        return journal.releases().get(id_)

    led_from = (led_from or model.home) if model.is_spread else ""
    posts_to = f"http://{network.console_host}:{place.port}"
    drivers = wiring.build(project, model, release_of, ports, network, posts_to, led_from)
    loop = Loop(
        model=model,
        decide=decide,
        world=World((*drivers.observers, console.posted), drivers.actuators, clock),
        lease=lease,
        epoch=epoch,
        journal=journal,
        say=say,
        tell=console.tell,
        led_from=led_from,
    )
    console.ask_why_held(lambda: loop.holding)
    return ControlPlane(project, model, lease, journal, network, drivers, console, loop, place)


async def run(
    plane: ControlPlane,
    request: PersonRequest | None,
    say: Callable[[str], None],
    answered: Callable[[Answer], None] = lambda answer: None,
) -> End:
    """Hand in `request` (None: go on with what the control plane before was asked) and run the loop until the project is down.

    The first Ctrl-C (or SIGTERM) asks to go down, the second kills everything at once. When the request to be up is answered with
    no while nothing serves, the project goes down by itself.
    """
    desk = Desk(plane.project.journal)
    if request is not None:
        desk.append(request)
    waits = request.id if request is not None else plane.journal.memory.release.up_request
    stopper = _Stopper(plane, desk, say)
    with JournalReader(plane.project.journal) as reader:
        feed = Feed.from_now(reader, waits or "")
        running = asyncio.create_task(plane.loop.run())
        beside = [asyncio.create_task(_watch(plane, feed, waits, say, answered, stopper))]
        if isinstance(plane.lease, SpreadLease):
            beside.append(asyncio.create_task(_keep_voters(plane, plane.lease)))
        stopper.listen()
        try:
            end = await running
            # The last decisions are still to be told.
            await asyncio.wait(beside[:1], timeout=1.0)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        for text in feed.news():
            say(text)
    if end is End.DOWN:
        # Nothing runs any more: the control groups go too.
        plane.drivers.process.limits.sweep(frozenset())
    return end


async def _keep_voters(plane: ControlPlane, lease: SpreadLease) -> None:
    """See to what the loop can't while it holds for want of votes: start voters that do not run, wake it when it was overtaken."""
    voters = plane.drivers.voters
    assert voters is not None, "a spread project has voters"
    while True:
        await asyncio.sleep(KEEP_EVERY_S)
        lapsed_s = lease.votes.lapsed_s
        if lapsed_s > 0:
            plane.loop.wake()
        if lapsed_s > VOTERS_START_AFTER_S:
            try:
                await voters.found(voter_places(plane.model))
            except (DriverError, OSError) as error:
                log.warning("voters can't be started: %s", error)


async def _watch(
    plane: ControlPlane,
    feed: Feed,
    request: str | None,
    say: Callable[[str], None],
    answered: Callable[[Answer], None],
    stopper: "_Stopper",
) -> None:
    if request is not None:
        answer = await feed.until_answered(request, say)
        # Whoever pressed Ctrl-C meanwhile knows why it was not done.
        if not stopper.is_asked:
            answered(answer)
        memory = plane.journal.memory.release
        if not answer.ok and memory.serving is None:
            stopper.go_down()
    while plane.loop.end is None:
        for text in feed.news():
            say(text)
        await asyncio.sleep(0.2)


class _Stopper:
    """What Ctrl-C does: first drain and stop, then kill."""

    def __init__(self, plane: ControlPlane, desk: Desk, say: Callable[[str], None]) -> None:
        self._plane = plane
        self._desk = desk
        self._say = say
        self.is_asked = False

    def listen(self) -> None:
        """Hear the signals that people and machines send to end a program, unless this one was told to ignore them (nohup)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # A terminal that was closed may tell so more than once: that is no second wish.
            loop.add_signal_handler(signal.SIGHUP, self.go_down)

    def __call__(self) -> None:
        if not self.is_asked:
            self._say("stopping: requests at hand are finished first (Ctrl-C again kills everything at once)")
            self.go_down()
        else:
            self._say("killing everything")
            kill_all(self._plane.project)
            self._plane.loop.stop()

    def go_down(self) -> None:
        """Ask the loop to drain and stop everything; once."""
        if self.is_asked:
            return
        self.is_asked = True
        try:
            self._desk.append(DownRequest(new_request_id("down"), time.time()))
        except JournalError as error:
            # The journal can't be written (a full disk): the loop holds, and would for ever.
            self._say(f"{error}: everything is killed instead of drained")
            kill_all(self._plane.project)
            self._plane.loop.stop()
        self._plane.loop.wake()


def kill_all(project: Project) -> None:
    """SIGKILL every process of the project, engines included."""
    processes = Processes(project)
    for key in processes.look():
        processes.send(key, signal.SIGKILL)
    clear(project)


def log_to_file(project: Project) -> None:
    """Send the program's own log to `.tenfold/logs/control.log`, bounded."""
    make_state(project)
    path = project.logs / "control.log"
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # On a full disk lines are lost; a traceback for each of them on the terminal would help nobody.
    logging.raiseExceptions = False
    # A person reads the feed; a request for each health check would drown it.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def echo(text: str = "", **style: Any) -> None:
    """Print a line at once, also into a pipe; `style` as of `click.style`.

    When whoever read us has gone (a closed terminal, `| head`) we fall silent and end as if told to; on a full disk the line is
    lost, and the journal has it.
    """
    try:
        click.secho(text, **style)
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            signal.raise_signal(signal.SIGHUP)
