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
from tenfold.cli.feed import Feed
from tenfold.cli.here import Fail, Here, lease_of, make_state, new_request_id
from tenfold.console import Console, PostedMetrics
from tenfold.console.server import HOST
from tenfold.deciders import decide
from tenfold.drivers.clock import WallClock
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.facts import DownRequest, PersonRequest
from tenfold.loop import Answer, Desk, End, FileLease, Journal, JournalError, JournalReader, LeaseError, Loop, World
from tenfold.model import Model, Release

LOG_BYTES_MAX = 4 * 1024 * 1024


@dataclass(slots=True)
class ControlPlane:
    """A loop that is ready to run, and what it holds on to."""

    here: Here
    project: Project
    model: Model
    lease: FileLease
    journal: Journal
    drivers: wiring.Drivers
    console: Console
    loop: Loop
    console_url: str

    async def close(self) -> None:
        """Let go of everything in reverse order; what runs goes on running."""
        await self.console.close()
        await self.drivers.close()
        self.journal.close()
        await self.lease.release()


async def take_lease(project: Project) -> tuple[FileLease, int]:
    """The lease and its new epoch; raises `Fail` when another control plane holds it."""
    journal = Journal(project.journal)
    try:
        # The lease's own record of the epoch may have been deleted with the folder; the journal's may not be undercut.
        lease = lease_of(project, journal.epoch())
        epoch = await lease.acquire()
    except (LeaseError, JournalError) as error:
        raise Fail(str(error)) from None
    finally:
        journal.close()
    if epoch is None:
        raise Fail(lease.taken())
    return lease, epoch


async def open_control_plane(
    here: Here, project: Project, model: Model, lease: FileLease, epoch: int, say: Callable[[str], None]
) -> ControlPlane:
    """Open journal and drivers and wire them to a loop. Raises `Fail`."""
    clock = WallClock()
    journal = Journal(project.journal)
    try:
        journal.open()
    except JournalError as error:
        raise Fail(str(error)) from None
    posted = PostedMetrics(clock)
    console, ports = Console(posted, clock), FreePorts(project)
    port = ports.take()
    await console.start(port)
    url = f"http://{HOST}:{port}"

    def release_of(id_: str) -> Release | None:
        return journal.releases().get(id_)

    drivers = wiring.build(project, model, release_of, ports, url)
    loop = Loop(
        model=model,
        decide=decide,
        world=World((*drivers.all, posted), drivers.all, clock),
        lease=lease,
        epoch=epoch,
        journal=journal,
        say=say,
        tell=console.tell,
    )
    return ControlPlane(here, project, model, lease, journal, drivers, console, loop, url)


async def run(
    plane: ControlPlane, request: PersonRequest, say: Callable[[str], None], answered: Callable[[Answer], None]
) -> End:
    """Hand in `request` and run the loop until the project is down.

    The first Ctrl-C (or SIGTERM) asks to go down, the second kills everything at once. When `request` is answered with no
    while nothing serves, the project goes down by itself.
    """
    desk = Desk(plane.project.journal)
    desk.append(request)
    stopper = _Stopper(plane, desk, say)
    with JournalReader(plane.project.journal) as reader:
        feed = Feed.from_now(reader, request.id)
        running = asyncio.create_task(plane.loop.run())
        watching = asyncio.create_task(_watch(plane, feed, request, say, answered, stopper))
        stopper.listen()
        try:
            end = await running
            # The last decisions are still to be told.
            await asyncio.wait({watching}, timeout=1.0)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        for text in feed.news():
            say(text)
    if end is End.DOWN:
        # Nothing runs any more: the control groups go too.
        plane.drivers.process.limits.sweep(frozenset())
    return end


async def _watch(
    plane: ControlPlane,
    feed: Feed,
    request: PersonRequest,
    say: Callable[[str], None],
    answered: Callable[[Answer], None],
    stopper: "_Stopper",
) -> None:
    answer = await feed.until_answered(request.id, say)
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
