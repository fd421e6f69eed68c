"""What `tenfold simulate` plays: demand, what programs are like, what strikes. Stage: a call -> a `Setting`, and what to say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tenfold.blueprint import not_acted_on
from tenfold.cli.here import Fail, Here, WrongCall
from tenfold.cli.past import past_of
from tenfold.cli.simulateblows import blow_of
from tenfold.cli.simulatedemand import Demand, needing, of_trace, of_users
from tenfold.cli.users import Asked, asked_of, part_words
from tenfold.drivers.releases import source_digest
from tenfold.estimators.allocation import UNHINDERED, USUAL
from tenfold.estimators.forecast import Forecasts
from tenfold.estimators.users import Question, spread
from tenfold.loop import JournalError, JournalReader
from tenfold.model import Model, Scaling
from tenfold.ports import DriverError
from tenfold.proof.words import seconds as told_s
from tenfold.sim.behaviour import Behaviour, costs_of
from tenfold.sim.compare import OURS, Setting
from tenfold.sim.policies.kpa import TARGET_RATIO

START_S = 120.0
"""What a start takes where nobody measured one: to schedule, pull and begin a container somewhere."""
LATENCY_MS = 500.0
"""The target where the blueprint names none."""
WRITE_RATIO = 0.1
"""Of all requests, those that write, where there is a database; as in the drills."""


@dataclass(frozen=True, slots=True)
class Called:
    """The options of the call."""

    trace: Path | None
    users: int | None
    scenario: str | None
    since: datetime | None
    until: datetime | None
    scale: float
    peak_rps: float | None
    peak_instances: int | None
    policies: tuple[str, ...]
    faults: tuple[str, ...]
    seed: int
    step_s: float
    start_s: float | None


def setting_of(here: Here, model: Model, asked: Called) -> tuple[Setting, tuple[str, ...]]:
    """What is played, and all that must be said about it."""
    try:
        digest = source_digest(here.project(), model.keep, any(service.build for service in model.services.values()))
    except DriverError as error:
        raise Fail(str(error)) from None
    about: Asked = asked_of(here, model, digest, asked.users or 1, asked.scenario, None, past_of(here))
    question = about.question
    if not any(share > 0 for share in question.shares.values()):
        raise WrongCall("no service of this blueprint is asked over HTTP, so there is no demand to play")
    demand = (
        of_users(question, asked.users, asked.seed)
        if asked.users is not None
        else of_trace(_file(asked), asked.since, asked.until, question, asked.scale, asked.peak_rps)
    )
    latency_ms = _latency_ms(model, question)
    behaviours, told = _behaviours(here, question, asked.start_s)
    played, left_out = _without_posted(model)
    setting = Setting(
        played,
        {},
        behaviours,
        demand.began_at,
        demand.seconds,
        asked.step_s,
        asked.seed,
        latency_ms,
        capacities=tuple(question.capacities.values()),
        residents=_residents(question),
        forecasts=Forecasts,
    )
    holds = setting.holds_per_s
    notes = [*demand.told]
    if asked.peak_instances is not None:
        demand, line = needing(demand, holds, asked.peak_instances)
        notes.append(line)
    blows = tuple(blow_of(text, model, demand) for text in asked.faults)
    setting = replace(setting, rates=demand.rates, blows=blows, history=demand.history())
    notes += told
    notes += [
        f"one instance of {name} holds {holds[name]:,.4g} requests/s within {latency_ms:g} ms"
        for name in dict.fromkeys(model.services[pool].base for pool in _served(question))
    ]
    notes += [
        *about.notes,
        *left_out,
        *_scarce(model, demand, holds),
        *_of_policies(model, asked.policies),
        *_of_kpa(setting, asked.policies),
    ]
    notes.append(_of_prices(model))
    notes += [f"not simulated: {note}" for note in not_acted_on(model)]
    return setting, tuple(notes)


def _file(asked: Called) -> Path:
    assert asked.trace is not None, "checked before"
    return asked.trace


def _served(question: Question) -> list[str]:
    return [name for name, share in question.shares.items() if share > 0]


def _latency_ms(model: Model, question: Question) -> float:
    """Within what answers should come: the target, or what such work takes at the least."""
    bound = model.targets.latency.p95_ms or LATENCY_MS
    unmeasured = any(question.measured(name) is None for name in _served(question))
    return max(bound, UNHINDERED * (USUAL.cpu_ms + USUAL.wait_ms)) if unmeasured else bound


def _behaviours(here: Here, question: Question, start_s: float | None) -> tuple[Mapping[str, Behaviour], list[str]]:
    """What programs are like, service by service, and how that is known."""
    model = question.model
    measured_s = _measured_starts(here) if start_s is None else {}
    told, found = [], {}
    write_ratio = WRITE_RATIO if model.data is not None else 0.0
    for name, service in model.services.items():
        seen, portion = question.measured(name), question.portions.get(name)
        cpu_ms, wait_ms = costs_of(seen, service.instance) if seen is not None else (USUAL.cpu_ms, USUAL.wait_ms)
        begins_s = start_s or measured_s.get(name, measured_s.get(service.base, START_S))
        found[name] = Behaviour(
            cpu_ms=cpu_ms, wait_ms=wait_ms, start_s=begins_s, start_spread_ratio=0.0, write_ratio=write_ratio
        )
        if question.shares.get(name, 0.0) > 0:
            what = f"a request takes {cpu_ms:.3g} ms of processor and waits {wait_ms:.3g} ms"
            of = (
                "as measured"
                if seen is not None
                else f"NOT measured ({USUAL.name} work is assumed: `tenfold measure` finds it out)"
            )
            part = part_words(portion, service.base)
            told.append(f"{name}: {part}" if service.tier else f"{name}: {what}, {of}{part and f'; {part}'}")
        elif portion is not None and portion.ratio is None:
            told.append(f"{name}: {portion.why}, so it keeps its least and the pool of all gets all requests")
        elif service.runs_always:
            told.append(f"{name}: nobody asks it for anything here, so it keeps its least")
    how = (
        "as asked"
        if start_s
        else "as measured"
        if measured_s
        else "NOT measured (typical for a container; say it with --start-time)"
    )
    told.append(f"a start takes {', '.join(sorted({told_s(b.start_s) for b in found.values()}))}, {how}")
    return found, told


def _measured_starts(here: Here) -> dict[str, float]:
    """What starts took of late, by service, as the journal knows it; nothing without one."""
    journal = here.project().journal
    if not journal.exists():
        return {}
    try:
        with JournalReader(journal) as reader:
            tick = reader.latest()
    except JournalError:
        return {}
    works = tick.snapshot.works.values() if tick is not None else ()
    return {work.service: max(work.start_s, 0.1) for work in works if work.start_s is not None}


def _residents(question: Question) -> dict[str, float]:
    """Which share of each region's demand is bound to a residency, as `World` takes it."""
    found: dict[str, float] = {}
    for region, bound in spread(question, 1.0).items():
        whole = sum(bound.values())
        found |= {f"{region}|{name}": part / whole for name, part in bound.items() if name and whole > 0 and part > 0}
    return found if question.model.is_spread else {}


def _scarce(model: Model, demand: Demand, holds: Mapping[str, float]) -> list[str]:
    """Pools whose blueprint does not allow what their busiest minute needs."""
    told = []
    for key, minutes in demand.by_pool.items():
        name = key.partition("@")[0]
        most = max(minutes.rate(float(at_s)) for at_s in range(0, int(demand.seconds), 60))
        needed, allowed = -(-most // holds[name]), model.services[name].scaling.instances_max
        if needed > allowed:
            told.append(
                f"{key} needs {needed:.0f} instances at its busiest, and the blueprint allows {allowed}: no policy can help that"
            )
    return told


def _of_policies(model: Model, names: tuple[str, ...]) -> list[str]:
    without = [n for n, s in model.services.items() if s.runs_always and s.http and s.scaling.forecast is None]
    if OURS not in names or not without:
        return []
    how = "as `scaling: {forecast: {}}` would switch it on"
    return [f"the blueprint asks for no forecast for {', '.join(without)}: {OURS} is played with one, {how}"]


def _without_posted(model: Model) -> tuple[Model, list[str]]:
    """The blueprint without triggers on what the app posts: nobody posts here, and what is missing would mean hold, for ever."""
    services, told = {}, []
    for name, service in model.services.items():
        posted = [trigger.metric for trigger in service.scaling.triggers if trigger.is_posted]
        kept = tuple(trigger for trigger in service.scaling.triggers if not trigger.is_posted)
        services[name] = service
        if posted:
            services[name] = replace(service, scaling=replace(service.scaling, triggers=kept or Scaling().triggers))
            instead = "" if kept else ", and the usual ones stand in"
            told.append(
                f"{name}: what the app posts is not simulated: its trigger {', '.join(posted)} is left out{instead}"
            )
    return replace(model, services=services), told


def _of_kpa(setting: Setting, names: tuple[str, ...]) -> list[str]:
    """Services of which 70% of what one instance holds are fewer requests at hand than 70% of its concurrency."""
    told, services = [], setting.model.services
    for name in dict.fromkeys(services[key.partition("@")[0]].base for key in setting.rates) if "kpa" in names else ():
        most, aim = services[name].instance.concurrency, setting.at_hand(services[name], TARGET_RATIO)
        if aim < TARGET_RATIO * most:
            told.append(
                f"kpa aims at the {aim:.3g} requests at hand that an instance of {name} has at 70% of what it holds; "
                f"by 70% of instance.concurrency, {most}, it would come too late"
            )
    return told


def _of_prices(model: Model) -> str:
    prices = model.prices
    source = f", {prices.source}, as of {prices.as_of}" if prices.as_of else ", as the blueprint says"
    core, gib = prices.core_hour.amount, prices.gib_hour.amount
    return f"prices: {core} {prices.currency} a core and hour, {gib} a GiB and hour{source}; of instances alone"
