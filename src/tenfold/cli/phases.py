"""What `tenfold plan --users` prints: phase by phase, what it takes, what it costs, what breaks first and when. Stage: outlook ->
person."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.cli.fragment import fragment
from tenfold.cli.tables import table
from tenfold.cli.users import part_words
from tenfold.estimators.advice import Advice
from tenfold.estimators.allocation import WORKS
from tenfold.estimators.growth import Pace
from tenfold.estimators.limits import Limit
from tenfold.estimators.phases import Outlook, Phase
from tenfold.estimators.spend import prices_text
from tenfold.estimators.users import HEADROOM_RATIO, Need
from tenfold.model import Model

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Told:
    """All that is told: the outlook, from which users on (`basis` says how these are known) they grow at which pace, and what could cost
    less."""

    model: Model
    outlook: Outlook
    notes: tuple[str, ...]
    advice: tuple[Advice, ...]
    today: date
    is_chosen: bool = False
    pace: Pace | None = None
    users_today: float = 0.0
    basis: str = ""

    def when(self, users: float) -> date | None:
        """The day on which so many users will be there; today's for those who are there already, None where nothing tells it."""
        days = self.pace.days_until(self.users_today, users) if self.pace is not None else None
        return self.today + timedelta(days=days) if days is not None else None

    @property
    def prices(self) -> str:
        """What the costs rest on."""
        prices = self.model.prices
        if not prices.as_of:
            return "prices of the blueprint"
        return f"{prices_text(prices.as_of, self.today)} ({prices.source})"


def as_data(told: Told) -> dict[str, object]:
    """For programs."""
    outlook, prices = told.outlook, told.model.prices
    return {
        "users": outlook.users,
        "scenario": outlook.scenario,
        "work": outlook.work,
        "needs": [asdict(need) for need in outlook.asked.needs],
        "phases": [_phase_data(told, phase) for phase in outlook.phases],
        "limits": [_limit_data(told, limit) for limit in outlook.limits],
        "breaks": [_limit_data(told, limit) for limit in outlook.breaks],
        "unknown": list(outlook.unknown),
        "notes": list(told.notes),
        "allocation": {
            "services": [asdict(each) for each in outlook.allotments],
            "fragment": fragment(told.model, outlook),
        },
        "advice": [{**asdict(each), "text": each.text} for each in told.advice],
        "today": told.today.isoformat(),
        "growth": {**asdict(told.pace), "users_today": told.users_today, "basis": told.basis} if told.pace else None,
        "prices": {
            "currency": prices.currency,
            "as_of": prices.as_of or None,
            "source": prices.source or None,
            "text": told.prices,
        },
    }


def _phase_data(told: Told, phase: Phase) -> dict[str, object]:
    after = phase.next_break
    return {
        **asdict(phase),
        "instances": phase.instances,
        "regions": list(told.model.regions),
        "cost": {**asdict(phase.cost), "monthly": phase.cost.monthly},
        "breaks": [_limit_data(told, limit) for limit in phase.breaks],
        "next_break": _limit_data(told, after) if after is not None else None,
        "reached": _day(told.when(phase.users)),
    }


def _limit_data(told: Told, limit: Limit) -> dict[str, object]:
    return {**asdict(limit), "when": _day(told.when(limit.users))}


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


# --- for people ---------------------------------------------------------------------------------------------------------


def tell(told: Told) -> None:
    """Print it."""
    outlook = told.outlook
    click.echo(
        f"{outlook.users:,} users under the scenario {outlook.scenario} ask for {_rps(outlook.asked.requests_per_s)} requests/s"
    )
    if outlook.work is not None:
        work = WORKS[outlook.work]
        click.echo(
            f"{'all' if told.is_chosen else 'what was not measured'} is taken for {work.name} work: {work.why}; "
            f"{work.cpu_ms:g} ms of CPU and {work.wait_ms:g} ms of waiting a request{'' if told.is_chosen else ' (--work says otherwise)'}"
        )
    if outlook.limits:
        first = outlook.limits[0]
        is_passed = first.users < outlook.users
        verb = "breaks first" if is_passed else "would break first"
        click.secho(f"{verb}, {_at(told, first)}: {first.what}", fg="red" if is_passed else None)
    if told.pace is not None:
        click.echo(f"counted from {told.users_today:,.0f} users today, {told.basis}")
    for phase in outlook.phases:
        _tell_phase(told, phase)
    for sentence in (*(f"not known: {what}" for what in outlook.unknown), *(f"note: {note}" for note in told.notes)):
        click.secho(sentence, dim=True)
    click.secho(
        f"note: costs are those of the busiest hour all month, by {told.prices}; traffic, disks and the edge are not in them",
        dim=True,
    )
    tell_advice(told.advice)
    piece = fragment(told.model, outlook)
    click.echo(f"\nto paste into the blueprint:\n\n{piece}" if piece else "", nl=False)


def tell_advice(advice: Sequence[Advice]) -> None:
    """What could cost less, by what ran in the last days; nothing without any."""
    if advice:
        click.secho("\nwhat could cost less, each for itself", bold=True)
        for each in advice:
            click.echo(f"  {each.text}")


def _tell_phase(told: Told, phase: Phase) -> None:
    reached = told.when(phase.users)
    when = f", reached about {reached}" if reached is not None and phase.users > told.users_today else ""
    asked = " (what you asked about)" if phase.is_asked else " (what comes next)" if phase.is_next else ""
    click.secho(f"\nup to {phase.users:,} users{when}{asked}", bold=True)
    for line in _needs(told, phase):
        click.echo(f"  {line}")
    for name, text in _rows(told, phase):
        click.echo(f"  {click.style(f'{name:13}', dim=True)}{text}")
    for line, colour in _breaks(told, phase):
        click.secho(f"  {line}", fg=colour)
    if phase.is_asked and phase.requests_per_s > 0:
        _tell_ways(phase)


def _needs(told: Told, phase: Phase) -> Iterator[str]:
    for need in phase.needs:
        count = "1 instance" if need.instances == 1 else f"{need.instances:,} instances"
        if not need.is_asked:
            yield f"{need.service}@{need.region}  {count}, as the blueprint says: {_why_standing(need)}"
            continue
        is_over = need.instances > need.instances_max
        of = f", but {need.instances_max} are allowed" if is_over else f", of at most {need.instances_max}"
        part = part_words(need.portion, told.model.services[need.service].base)
        yield f"{need.service}@{need.region}  {count}{of}: {_rps(need.requests_per_s)} requests/s{part and f' ({part})'}, {_basis(need)}"


def _why_standing(need: Need) -> str:
    if need.untold:
        return need.untold
    if need.portion is not None and need.portion.ratio == 0:
        return f"no request comes to it, {need.portion.why}"
    return "the scenario asks nothing of it"


def _basis(need: Need) -> str:
    most = f"at most {HEADROOM_RATIO:.0%} of the {need.each_rps:,.4g} that one"
    if need.measured is not None:
        return f"{most} was measured to hold within {need.measured.latency_ms:g} ms"
    return f"{most} should hold of {need.work} work (not measured; by its {need.limited_by})"


def _rows(told: Told, phase: Phase) -> Iterator[tuple[str, str]]:
    have = len(told.model.regions)
    more = f"; {phase.regions_min} are advised: {phase.regions_why}" if phase.regions_min > have else ""
    yield "regions", f"{have}: {', '.join(told.model.regions)}{more}"
    if (database := phase.database) is not None:
        kind = f"{database.cores} core{'s' if database.cores > 1 else ''} and {_bytes(database.memory_bytes)}"
        count = f"{database.machines} machines, each of {kind}" if database.machines > 1 else kind
        yield "database", f"{count}; statements keep {database.needed_cores:,.1f} cores busy"
        yield from (("", why) for why in database.why)
    if told.model.data is not None:
        count = f"{phase.connections:,}" if phase.connections is not None else "not known"
        allowed = (
            f", of {database.connections_max:,} that such a database usually allows" if database is not None else ""
        )
        yield "connections", f"{count}{allowed}"
        yield "cache", _bytes(phase.cache_bytes)
    yield "memory", f"{_bytes(phase.memory_bytes)} in all"
    yield "a month", _cost(told, phase)
    if not phase.is_asked and phase.requests_per_s > 0:
        ways = (f"{way.name} {way.instances:,} ({way.monthly:,.0f} {phase.cost.currency})" for way in phase.ways)
        yield "ways", ", ".join(ways)


def _cost(told: Told, phase: Phase) -> str:
    cost = phase.cost
    tiers = " and ".join(f"{amount:,.2f} for {tier}" for tier, amount in cost.tiers.items())
    instances = f"instances {cost.instances:,.2f}{tiers and f' with {tiers}'}"
    parts = [(instances, cost.instances), (f"database {cost.database:,.2f}", cost.database)]
    of = ", ".join(words for words, amount in [*parts, (f"cache {cost.cache:,.2f}", cost.cache)] if amount > 0)
    budget = told.model.budget
    share = (
        f"; {cost.budget_ratio:,.0%} of the budget of {budget.monthly}"
        if budget and cost.budget_ratio is not None
        else ""
    )
    if budget is not None and cost.budget_ratio is None:
        share = f"; the budget of {budget.monthly} can't be compared: nothing is converted"
    return f"{cost.monthly:,.2f} {cost.currency} ({of}){share}"


def _rps(per_s: float) -> str:
    """`0.42`, `52.3`, `1,672`."""
    return f"{per_s:,.0f}" if per_s >= 99.95 else f"{per_s:.3g}"


def _bytes(count: int) -> str:
    gib = count / GIB
    return f"{gib:,.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB" if gib >= 1 else f"{count / MIB:,.0f} MiB"


def _breaks(told: Told, phase: Phase) -> Iterator[tuple[str, str | None]]:
    if phase.breaks:
        first, *others = phase.breaks
        verb = "would break first" if phase.is_next else "breaks first"
        yield f"{verb}, {_at(told, first)}: {first.what}", None if phase.is_next else "red"
        yield from ((f"then, {_at(told, limit)}: {limit.what}", None) for limit in others)
    else:
        yield "nothing more that is known breaks on the way here", None


def _at(told: Told, limit: Limit) -> str:
    """`at 3,524 users, about 2027-03-01`; `from the first user on` of what does not do even for one."""
    if limit.users < 1:
        return "from the first user on"
    day = told.when(limit.users)
    is_now = told.pace is not None and limit.users <= told.users_today
    when = ", which is now" if is_now else f", about {day}" if day is not None else ""
    when = when if told.pace is None or when else ", not within ten years"
    return f"at {limit.users:,.0f} users{when}"


def _tell_ways(phase: Phase) -> None:
    """Horizontal and vertical side by side."""
    shown: Table = table("way", "instances", "a month", "risk", right=("instances", "a month"))
    shown.columns[-1].no_wrap = False
    for way in phase.ways:
        shown.add_row(way.name, f"{way.instances:,}", f"{way.monthly:,.2f} {phase.cost.currency}", Text(way.risk))
    Console(highlight=False).print(shown)
