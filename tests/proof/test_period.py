"""The page of a period: the same parts as a proof's page, whatever happened, and safe whatever an app calls itself."""

from dataclasses import replace

import pytest

from tenfold.proof.period.facts import AlertTold, Event, PeriodReport, PoolReport, TargetTold
from tenfold.proof.period.page import page
from tenfold.proof.period.words import pool_text
from tests.proof.markup import HOSTILE, seen

START = 1_790_000_030.0
QUIET = PeriodReport(
    name="shop",
    environment="production",
    start=START,
    end=START + 3600,
    is_live=True,
    seen_s=0.0,
    requests=0,
    failed=0,
    peak_rps=None,
    users=None,
    mean_ms=None,
    p95_ms=None,
    within=None,
    database_ms=None,
    failing_minutes=0,
)


def busy(word: str = "web-1 ended") -> PeriodReport:
    """An hour with something of everything, in which `word` is said wherever a name or a reason can be."""
    return replace(
        QUIET,
        name=word,
        requests=36_000,
        failed=1,
        within=(500.0, 36_000, 30),
        pools=(PoolReport(word, 4, 3.0, 2.1, 5, 0.4, 0.3, 0.5, 0.02),),
        failures=(Event(START + 900, "d2", word, 4.2),),
        scalings=(Event(START + 300, "d1", word), Event(START + 1800, "d3", word)),
        alerts=(
            AlertTold("latency", "warning", START + 600, word, START + 1200, (word,)),
            AlertTold("availability", "critical", START + 3000, word),
        ),
        targets=(TargetTold("recovery", "10 s", "4.2 s at most", True, word),),
        advice=(word,),
        rates=(*[10.0] * 20, None, None, *[12.0] * 38),
        percentiles=(*[120.0] * 20, None, None, *[640.0] * 38),
    )


def test_each_pin_leads_to_its_words() -> None:
    """Alerts and events are numbered in the order of time, whatever list tells them, and each number has one place."""
    found = seen(page(busy()))
    pins = [value for name, value in found.attributes if name == "href"]
    places = [value for name, value in found.attributes if name == "id"]
    assert sorted({pin[1:] for pin in pins}) == sorted(places) == [f"why-{n}" for n in range(1, 6)]
    assert page(busy()).index('id="why-2"') < page(busy()).index('id="why-1"')


def test_an_alert_is_a_stretch_of_time() -> None:
    """One that ended lies behind the plots for as long as it fired, one that still fires up to the end."""
    text = page(busy())
    assert text.count("<title>critical: web-1 ended</title>") == 4
    assert "warning: web-1 ended, " in text
    assert "an alert fired" in text
    assert "an alert fired" not in page(replace(busy(), alerts=()))


def test_what_was_not_seen_is_a_gap() -> None:
    """The line of each plot begins anew after minutes that nobody saw."""
    lines = page(busy()).split('<path class="l l4" d="')[1].partition('"')[0]
    assert lines.count("M") == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_an_app_says_stays_text(text: str) -> None:
    """Names, reasons and advice made to break out of the page change none of its tags or attributes."""
    plain, found = seen(page(busy("harmless"))), seen(page(busy(text)))
    code = ["code"] if "`" in text else []
    assert [t for t in found.tags if t not in code] == [t for t in plain.tags if t not in code]
    assert [name for name, _ in found.attributes] == [name for name, _ in plain.attributes]


def test_an_hour_of_nothing_is_a_page_too() -> None:
    """Without traffic, events or targets nothing is drawn, and the page says so much."""
    text = page(QUIET)
    assert "svg" not in seen(text).tags
    assert "nothing that these figures tell of" in text


def test_almost_all_is_not_all() -> None:
    """One failure of many requests does not read as all of them succeeding."""
    text = page(replace(busy(), requests=50_000_000))
    assert "100% of the requests succeeded" not in text
    assert "99.999998% of the requests succeeded; 1 failed" in text


def test_cold_starts_are_told_where_there_were_any() -> None:
    """How often a service was woken by requests and how long these waited; nothing of one that never slept."""
    slept = PoolReport("web@local", 4, 1.0, 0.3, 0, None, None, None, 0.02, 3, 4200.0)
    assert pool_text(slept).endswith("3 cold starts, for which requests waited 4.2 s at the most")
    assert "cold start" not in pool_text(replace(slept, cold_starts=0))
