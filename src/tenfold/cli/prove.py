"""`tenfold prove`: does the app meet its targets? Stage: blueprint + running system -> proof -> a table, a page, an exit status."""

import asyncio
import contextlib
import difflib
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.blueprint.scenarios import DEFAULT_SCENARIO
from tenfold.cli import wiring
from tenfold.cli.drill import demand_of, find_drill, real_stage, refuse_production
from tenfold.cli.here import Fail, Here, WrongCall, make_state
from tenfold.cli.status import View, look
from tenfold.drivers.project import Project
from tenfold.loop import FileLease, Tick
from tenfold.model import Model, Scenario
from tenfold.proof.acts import Acts, Ask, acts_of, drill_users, placed
from tenfold.proof.drills import DrillRefused, DrillResult, run_drill
from tenfold.proof.load import LoadError, LoadResult, Progress, Target, UserPlan, run_users
from tenfold.proof.prove import prove
from tenfold.proof.report import Report, Setting, page
from tenfold.proof.verdict import WEIGHTS, named
from tenfold.proof.words import many, seconds

SUGGESTED = """\
targets:
  concurrent_users: 100
  throughput: 20/s
  latency: {p95: 500ms}
  availability: 99.9%
  error_rate: 0.1%
  recovery: 10s"""
"""What a blueprint without targets may begin with."""

COLOURS = {"met": "green", "missed": "bold red", "not shown": "yellow"}


@click.command("prove")
@click.option("--users", type=click.IntRange(1), help="So many users instead of as many as the targets name.")
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 1440),
    help="So long they stay (default: as long as the targets need, 1 to 5).",
)
@click.option("--quick", is_flag=True, help="A third of the time: a first impression.")
@click.option("--only", help="Judge only these targets: `latency,recovery`.")
@click.option("--scenario", "scenario_name", help="What the users do (default: the blueprint's first scenario).")
@click.option("--no-harm", is_flag=True, help="Kill nothing: recovery is not shown then.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same users.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
@click.option("--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there.")
@click.option("--in-production", is_flag=True, help="Also where production runs; needs --i-know beside it.")
@click.option("--i-know", is_flag=True, help="You know that load and harm reach what people use now.")
@click.pass_obj
def prove_command(
    here: Here,
    users: int | None,
    minutes: float | None,
    quick: bool,
    only: str | None,
    scenario_name: str | None,
    no_harm: bool,
    seed: int,
    json_path: Path | None,
    html_path: Path | None,
    in_production: bool,
    i_know: bool,
) -> None:
    """Prove that the app meets the blueprint's targets: make the load and the harm that each needs, measure, judge.

    Starts the project when it is not up, and stops it again afterwards. Ends with a verdict for each target and a score out of 100; exits
    with 1 when a target is missed or could not be shown. Ctrl-C ends load and harm; what was measured so far is still written.
    """
    if quick and minutes is not None:
        raise WrongCall("--quick and --minutes both say how long: give one")
    model = here.model()
    keys = _only(model, only)
    scenario = _scenario(model, scenario_name)
    refuse_production(model, in_production and i_know)
    for path in filter(None, (json_path, html_path)):
        _writable(path)
    wanted = _Wanted(users, minutes, quick, keys, not no_harm, seed)
    try:
        report = asyncio.run(_prove(here, model, scenario, wanted))
    except asyncio.CancelledError:
        raise Fail("stopped at once; load and harm are ended, and nothing is written") from None
    _show(report)
    if json_path is not None:
        _write(json_path, msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n", "figures")
    if html_path is not None:
        _write(html_path, page(report), "report")
    if not report.is_met or report.why_incomplete:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How the call wants it."""

    users: int | None
    minutes: float | None
    is_quick: bool
    only: tuple[str, ...]
    with_harm: bool
    seed: int


def _only(model: Model, only: str | None) -> tuple[str, ...]:
    """The targets that were asked for; a part's name (`latency`) means all of it. Raises `WrongCall`."""
    there = named(model.targets)
    if not there:
        raise WrongCall(
            f"the blueprint names no targets, so there is nothing to prove; add what you promise, for instance:\n{SUGGESTED}"
        )
    found: list[str] = []
    for word in (only or "").replace(" ", "").split(","):
        if not word:
            continue
        keys = [key for key in WEIGHTS if word in (key, key.partition(".")[0], key.partition(".")[2])]
        if not keys:
            near = difflib.get_close_matches(word, [*WEIGHTS, *(key.partition(".")[2] for key in WEIGHTS)], 1)
            raise WrongCall(
                f"there is no target {word}; "
                + (f"did you mean {near[0]}?" if near else f"there are: {', '.join(there)}")
            )
        named_ones = [key for key in keys if key in there]
        if not named_ones:
            raise WrongCall(f"the blueprint names no target {word}; it names {', '.join(there)}")
        found += named_ones
    return tuple(dict.fromkeys(found))


def _scenario(model: Model, name: str | None) -> Scenario:
    """The scenario that is played. Raises `WrongCall`."""
    if not model.scenarios:
        raise WrongCall("none of the blueprint's services speaks HTTP, so there is nothing that users could do")
    if name is not None and name not in model.scenarios:
        raise WrongCall(f"there is no scenario {name}; there are: {', '.join(model.scenarios)}")
    return model.scenarios[name] if name is not None else next(iter(model.scenarios.values()))


def _writable(path: Path) -> None:
    """Raises `WrongCall` when a file can't be written there: before, not after, minutes of load."""
    if not path.absolute().parent.is_dir():
        raise WrongCall(f"there is no folder {path.absolute().parent} to write {path.name} in")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise WrongCall(f"{path} can't be written: permission denied")


def _write(path: Path, text: str, what: str) -> None:
    """All of it or nothing; a device or a pipe is written to, never replaced."""
    final = path.resolve()
    beside = final.with_name(f".{final.name}.new")
    try:
        if final.exists() and not final.is_file():
            final.write_text(text, encoding="utf-8")
        else:
            beside.write_text(text, encoding="utf-8")
            beside.replace(final)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Fail(f"the {what} can't be written to {path}: {error.strerror}") from None
    click.echo(f"the {what}: {path}")


async def _prove(here: Here, model: Model, scenario: Scenario, wanted: _Wanted) -> Report:
    stop, screen = asyncio.Event(), _Screen()
    task = asyncio.current_task()
    assert task is not None, "it runs in one"

    def end() -> None:
        if stop.is_set():
            task.cancel()
            return
        screen.say("stopping: load and harm end, and what was measured is written (again: at once, nothing is written)")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    async with _alone(here.project()), _running(here, stop) as view:
        if view.model.environment.name != model.environment.name:
            raise Fail(
                f"what runs is the environment {view.model.environment.name}, not {model.environment.name}: "
                f"`tenfold -e {view.model.environment.name} prove`, or `tenfold down` first"
            )
        try:
            ask = Ask(
                model,
                placed(scenario, model),
                Target.parse(view.address),
                wanted.users,
                wanted.minutes,
                wanted.is_quick,
                wanted.only,
                wanted.with_harm,
                wanted.seed,
                os.cpu_count() or 1,
            )
        except LoadError as error:
            raise Fail(str(error)) from None
        screen.begin(ask, acts_of(ask))
        report = await prove(ask, _Here(here, ask), screen, stop, _setting(view, scenario, wanted.seed))
        screen.end()
        return report


@contextlib.asynccontextmanager
async def _alone(project: Project) -> AsyncIterator[None]:
    """The only proof of a project: two would judge each other's load. Raises `Fail`."""
    make_state(project)
    lease = FileLease(project.run / "proof")
    if await lease.acquire() is None:
        raise Fail("another proof of this project is under way: wait for its end")
    try:
        yield
    finally:
        await lease.release()


@contextlib.asynccontextmanager
async def _running(here: Here, stop: asyncio.Event) -> AsyncIterator[View]:
    """The project, up and serving: as it is, or started for as long as this lasts."""
    if here.control_plane_soon() is not None:
        yield _view(here)
        return
    click.echo("it is not up: starting it (`tenfold up --detach`)")
    try:
        if await _tenfold(here, "up", "--detach") != 0:
            raise Fail("it did not start: see above")
        if stop.is_set():
            raise Fail("stopped before anything was measured")
        yield _view(here)
    finally:
        if here.control_plane_soon() is not None:
            click.echo("stopping what was started for this")
            await _tenfold(here, "down")


async def _tenfold(here: Here, *words: str) -> int:
    """Run another `tenfold` and show what it says; its exit status. A Ctrl-C at the terminal does not reach it."""
    command = [*wiring.PROGRAM, "-C", str(here.directory), "-f", here.file_name]
    if here.environment:
        command += ["-e", here.environment]
    process = await asyncio.create_subprocess_exec(
        *command, *words, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    return await process.wait()


def _view(here: Here) -> View:
    with here.reader() as reader:
        view = look(here, reader)
    if view is None or view.control_plane is None or not view.address:
        raise Fail("this project's edge does not run: `tenfold up` first, and look at `tenfold status`")
    return view


def _setting(view: View, scenario: Scenario, seed: int) -> Setting:
    engines = {engine.kind: engine.version for engine in view.tick.snapshot.engines.values() if engine.version}
    return Setting(
        command=shlex.join(("tenfold", *sys.argv[1:])),
        machine=f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        versions=engines,
        blueprint_digest=view.tick.model,
        release=view.tick.memory.release.serving or "",
        scenario=scenario.name,
        seed=seed,
    )


class _Here:
    """The ground of a proof: this project, as it runs."""

    def __init__(self, here: Here, ask: Ask) -> None:
        self._here, self._ask = here, ask

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def pause(self, wait_s: float, stop: asyncio.Event) -> None:
        """Let time pass, or less of it when `stop` is set."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)

    async def play(self, plan: UserPlan, heard: Callable[[Progress], None], stop: asyncio.Event) -> LoadResult:
        """Make a load."""
        return await run_users(plan, heard, stop)

    async def drill(self, name: str, tell: Callable[[str], None], stop: asyncio.Event) -> DrillResult:
        """Play a drill on the real engines."""
        try:
            view = _view(self._here)
            drill = find_drill(self._here, view, name)
            demand = replace(demand_of(view), users=drill_users(self._ask), scenario=self._ask.scenario)
            stage = real_stage(self._here, view, demand, self._ask.seed)
        except click.ClickException as error:
            raise DrillRefused(error.message) from None
        return await run_drill(drill, stage, tell, stop)

    def ticks(self, from_at: float, to_at: float) -> Sequence[Tick]:
        """What the journal keeps of that time."""
        with self._here.reader() as reader:
            first, span = reader.at(from_at), reader.span()
            if span is None:
                return []
            return [t for t in reader.ticks(span[0] if first is None else first, span[1]) if from_at <= t.at <= to_at]


class _Screen:
    """Shows how a proof goes: each act with how long it takes, a line of load that renews itself at a terminal."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._is_open = False
        self._told_s = 0.0

    def begin(self, ask: Ask, acts: Acts) -> None:
        """What is about to be done."""
        targets = many(len(ask.keys), "target")
        until = time.strftime("%H:%M", time.localtime(time.time() + acts.lasts_s))
        click.echo(f"proving {targets} at {ask.target.authority} with the scenario {ask.scenario.name}")
        if ask.scenario.name == DEFAULT_SCENARIO:
            click.echo("  (the blueprint has no `scenarios`: users only ask for the first page)")
        click.echo(
            f"this takes about {seconds(acts.lasts_s)}, until {until}; Ctrl-C ends it early, and what was measured is kept"
        )

    def act(self, text: str, lasts_s: float) -> None:
        """An act begins."""
        self.end()
        self._told_s = 0.0
        click.secho(f"\n{text} (about {seconds(lasts_s)})", bold=True)

    def load(self, progress: Progress) -> None:
        """A second of load."""
        second = progress.second
        if not self._is_terminal and progress.elapsed_s - self._told_s < 5.0:
            return
        self._told_s = progress.elapsed_s
        p95 = "-" if second.p95_ms is None else f"{second.p95_ms:,.0f} ms"
        text = (
            f"  {progress.elapsed_s:5.0f} s  {second.users:7,} users  {second.answered:7,} answers/s  p95 {p95:>9}  "
            f"{progress.failed + progress.refused:5,} failed  {progress.eta_s:4.0f} s left"
        )
        click.echo(f"\r{text}" if self._is_terminal else text, nl=not self._is_terminal)
        self._is_open = self._is_terminal

    def say(self, text: str) -> None:
        """Something else happened."""
        self.end()
        click.echo(f"  {text}")

    def end(self) -> None:
        """The line that renews itself is over."""
        if self._is_open:
            click.echo()
        self._is_open = False


def _show(report: Report) -> None:
    """The verdicts as a table, and what to do."""
    console = Console(highlight=False)
    if not console.is_terminal:
        # A pipe has no width of its own.
        console.width = 160
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, ratio in (("target", None), ("asked", None), ("measured", 2), ("how", 3), ("", None)):
        table.add_column(name, ratio=ratio, no_wrap=ratio is None)
    for verdict in report.verdicts:
        how = Text(verdict.how)
        if verdict.confidence:
            how.append(f"{'; ' if verdict.how else ''}{verdict.confidence}", style="dim")
        word = Text(verdict.word, style=COLOURS[verdict.word])
        table.add_row(verdict.target, verdict.asked, verdict.measured, how, word)
    console.print()
    console.print(table)
    console.print(Text(f"\n{report.score:.0f} of 100: {report.line}", style="bold green" if report.is_met else "bold"))
    for advice, verdicts in report.todo:
        names = Text(", ").join(Text(v.target, style=COLOURS[v.word]) for v in verdicts)
        console.print(Text.assemble("  ", names, f": {advice}"))
    for note in report.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if report.why_incomplete:
        console.print(Text(f"incomplete: {report.why_incomplete}", style="bold red"))
