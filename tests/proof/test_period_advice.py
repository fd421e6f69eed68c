"""What a report says of money: the budget, currencies that differ, what would cost less, how old the prices are."""

from dataclasses import replace
from decimal import Decimal

from tenfold.estimators.advice import Advice
from tenfold.facts import SpendSeen
from tenfold.model import Budget, Model, Money, Region, Service
from tenfold.proof.period.advice import SAVINGS_MAX, advise
from tenfold.proof.period.words import figures
from tests.proof.test_period import QUIET

MODEL = Model(
    "shop", {"web": Service("web", "x")}, {"local": Region("local")}, budget=Budget(Money(Decimal(300), "USD"))
)
SPEND = SpendSeen("USD", 0.5, 100.0, 365.0, QUIET.start, 3600.0, "2026-06-17", QUIET.end)


def about_money(spend: SpendSeen, *savings: Advice) -> list[str]:
    """What is said that names a currency."""
    return [each for each in advise(MODEL, replace(QUIET, spend=spend), savings) if "USD" in each or "EUR" in each]


def test_a_month_that_costs_more_than_its_budget() -> None:
    """The figures, and what to do; one that costs less is not worth a word."""
    [said] = about_money(SPEND)
    assert said.startswith("the month will cost 365.00 USD and 300 USD is its budget: lower")
    assert about_money(replace(SPEND, month_forecast=299.0)) == []


def test_currencies_that_differ_are_told() -> None:
    """Nothing is converted, so nothing is compared, and who reads it knows why."""
    [said] = about_money(replace(SPEND, currency="EUR"))
    assert (
        "costs are in EUR and the budget in USD: nothing is converted" in said and "write budget.prices in USD" in said
    )


def test_what_would_cost_less_comes_with_saving_and_risk() -> None:
    """The dearest few, after what is over the budget."""
    savings = [Advice("web@local", f"change {n}", 10.0 - n, "USD", "slower") for n in range(8)]
    first, *others = about_money(SPEND, *savings)
    assert first.startswith("the month will cost") and len(others) == SAVINGS_MAX
    assert others[0] == "change 0 saves about 10.00 USD a month; the risk: slower"


def test_the_age_of_list_prices() -> None:
    """Counted up to the end of the report; the blueprint's own have none."""
    aged = dict(figures(replace(QUIET, spend=SPEND)))["cost"]
    assert "list prices of 2026-06-17, 96 days old" in aged
    assert "prices" not in dict(figures(replace(QUIET, spend=replace(SPEND, prices_as_of=""))))["cost"]


def test_a_minute_that_is_not_over_yet_is_no_outage() -> None:
    """A report of a project that is up for half a minute blames no control plane; one with minutes that nobody saw does, in minutes."""

    def unseen(span_s: float, seen_s: float) -> list[str]:
        report = replace(QUIET, start=QUIET.end - span_s, seen_s=seen_s)
        return [each for each in advise(MODEL, report) if "no control plane ran" in each]

    assert unseen(36.0, 6.5) == []
    assert unseen(3600.0, 3480.0) == []
    [said] = unseen(3600.0, 1800.0)
    assert said.startswith("nothing was seen for 30 of 60 min")
