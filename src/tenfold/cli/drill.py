"""`tenfold drill`: harm on purpose, measured from outside and undone again; on the project that runs, or in the simulator."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec

from tenfold.cli import wiring
from tenfold.cli.here import Fail, Here, WrongCall, make_state
from tenfold.cli.status import View, look
from tenfold.cli.tables import figure
from tenfold.drivers.harm.process import own_disk_of
from tenfold.drivers.network import Delayed, Network
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.wan.wan import Wan
from tenfold.model import Model, Scenario
from tenfold.ports import DriverError
from tenfold.proof.consistency import Consistency, judge
from tenfold.proof.drills import Drill, DrillRefused, DrillResult, Offer, Stage, drills_for, run_drill
from tenfold.proof.drills.beside import Demand
from tenfold.proof.drills.catalogue import SIMULATED, Means
from tenfold.proof.drills.chaos import ExperimentError, export, read
from tenfold.proof.drills.realstage import NORMAL_S, Around, RealStage
from tenfold.proof.drills.simstage import SimStage
from tenfold.proof.history import HistoryError, read_history, write_history
from tenfold.proof.linearizable import check
from tenfold.proof.load import LoadError, Target

USERS = 50
RATE_RPS = 50.0
SIM_RATE_RPS = 100.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of the call."""

    name: str
    simulate: bool
    seed: int
    users: int | None
    rate_rps: float | None
    scenario: str | None
    region: str | None
    seconds: float | None
    normal_s: float
    is_sure: bool
    as_json: bool


@click.command("drill")
@click.argument("name", required=False)
@click.option("--sim", "simulate", is_flag=True, help="In the simulator instead of on what runs here.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same choices; in the simulator the same story.")
@click.option(
    "--users",
    type=click.IntRange(1),
    help=f"So many users play the scenario beside it (default {USERS}, where there is one).",
)
@click.option(
    "--rate",
    "rate_rps",
    type=float,
    help=f"Instead of users: actions a second (without a scenario: of GET /, default {RATE_RPS:g}).",
)
@click.option("--scenario", help="Which scenario they play (default: the blueprint's first).")
@click.option("--region", help="Which region to strike (default: the last, without a store where there is one).")
@click.option("--seconds", type=click.FloatRange(0.5, 600), help="How long the harm lasts (default: as each does).")
@click.option(
    "--before",
    "normal_s",
    type=click.FloatRange(2, 600),
    default=NORMAL_S,
    show_default=True,
    help="How many seconds to look at what is normal.",
)
@click.option(
    "--export", "exports", is_flag=True, help="Print the drill as an experiment of the Chaos Toolkit instead."
)
@click.option("--registers", is_flag=True, help="The history that is judged is of single values: is it linearizable?")
@click.option("--in-production", is_flag=True, help="Also where production runs; needs --i-know beside it.")
@click.option("--i-know", is_flag=True, help="You know that a drill harms what people use now.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object; progress goes to stderr.")
@click.pass_obj
def drill_command(
    here: Here,
    name: str | None,
    simulate: bool,
    seed: int,
    users: int | None,
    rate_rps: float | None,
    scenario: str | None,
    region: str | None,
    seconds: float | None,
    normal_s: float,
    exports: bool,
    registers: bool,
    in_production: bool,
    i_know: bool,
    as_json: bool,
) -> None:
    """Harm what runs on purpose, and measure what comes of it.

    NAME is a drill, or a file with an experiment of the Chaos Toolkit (.json); without one all drills are listed. The steady state must
    hold before, and is waited for afterwards; the harm is undone however the drill ends. Exits with 1 when the drill does not show
    what it must. The history of a drill (.jsonl) is judged again.
    """
    if users is not None and rate_rps is not None:
        raise WrongCall("--users and --rate are two different loads: give one")
    if rate_rps is not None and not 0 < rate_rps <= 10_000:
        raise WrongCall(f"--rate {rate_rps:g} is no load for a drill: give a number above 0, up to 10000")
    if simulate and users is not None:
        raise WrongCall("the simulator knows no users: give it a --rate")
    is_sure = in_production and i_know
    asked = _Asked(name or "", simulate, seed, users, rate_rps, scenario, region, seconds, normal_s, is_sure, as_json)
    if name is None:
        _list(here, asked)
    elif name.endswith(".jsonl"):
        _judge(Path(name), registers, as_json)
    elif exports:
        _export(here, asked)
    elif simulate:
        model = here.model()
        drill = _find(_offers(model, SIMULATED, asked), asked)
        _play(drill, lambda: SimStage(model, seed, rate_rps or SIM_RATE_RPS), None, asked)
    else:
        _drill(here, asked)


def _list(here: Here, asked: _Asked) -> None:
    """Every drill, and whether it can be done now."""
    if asked.simulate:
        offers = _offers(here.model(), SIMULATED, asked)
    else:
        model, means = _means(here)
        offers = _offers(model, means, asked)
    if asked.as_json:
        data = [{"name": o.name, "what": o.line, "can": o.drill is not None, "why_not": o.why_not} for o in offers]
        click.echo(json.dumps(data))
        return
    for offer in offers:
        can = offer.drill is not None
        click.echo(f"  {click.style(f'{offer.name:20}', bold=can, dim=not can)} {offer.line}")
        if not can:
            click.secho(f"  {'':20} not here: {offer.why_not}", fg="yellow")
    click.echo("`tenfold drill NAME` plays one on what runs here, `tenfold drill NAME --sim` in the simulator")


def _judge(path: Path, registers: bool, as_json: bool) -> None:
    """Say of a recorded history whether the data were right, whoever recorded it."""
    try:
        history = list(read_history(path))
    except (OSError, UnicodeDecodeError) as error:
        raise WrongCall(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    except HistoryError as error:
        raise WrongCall(str(error)) from None
    found = check(history) if registers else judge(history)
    if as_json:
        data = msgspec.to_builtins(found)
        click.echo(json.dumps({**data, "holds": found.holds}))
    elif isinstance(found, Consistency):
        click.echo(
            f"{found.acknowledged:,} writes acknowledged, {found.unknown:,} with an unknown end, {found.reads:,} reads: "
            f"{len(found.lost)} lost, {len(found.doubled)} done twice, {len(found.phantom)} phantom, {len(found.unread)} never read, "
            f"{found.stale_own + found.stale} stale reads"
        )
    else:
        click.echo(
            f"{found.operations:,} operations on {found.keys:,} keys: {'linearizable' if found.holds else 'NOT linearizable'}"
        )
        for key, operation in found.broken:
            click.echo(f"  {key}: no order explains {operation}")
    if not found.holds:
        raise SystemExit(1)


def _export(here: Here, asked: _Asked) -> None:
    drill = _find(_offers(here.model(), SIMULATED, asked), asked)
    click.echo(json.dumps(export(drill), indent=2))


def _offers(model: Model, means: Means, asked: _Asked) -> tuple[Offer, ...]:
    try:
        return drills_for(model, means, asked.region, asked.seconds)
    except ValueError as error:
        raise WrongCall(str(error)) from None


def _find(offers: tuple[Offer, ...], asked: _Asked) -> Drill:
    """The drill of that name, or of the experiment in that file. Raises `WrongCall`, and `Fail` when this project can't do it."""
    if asked.name.endswith(".json"):
        try:
            text = Path(asked.name).read_text(encoding="utf-8")
            return read(text)
        except (OSError, UnicodeDecodeError) as error:
            raise WrongCall(f"{asked.name} can't be read: {getattr(error, 'strerror', None) or error}") from None
        except ExperimentError as error:
            raise WrongCall(f"{asked.name}: {error}") from None
    offer = next((offer for offer in offers if offer.name == asked.name), None)
    if offer is None:
        raise WrongCall(f"there is no drill {asked.name}: `tenfold drill` lists them")
    if offer.drill is None:
        raise Fail(f"{offer.name} can't be done here: {offer.why_not}")
    return offer.drill


def _means(here: Here) -> tuple[Model, Means]:
    """What can be done on this project as it runs, or would run."""
    with_journal = here.project().journal.exists()
    view = None
    if with_journal:
        with here.reader() as reader:
            view = look(here, reader)
    model = view.model if view is not None and view.control_plane is not None else here.model()
    return model, _means_of(here.project(), model, wiring.network(here.project(), model))


def _means_of(project: Project, model: Model, network: Network) -> Means:
    return Means(
        has_wan=isinstance(network, Wan),
        has_delay=isinstance(network, Wan | Delayed),
        disks=frozenset(_own_disks(project, model)),
    )


def _own_disks(project: Project, model: Model) -> list[str]:
    found = []
    for region in model.store_regions:
        try:
            own_disk_of(Processes(project), f"postgres/{region}")
        except DriverError:
            continue
        found.append(f"postgres/{region}")
    return found


def _drill(here: Here, asked: _Asked) -> None:
    """On what runs here."""
    with here.reader() as reader:
        view = look(here, reader)
    if view is None or view.control_plane is None or not view.address:
        raise Fail("nothing is running here: `tenfold up` first, or use --sim")
    refuse_production(view.model, asked.is_sure)
    project = here.project()
    means = _means_of(project, view.model, wiring.network(project, view.model))
    drill = _find(_offers(view.model, means, asked), asked)
    demand = demand_of(view, asked.scenario, asked.users, asked.rate_rps)
    stage = real_stage(here, view, demand, asked.seed, asked.normal_s)
    screen = sys.stderr if asked.as_json else sys.stdout
    click.echo(f"{drill.name}: {drill.line}, beside {demand.said}. Ctrl-C mends and ends it.", file=screen)
    folder = _report_folder(project, drill)
    _play(drill, lambda: stage, folder, asked)


def refuse_production(model: Model, is_sure: bool) -> None:
    """Raise `WrongCall` where people use what runs, unless whoever calls has said twice that they know (`is_sure`)."""
    if model.environment.is_production and not is_sure:
        raise WrongCall(
            f"{model.environment.name} is what people use, so nothing is harmed there: practise in another environment, "
            "or say --in-production --i-know"
        )


def find_drill(here: Here, view: View, name: str) -> Drill:
    """A drill that what runs here can do, by its name. Raises `Fail` with the reason why it can't."""
    project = here.project()
    means = _means_of(project, view.model, wiring.network(project, view.model))
    offer = next(offer for offer in drills_for(view.model, means) if offer.name == name)
    if offer.drill is None:
        raise Fail(f"{offer.name} can't be done here: {offer.why_not}")
    return offer.drill


def demand_of(
    view: View, scenario_name: str | None = None, users: int | None = None, rate_rps: float | None = None
) -> Demand:
    """The load beside a drill: of the scenario of that name (None: the first, if there is one), near all regions alike where the edge
    believes what it is told of places."""
    scenarios = view.model.scenarios
    scenario: Scenario | None = next(iter(scenarios.values()), None)
    if scenario_name is not None:
        scenario = scenarios.get(scenario_name)
        if scenario is None:
            there = ", ".join(scenarios) or "none"
            raise WrongCall(f"there is no scenario {scenario_name} in what runs here; there are: {there}")
    if users is not None and scenario is None:
        raise WrongCall("--users play a scenario, and the blueprint that runs here has none: give a --rate")
    if users is None and rate_rps is None and scenario is not None:
        users = USERS
    places: tuple[str, ...] = ()
    if view.model.is_spread and view.model.edge.trust:
        places = tuple(f"{r.at[0]},{r.at[1]}" for r in view.model.regions.values() if r.at is not None)
    return Demand(rate_rps or RATE_RPS, users, scenario, places=places)


def real_stage(here: Here, view: View, demand: Demand, seed: int = 1, normal_s: float = NORMAL_S) -> RealStage:
    """What runs here as a stage. Raises `Fail`."""
    try:
        target = Target.parse(view.address)
    except LoadError as error:
        raise Fail(str(error)) from None
    revive: tuple[str, ...] = (*wiring.PROGRAM, "-C", str(here.directory), "-f", here.file_name)
    if here.environment:
        revive = (*revive, "-e", here.environment)
    project = here.project()
    harm = wiring.harm(project, view.model, wiring.network(project, view.model))
    around = Around(project, view.model, target, harm, (*revive, "up", "--detach"))
    return RealStage(around, demand, seed, normal_s)


def _report_folder(project: Project, drill: Drill) -> Path:
    make_state(project)
    folder = project.state / "reports" / f"{time.strftime('%Y%m%d-%H%M%S')}-{drill.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fail(f"{folder} can't be made: {error.strerror}") from None
    return folder


def _play(drill: Drill, make: Callable[[], Stage], folder: Path | None, asked: _Asked) -> None:
    """Play it and tell what came of it."""
    screen = sys.stderr if asked.as_json else sys.stdout
    try:
        result = asyncio.run(_run(drill, make, folder, lambda text: click.echo(text, file=screen)))
    except DrillRefused as error:
        raise Fail(str(error)) from None
    except asyncio.CancelledError:
        raise Fail("stopped at once; what was harmed is mended") from None
    if folder is not None:
        (folder / "result.json").write_text(json.dumps(as_data(result), indent=1) + "\n")
    if asked.as_json:
        click.echo(json.dumps(as_data(result)))
    else:
        show([result])
    if result.is_interrupted:
        raise SystemExit(130)
    if not result.met:
        raise SystemExit(1)


async def _run(
    drill: Drill, make: Callable[[], Stage], folder: Path | None, tell: Callable[[str], None]
) -> DrillResult:
    stop, task = asyncio.Event(), asyncio.current_task()
    assert task is not None, "it runs in one"

    def end() -> None:
        if stop.is_set():
            task.cancel()
        else:
            tell("stopping: what is harmed is mended first (again: at once)")
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    stage = make()
    result = await run_drill(drill, stage, tell, stop)
    history = stage.history()
    if folder is None or not history:
        return result
    path = folder / "history.jsonl"
    write_history(path, history)
    return replace(result, history=str(path))


def as_data(result: DrillResult) -> dict[str, object]:
    """A result for programs."""
    data = msgspec.to_builtins(result)
    assert isinstance(data, dict)
    return {**data, "met": result.met}


HEADER = "drill                detect s  recover s   whole s  requests  failed    slow  writes  lost  twice  answered by     "


def show(results: list[DrillResult]) -> None:
    """A row for each drill, and what it says of itself below."""
    click.secho(f"\n{HEADER}", dim=True)
    for r in results:
        writes = r.writes
        cells = (
            click.style(f"{r.drill:19}", bold=True),
            *(
                f"{figure(value, '.1f'):>{width}}"
                for value, width in ((r.detect_s, 9), (r.recover_s, 10), (r.whole_s, 9))
            ),
            f"{r.traffic.requests:9,}",
            _bad(r.traffic.failed, 7),
            f"{figure(r.traffic.slow, ',d'):>7}",
            f"{figure(writes.acknowledged if writes else None, ',d'):>7}",
            *(_bad(len(lost) if lost is not None else None, width) for lost, width in _lacking(writes)),
            f" {' '.join(filter(None, (r.answered_by, r.decision))) or '-':15}",
            _verdict(r),
        )
        click.echo(" ".join(cells))
        for line in _details(r):
            click.echo(line)


def _lacking(writes: Consistency | None) -> tuple[tuple[tuple[str, ...] | None, int], ...]:
    return ((writes.lost, 5), (writes.doubled, 6)) if writes else ((None, 5), (None, 6))


def _bad(value: int | None, width: int) -> str:
    """A count that should be zero."""
    return click.style(f"{figure(value, ',d'):>{width}}", fg="red" if value else None)


def _verdict(result: DrillResult) -> str:
    if result.is_interrupted:
        return click.style("interrupted", fg="yellow")
    return click.style("met", fg="green") if result.met else click.style("missed", fg="red", bold=True)


def _details(result: DrillResult) -> list[str]:
    lines = [click.style(f"  {result.decision}: {result.why}", dim=True)] if result.decision else []
    for finding in result.findings:
        if not finding.met:
            what = f"  missed: {finding.what} {finding.measured}, must be {finding.must_show}"
            lines.append(click.style(what, fg="red"))
    lines += [click.style(f"  failed: {reason}", fg="red") for reason in result.traffic.reasons]
    lines += [click.style(f"  in doubt: {reason}", fg="yellow") for reason in result.traffic.invalid]
    notes = list(result.notes)
    if result.traffic.slow_ms is not None:
        notes.append(f"slow: beyond {result.traffic.slow_ms:,.0f} ms")
    if result.writes is None and result.world == "real":
        notes.append("writes were not judged: no scenario of the blueprint has a `check`")
    if result.history:
        notes.append(f"every write and read: {result.history}")
    return [*lines, *(click.style(f"  {note}", dim=True) for note in notes)]
