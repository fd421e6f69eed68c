"""Plays policies beside one another: each in a process of its own, as many at a time as there are cores.
Stage: a setting and names -> outcomes.

Processes are forked: what the load is by the second are functions, and those can't be sent to another process in any other way.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

import click

from tenfold.cli.here import Fail
from tenfold.proof.words import seconds as told_s
from tenfold.sim.compare import CannotRun, Setting, run
from tenfold.sim.tally import Outcome

AWAKE_S = 0.5
"""So often at least it is looked whether somebody asked to stop."""

_FORKED = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Played:
    """What came of those policies that were played to their end, in the order in which they were asked for, and the names of those that
    a person stopped."""

    outcomes: tuple[Outcome, ...]
    stopped: tuple[str, ...]


def play(setting: Setting, names: tuple[str, ...]) -> Played:
    """Play `setting` under every policy of `names`; it is told on stderr how far they are. Ctrl-C stops those that are not done.

    Raises `Fail` where the project does not come up under one of them, or a process dies.
    """
    at_once = min(len(names), len(os.sched_getaffinity(0)))
    progress = _Progress(names, sys.stderr.isatty())
    progress.begin(setting.seconds, at_once)
    waiting, running, done = list(names), dict[Connection, tuple[str, ForkProcess]](), dict[str, Outcome]()
    try:
        with _asked_to_stop() as is_asked:
            while (waiting or running) and not is_asked():
                while waiting and len(running) < at_once:
                    name = waiting.pop(0)
                    heard, process = _begin(setting, name)
                    running[heard] = (name, process)
                wait(list(running), AWAKE_S)
                for heard in [heard for heard in running if heard.poll()]:
                    name, process = running[heard]
                    said = _hear(heard, name, process)
                    progress.tell(name, 1.0 if isinstance(said, Outcome) else said)
                    if isinstance(said, Outcome):
                        done[name] = said
                        del running[heard]
                        process.join()
    finally:
        progress.end()
        for _, process in running.values():
            process.kill()
            process.join()
    return Played(tuple(done[name] for name in names if name in done), tuple(n for n in names if n not in done))


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed meanwhile. An exception would be lost where it comes in the middle of a fork."""
    is_asked = False

    def ask(*_: object) -> None:
        nonlocal is_asked
        is_asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: is_asked
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(setting: Setting, name: str) -> tuple[Connection, ForkProcess]:
    """A process that plays it, and the end at which it is heard."""
    heard, told = _FORKED.Pipe(duplex=False)
    process = _FORKED.Process(target=_apart, args=(setting, name, told), daemon=True)
    process.start()
    # The other end is this process's to close too: else nobody would learn that the other has died.
    told.close()
    return heard, process


def _hear(heard: Connection, name: str, process: ForkProcess) -> float | Outcome:
    """How far it is (0..1), or what came of it."""
    try:
        said = heard.recv()
    except EOFError:
        process.join()
        if process.exitcode == 1:
            raise Fail(f"a bug in Tenfold ended the process that played {name}; it said where, above") from None
        raise Fail(f"the process that played {name} was ended from outside: is memory short?") from None
    if isinstance(said, CannotRun):
        raise Fail(str(said))
    assert isinstance(said, float | Outcome)
    return said


def _apart(setting: Setting, name: str, told: Connection) -> None:
    """In a process of its own: say how far it is, and at last what came of it. Ctrl-C is for the process that began it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A broken pipe: nobody hears it any more, whoever asked for it has ended.
    with suppress(BrokenPipeError):
        try:
            told.send(run(setting, name, told.send))
        except CannotRun as why:
            told.send(why)


class _Progress:
    """A line on a terminal that says how far each policy is; elsewhere one line at the beginning."""

    def __init__(self, names: tuple[str, ...], is_tty: bool) -> None:
        self._far = dict.fromkeys(names, 0.0)
        self._is_tty, self._width = is_tty, 0

    def begin(self, seconds: float, at_once: int) -> None:
        names = tuple(self._far)
        pace = f", {at_once} at a time" if at_once < len(names) else ""
        click.echo(f"playing {told_s(seconds)} under {', '.join(names)}{pace}", err=True)

    def tell(self, name: str, ratio: float) -> None:
        self._far[name] = ratio
        if self._is_tty:
            self._show("  ".join(f"{name} {far:.0%}" for name, far in self._far.items()))

    def end(self) -> None:
        if self._is_tty:
            self._show("")
            click.echo("\r", nl=False, err=True)

    def _show(self, text: str) -> None:
        click.echo(f"\r{text.ljust(self._width)}", nl=False, err=True)
        self._width = len(text)
