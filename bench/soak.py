"""`python -m bench.soak --hours 1`: Crewboard under a steady load for hours, and whether memory, descriptors, journal and p99 stay flat.

Exit status 1 when something grows, 2 when it could not be measured. The first part of the time is a warm-up and is not judged.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.flat import Trend, is_flat, trend
from bench.shop import Shop, crewboard
from bench.table import Unmeasured, machine
from tenfold.loop import JournalError, JournalReader
from tenfold.loop.upkeep import RETENTION
from tenfold.model import Scenario
from tenfold.proof.load import LoadError, LoadResult, Progress, UserCurve, UserPlan, run_users
from tenfold.proof.trial import TrialError
from tenfold.proof.words import ms, seconds

USERS = 60
RAMP_S = 10.0
SAMPLES = 120
"""So many looks in all, but no more than one in five seconds, nor fewer than one a minute."""
EVERY_S = (5.0, 60.0)
WARM_UP_RATIO = 0.25
"""Of the time: caches fill, pools open, interpreters settle."""
MEMORY_RATIO, MEMORY_BYTES = 0.05, 4 * 2**20
DESCRIPTORS_RATIO, DESCRIPTORS = 0.05, 8.0
P99_RATIO, P99_MS = 0.25, 10.0
JOURNAL_BYTES_PER_S = RETENTION.size_bytes / RETENTION.age_s
"""A journal that grows by more each second would lose its oldest days to its bound of size before they are old."""
MIB = 2**20


@dataclass(slots=True)
class Line:
    """Something over time: (seconds from the start, value), and by how much it may grow over a judged time with that trend."""

    name: str
    write: Callable[[float], str]
    allowed: Callable[[Trend, float], float]
    points: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged:
    """A line and what is believed of it; `found` is None where it was seen too seldom."""

    line: Line
    found: Trend | None
    allowed: float

    @property
    def word(self) -> str:
        """`flat`, `grows` or `-`."""
        return "-" if self.found is None else "flat" if is_flat(self.found, self.allowed) else "grows"


def _ratio(ratio: float, least: float) -> Callable[[Trend, float], float]:
    return lambda found, lasted_s: max(ratio * abs(found.middle), least)


def _mib(value: float) -> str:
    return f"{value / MIB:,.1f} MiB"


class Watch:
    """Looks at a shop again and again."""

    def __init__(self, shop: Shop) -> None:
        self._shop, self._since_s = shop, time.monotonic()
        self.lines: dict[str, Line] = {}
        self.p99_ms: list[float] = []

    def heard(self, progress: Progress) -> None:
        """A second of load."""
        if progress.second.p99_ms is not None:
            self.p99_ms.append(progress.second.p99_ms)

    def look(self) -> float:
        """One look at everything; gives how many seconds have passed."""
        at_s = time.monotonic() - self._since_s
        groups: dict[str, list[int]] = {"control plane": [self._shop.control_plane()]}
        for process in self._shop.processes():
            if process.kind in ("instance", "engine"):
                groups.setdefault(process.id, []).append(process.pid)
        for name, pids in groups.items():
            used = [measured for pid in pids if (measured := _use(pid)) is not None]
            if used:
                memory = self._line(f"{name}: memory", _mib, _ratio(MEMORY_RATIO, MEMORY_BYTES))
                memory.points.append((at_s, float(sum(m for m, _ in used))))
                files = self._line(f"{name}: descriptors", "{:,.0f}".format, _ratio(DESCRIPTORS_RATIO, DESCRIPTORS))
                files.points.append((at_s, float(sum(f for _, f in used))))
        journal = self._line("journal", _mib, lambda found, lasted_s: JOURNAL_BYTES_PER_S * lasted_s)
        path = self._shop.project.journal
        journal.points.append((at_s, float(sum(f.stat().st_size for f in path.parent.glob(f"{path.name}*")))))
        if self.p99_ms:
            # The middle of the seconds since the last look: one slow second is no trend.
            self._line("p99", ms, _ratio(P99_RATIO, P99_MS)).points.append((at_s, median(self.p99_ms)))
            self.p99_ms.clear()
        return at_s

    def _line(self, name: str, write: Callable[[float], str], allowed: Callable[[Trend, float], float]) -> Line:
        return self.lines.setdefault(name, Line(name, write, allowed))


def _use(pid: int) -> tuple[int, int] | None:
    """Memory in bytes (its share of what is shared; pages of files, which the system keeps as long as it likes, left out), and open
    descriptors of a process; None when it has just gone."""
    try:
        fields = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        memory_kb = int(fields["Pss_Anon:"]) + int(fields["Pss_Shmem:"])
        return memory_kb * 1024, len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - only their number is wanted
    except (OSError, KeyError):
        return None


def judged(lines: Iterable[Line], lasted_s: float) -> list[Judged]:
    """What is believed of each line after its warm-up."""
    from_s, found = lasted_s * WARM_UP_RATIO, []
    for line in lines:
        points = [(at, value) for at, value in line.points if at >= from_s]
        line_trend = trend(points)
        span_s = points[-1][0] - points[0][0] if points else 0.0
        found.append(Judged(line, line_trend, line.allowed(line_trend, span_s) if line_trend else 0.0))
    return found


async def soak(hours: float, users: int, tell: Callable[[str], None]) -> tuple[list[Judged], LoadResult]:
    """Crewboard under `users` for `hours`."""
    lasts_s = hours * 3600
    every_s = min(max(lasts_s / SAMPLES, EVERY_S[0]), EVERY_S[1])
    async with crewboard(tell) as shop:
        watch, stop = Watch(shop), asyncio.Event()
        plan = UserPlan(
            await shop.target(),
            _scenario(shop),
            users=UserCurve.ramp(users, RAMP_S, max(lasts_s - RAMP_S, 1.0)),
            warm_up_s=RAMP_S,
        )
        load = asyncio.create_task(run_users(plan, watch.heard, stop))
        try:
            while not load.done():
                await asyncio.wait({load}, timeout=every_s)
                if not load.done():
                    at_s = watch.look()
                    tell(_progress(watch, at_s, lasts_s))
            return judged(watch.lines.values(), lasts_s), load.result()
        finally:
            stop.set()
            await asyncio.wait({load})


def _scenario(shop: Shop) -> Scenario:
    tick = shop.latest()
    with JournalReader(shop.project.journal) as reader:
        model = reader.model(tick.model)
    if model is None or not model.scenarios:
        raise Unmeasured("crewboard names no scenario to be played")
    return next(iter(model.scenarios.values()))


def _progress(watch: Watch, at_s: float, lasts_s: float) -> str:
    lines = watch.lines
    memory = sum(line.points[-1][1] for name, line in lines.items() if name.endswith("memory"))
    p99 = f"p99 {ms(lines['p99'].points[-1][1])}" if "p99" in lines else "nothing answered yet"
    journal = _mib(lines["journal"].points[-1][1])
    return f"{p99}, {_mib(memory)} in all, journal {journal}; {seconds(max(lasts_s - at_s, 0.0))} left"


def show(found: list[Judged], result: LoadResult) -> None:
    """The table."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("", "first", "median", "last", "grew", "may grow", ""):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for each in found:
        line, points = each.line, each.line.points
        if each.found is None:
            table.add_row(line.name, line.write(points[0][1]), "", line.write(points[-1][1]), "", "", "seen too seldom")
            continue
        grew = f"{'-' if each.found.growth < 0 else '+'}{line.write(abs(each.found.growth))}"
        word = Text(each.word, style="green" if each.word == "flat" else "bold red")
        middle = line.write(each.found.middle)
        table.add_row(
            line.name, line.write(points[0][1]), middle, line.write(points[-1][1]), grew, line.write(each.allowed), word
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    console.print(
        f"{result.sent:,} requests in {seconds(result.duration_s)}, {result.failed + result.refused:,} failed; {machine()}"
    )
    for reason in result.invalid:
        console.print(f"the load was spoilt: {reason}", style="bold red")


def as_data(found: list[Judged], result: LoadResult) -> dict[str, object]:
    """The table for programs."""
    return {
        "machine": machine(),
        "duration_s": result.duration_s,
        "sent": result.sent,
        "failed": result.failed + result.refused,
        "invalid": result.invalid,
        "lines": [
            {
                "name": each.line.name,
                "word": each.word,
                "growth": each.found.growth if each.found else None,
                "allowed": each.allowed,
                "median": each.found.middle if each.found else None,
                "points": each.line.points,
            }
            for each in found
        ],
    }


@click.command()
@click.option(
    "--hours", type=click.FloatRange(0.02, 1000), default=1.0, show_default=True, help="How long; 0.05 for a try."
)
@click.option("--users", type=click.IntRange(1), default=USERS, show_default=True, help="How many users at once.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there too.")
def main(hours: float, users: int, path: Path | None) -> None:
    """Run Crewboard under a steady load, and tell whether memory, descriptors, journal size and p99 stay flat."""
    since_s = time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"{time.monotonic() - since_s:6.0f} s  {text}", err=True)

    try:
        found, result = asyncio.run(_main(hours, users, tell))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped: everything that was started is gone again", err=True)
        raise SystemExit(130) from None
    except (Unmeasured, TrialError, LoadError, JournalError, OSError) as error:
        click.echo(f"could not be measured: {error}", err=True)
        raise SystemExit(2) from None
    show(found, result)
    if path is not None:
        path.write_text(json.dumps(as_data(found, result), indent=1) + "\n")
    if any(each.word == "grows" for each in found):
        raise SystemExit(1)


async def _main(hours: float, users: int, tell: Callable[[str], None]) -> tuple[list[Judged], LoadResult]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await soak(hours, users, tell)


if __name__ == "__main__":
    sys.exit(main())
