"""Service levels, alerts and money as `status` shows them: a line each. Stage: journal -> a person, or JSON for a program."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from rich.text import Text

from tenfold.cli.tables import ago
from tenfold.deciders.alerts import firing
from tenfold.deciders.signs import CRITICAL
from tenfold.estimators.spend import prices_text
from tenfold.facts import ObjectiveSeen, SpendSeen
from tenfold.loop import Tick
from tenfold.model import Model
from tenfold.proof.words import budget_left, percent

BUDGET_LOW_RATIO = 0.25
"""An error budget with less than this left is shown as low."""


def lines(model: Model, tick: Tick) -> Iterable[Text]:
    """What fires, how the objectives stand, and what it costs; nothing of what is not there."""
    for key, alert in firing(tick.memory.alerts.alerts).items():
        colour = "bold red" if alert.severity == CRITICAL else "yellow"
        answers = f"  answered by {', '.join(alert.answered_by)}" if alert.answered_by else ""
        since = ago(tick.at - (alert.since or tick.at))
        if alert.blind_since is not None:
            answers = f"; nothing tells of it for {ago(tick.at - alert.blind_since)}{answers}"
        yield Text.assemble((f"{alert.severity}  ", colour), alert.text, (f"  {key}, for {since}{answers}", "dim"))
    if tick.snapshot.objectives:
        yield Text.assemble(("error budget  ", "dim"), *_objectives(tick.snapshot.objectives.values()))
    spend = tick.snapshot.spend.get("month")
    if spend is not None and model.budget is not None:
        age = prices_text(spend.prices_as_of, datetime.fromtimestamp(tick.at, UTC).date())
        told = f"; the budget is {model.budget.monthly}"
        yield Text.assemble(("cost  ", "dim"), cost_text(spend), told, (f"; {age}" if age else "", "dim"))


def _objectives(objectives: Iterable[ObjectiveSeen]) -> Iterable[Text]:
    for number, seen in enumerate(objectives):
        left = seen.budget_left_ratio
        colour = "red" if left <= 0 else "yellow" if left < BUDGET_LOW_RATIO else "green"
        yield Text(" · " if number else "")
        yield Text.assemble(f"{seen.objective} {percent(seen.good_ratio)}: ", (budget_left(left), colour))
        if (burn := seen.burn.get("1h")) is not None:
            yield Text(f", burns {burn:.2g}x over 1h")


def cost_text(spend: SpendSeen) -> str:
    """`0.042 USD an hour, 3.10 so far, 31.20 by the end of the month`."""
    return (
        f"{spend.per_hour:.3f} {spend.currency} an hour, {spend.month_so_far:.2f} so far this month, "
        f"{spend.month_forecast:.2f} by its end"
    )


def as_data(tick: Tick) -> Mapping[str, object]:
    """The same for programs."""
    spend = tick.snapshot.spend.get("month")
    return {
        "alerts": [
            {"key": key, "severity": a.severity, "since": a.since, "text": a.text, "answered_by": list(a.answered_by)}
            for key, a in firing(tick.memory.alerts.alerts).items()
        ],
        "objectives": [
            {
                "name": seen.objective,
                "good_ratio": seen.good_ratio,
                "window_days": seen.window_days,
                "total": seen.total,
                "bad": seen.bad,
                "budget_left_ratio": seen.budget_left_ratio,
                "burn": dict(seen.burn),
                "covered_s": seen.covered_s,
            }
            for seen in tick.snapshot.objectives.values()
        ],
        "cost": None
        if spend is None
        else {
            "currency": spend.currency,
            "per_hour": spend.per_hour,
            "month_so_far": spend.month_so_far,
            "month_forecast": spend.month_forecast,
            "prices_as_of": spend.prices_as_of or None,
        },
    }
