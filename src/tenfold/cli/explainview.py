"""What `explain --replay` says of a decision: whether it comes out equal when it is decided again, all that it saw and remembered, and what
would have been without one thing or another. Stage: journal -> a person, or JSON for a program.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from tenfold.cli.feed import clock_time
from tenfold.cli.here import Fail
from tenfold.console.decisions import about, expected, mattered
from tenfold.deciders import decide
from tenfold.deciders.memory import Memory
from tenfold.effects import Decision
from tenfold.facts import ForecastSeen, InstanceSeen, MetricSeen
from tenfold.facts.seen import Fact
from tenfold.loop import (
    Again,
    Counterfactual,
    Course,
    DecisionRow,
    EndedBy,
    JournalError,
    JournalReader,
    Tick,
    counterfactual,
    decide_again,
)
from tenfold.proof.words import seconds

RATIOS = ("cpu", "memory", "capacity")
"""Triggers whose bounds are shares of an instance."""
ENDS = {
    EndedBy.NEXT: "when what the next change asked for could serve",
    EndedBy.HOUR: "an hour",
    EndedBy.GONE: "when another release served, or the project went down",
    EndedBy.JOURNAL: "as far as the journal reaches",
}
HOUR_S = 3600.0
TIMES = ("_at", "since")
"""How the names of moments end; one that is 0 never was."""
NUMBERS = ("pid", "port")
"""Numbers that count nothing."""
LISTED_MAX = 4
"""Of a map or a list, more than so many are only counted: --json has them all."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision of the journal, its tick decided again, and what would have been (None: it chose no number)."""

    row: DecisionRow
    again: Again
    what_if: Counterfactual | None


def replayed(reader: JournalReader, row: DecisionRow) -> Replayed:
    """Decide the tick of `row` again, by this program. Raises `Fail` when the journal does not have what it takes any more."""
    try:
        # An hour of twenty pools takes some seconds to read.
        with Console(stderr=True).status(f"deciding {row.decision.id} again"):
            again = decide_again(reader, row.tick, decide)
            chosen = row.decision.subject if row.decision.by == "scale" else ""
            return Replayed(row, again, counterfactual(reader, again, chosen, decide) if chosen else None)
    except JournalError as error:
        raise Fail(f"{row.decision.id} can't be decided again: {error}") from None


def as_data(made: Replayed) -> Mapping[str, Any]:
    """All of it, for programs."""
    tick, subject = made.again.tick, made.row.decision.subject
    return {
        "equal": made.again.is_equal,
        "differences": list(made.again.differences),
        "saw": [
            {"fact": type(fact).__name__, "age_s": _age_s(tick, fact), **msgspec.to_builtins(fact)}
            for fact in about(tick.snapshot, subject)
        ],
        "remembered": {name: msgspec.to_builtins(kept) for name, kept in remembered(tick.memory_before, subject)},
        "clamps": list(made.row.decision.clamps),
        "confidence_ratio": made.row.decision.confidence_ratio,
        "counterfactual": _what_if_data(made.what_if) if made.what_if is not None else None,
    }


def _what_if_data(found: Counterfactual) -> Mapping[str, Any]:
    def course(of: Course) -> Mapping[str, Any]:
        return {**asdict(of), "cost": round(of.paid_s / HOUR_S * float(found.per_hour), 6)}

    return {
        "pool": found.pool,
        "since": found.since,
        "until": found.until,
        "ended_by": found.ended_by.value,
        "unseen_s": round(found.unseen_s, 3),
        "start_s": found.start_s,
        "currency": found.currency,
        "as_decided": course(found.decided),
        "without": {other.without: course(other.course) for other in found.others},
        "no_difference_without": list(found.indifferent),
    }


def tell(made: Replayed, console: Console) -> None:
    """Say it to a person, below what `explain` says of every decision."""
    row, again, tick = made.row, made.again, made.again.tick
    console.print()
    if again.is_equal:
        console.print("decided again from the journal: equal, to the last digit", style="green")
    else:
        console.print("decided again from the journal: it comes out otherwise", style="bold red")
        for each in again.differences:
            console.print(Text(f"  {each}"))
    parts = {
        f"all that was seen about {row.decision.subject}": [*_seen(tick, row.decision.subject)],
        "it remembered": [*_remembered(tick, row.decision.subject)],
        "what would have been": [*what_if_lines(made.what_if)] if made.what_if is not None else [],
    }
    for heading, lines in parts.items():
        if lines:
            console.print(f"\n{heading}")
        for line in lines:
            console.print(Text(f"  {line}"))


def bounds(decision: Decision) -> Mapping[str, Sequence[str]]:
    """What each bound made of what was needed, and how sure it was of that, by heading; nothing where there is nothing to say."""
    made: dict[str, Sequence[str]] = {"what each bound made of it": decision.clamps} if decision.clamps else {}
    if decision.confidence_ratio < 1:
        made["how sure it was"] = (f"{decision.confidence_ratio * 100:.3g}% that it is needed (100% is what was seen)",)
    return made


# --- what it saw ------------------------------------------------------------------------------------------------------


def _seen(tick: Tick, subject: str) -> Iterator[str]:
    """A line for each fact, instances of a pool together."""
    facts = about(tick.snapshot, subject)
    instances = [fact for fact in facts if isinstance(fact, InstanceSeen)]
    are_many = len(instances) > 1
    if are_many:
        states = Counter("frozen" if fact.frozen else str(fact.state) for fact in instances)
        text = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        yield f"instances: {text}{_ago(tick, min(instances, key=lambda fact: fact.seen_at))}"
    for fact in facts:
        if not (are_many and isinstance(fact, InstanceSeen)):
            yield f"{_said(tick, fact, subject)}{_ago(tick, fact)}"


def _said(tick: Tick, fact: Fact, subject: str) -> str:
    if isinstance(fact, ForecastSeen):
        rests = f", from {seconds(fact.history_s)} of history" if fact.history_s else ""
        basis = f" ({fact.basis}{rests})" if fact.basis else ""
        return f"forecast of {fact.key}: {expected(fact, mattered(fact, tick.snapshot, subject))}{basis}"
    if isinstance(fact, MetricSeen):
        return f"{fact.name}: {fact.value:.4g}"
    name = f"{type(fact).__name__.removesuffix('Seen').lower()} {fact.key}"
    figures = ", ".join(_figures(msgspec.to_builtins(fact), skip=fact.key))
    return f"{name}: {figures}" if figures else name


def _age_s(tick: Tick, fact: Fact) -> float:
    return round(tick.at - fact.seen_at, 3)


def _ago(tick: Tick, fact: Fact) -> str:
    age_s = _age_s(tick, fact)
    return f"  ({age_s:.1f} s old)" if age_s < 10 else f"  ({seconds(age_s)} old)"


def _figures(plain: Mapping[str, Any], skip: str = "") -> Iterator[str]:
    """What is known of something, as words: without what is empty or never was, and what its name says already. A zero is a figure."""
    said = ("seen_at", *_parts(skip))
    for name, value in plain.items():
        is_empty = value is False or value in (None, "", (), [], {})
        never_was = value == 0 and name.endswith(TIMES)
        if not (is_empty or never_was or name in said or str(value) in said):
            yield f"{name.replace('_', ' ')} {_figure(name, value)}"


def _parts(key: str) -> set[str]:
    return {key, *key.replace("@", "/").split("/")}


def _figure(name: str, value: Any) -> str:
    if isinstance(value, dict):
        shown = ", ".join(f"{key}: {_figure(name, each)}" for key, each in value.items())
        return f"{len(value)} of them" if len(value) > LISTED_MAX else shown
    if isinstance(value, list | tuple):
        return f"{len(value)} of them" if len(value) > LISTED_MAX else ", ".join(_figure(name, each) for each in value)
    if isinstance(value, bool) or name in NUMBERS or not isinstance(value, int | float):
        return "yes" if value is True else str(value)
    if value > 1e9 and name.endswith(TIMES):
        return clock_time(value)
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


# --- what it remembered -----------------------------------------------------------------------------------------------


def remembered(memory: Memory, subject: str) -> Iterable[tuple[str, Any]]:
    """What was remembered about `subject`, by where it lies in the memory."""
    kind, _, key = subject.partition("/")
    places: dict[str, tuple[Mapping[str, Any], str]] = {
        "scale": (memory.scale.pools, subject),
        "member": (memory.heal.members, key),
        "engine": (memory.heal.engines, key),
        "store": (memory.stores, key.partition("/")[0] if kind == "engine" else ""),
        "region": (memory.regions.regions, key if kind == "region" else ""),
        "alert": (memory.alerts.alerts, key),
        "next due": (memory.schedule.next_at, subject),
    }
    for name, (place, at) in places.items():
        if at in place:
            yield name, place[at]
    for line, failures in memory.heal.failures.items():
        if line.startswith(f"{subject}/"):
            yield f"failures of {line}", failures
    if subject in memory.scale.pools and memory.scale.spend is not None:
        yield "the month's cost", memory.scale.spend
    if kind in ("release", "releases") and memory.release.operation is not None:
        yield "operation", memory.release.operation
    if subject == "routes/entry":
        yield "ways", memory.regions.ways


def _remembered(tick: Tick, subject: str) -> Iterator[str]:
    for name, kept in remembered(tick.memory_before, subject):
        plain = msgspec.to_builtins(kept)
        yield f"{name}: {', '.join(_figures(plain)) if isinstance(plain, dict) else _figure('at', plain)}"


# --- what would have been ---------------------------------------------------------------------------------------------


def what_if_lines(found: Counterfactual) -> Iterator[str]:
    """What followed and what would have, a line each: `without the forecast: 3 instances, and 41 s above target`."""
    yield f"as decided: {_course(found, found.decided)}"
    for other in found.others:
        yield f"without {other.without}: {_course(found, other.course)}{_money(found, other.course)}"
    if found.indifferent:
        yield f"without {_listed(found.indifferent)}: the same"
    if found.decided.seen_s == 0:
        yield "nothing was seen after it yet: what would have followed can't be told"
        return
    end = f"{clock_time(found.until)}, {ENDS[found.ended_by]}"
    yield f"reckoned from what was seen until {end}; an instance more serves after {found.start_s:.3g} s"
    if found.unseen_s > 0:
        yield f"for {seconds(found.unseen_s)} of that time nobody saw what the pool did: nothing is told of it"


def _course(found: Counterfactual, course: Course) -> str:
    text = "1 instance" if course.wanted == 1 else f"{course.wanted} instances"
    if course.last != course.wanted:
        text += f" at first, {course.last} at the end"
    if not found.has_measure:
        return f"{text} (it has no trigger that tells how much so many hold)"
    if course.seen_s == 0:
        return text
    if course.above_s == 0:
        return f"{text}, and never above target"
    bound = f"{course.bound:.0%}" if course.metric in RATIOS else f"{course.bound:g}"
    return f"{text}, and {seconds(course.above_s)} above target ({course.metric} {bound} per instance)"


def _money(found: Counterfactual, course: Course) -> str:
    """What it would have cost more or less than what was decided."""
    amount = (course.paid_s - found.decided.paid_s) / HOUR_S * float(found.per_hour)
    return f"; {abs(amount):.2g} {found.currency} {'more' if amount > 0 else 'less'}" if amount else ""


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
