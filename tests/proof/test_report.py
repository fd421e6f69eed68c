"""The report's page: the same for the same figures, safe whatever an app calls itself, readable without a script."""

import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.report import page
from tenfold.proof.report.plot import (
    Curve,
    Frame,
    Limit,
    Panel,
    Span,
    count_axis,
    day_axis,
    draw,
    ms_axis,
    thinned,
    time_axis,
)
from tests.proof.made_up_report import hostile, made_up
from tests.proof.markup import HOSTILE, seen

GOLDEN = Path(__file__).parent / "golden" / "report.html"


def test_the_page_is_the_golden_one() -> None:
    """Fixed figures give the page that was looked at and found good; TENFOLD_GOLDEN=write renews it."""
    text = page(made_up())
    if os.environ.get("TENFOLD_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_page_asks_nobody_for_anything() -> None:
    """There is no script, and no address that a browser would fetch."""
    found = seen(page(made_up()))
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert {value[0] for name, value in found.attributes if name in ("href", "src")} == {"#"}
    assert "url(" not in page(made_up())
    assert "@import" not in page(made_up())


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_an_app_says_stays_text(text: str) -> None:
    """Names, reasons and notes made to break out of the page change none of its tags or attributes."""
    plain, found = seen(page(hostile("harmless"))), seen(page(hostile(text)))
    code = ["code"] if "`" in text else []
    assert [t for t in found.tags if t not in code] == [t for t in plain.tags if t not in code]
    assert [name for name, _ in found.attributes] == [name for name, _ in plain.attributes]


def test_each_drawing_is_sound() -> None:
    """Every SVG is well-formed, tells what it shows in words, and has no number that is none."""
    drawings = re.findall(r"<svg.*?</svg>", page(made_up()), re.DOTALL)
    assert len(drawings) > 12
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.attrib["aria-label"]
        assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', drawing)


def test_a_report_of_nothing_is_a_page_too() -> None:
    """A proof that ended before anything was measured still gives a page."""
    empty = replace(
        made_up(), verdicts=(), spans=(), moments=(), instances=(), regions=(), marks=(), drills=(), took_s=0.0
    )
    assert "0 of 0 targets met" in page(empty)


@given(highest=st.floats(1e-6, 1e12))
def test_an_axis_holds_what_there_is(highest: float) -> None:
    """From 0 to a round number that is not below, with few ticks at even steps."""
    axis = count_axis(highest)
    assert axis.high >= highest * (1 - 1e-9)
    assert axis.high <= highest * 2.6
    assert 2 <= len(axis.ticks) <= 7
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)


@given(low=st.floats(1e-3, 1e6), times=st.floats(1, 1e6))
def test_a_logarithmic_axis_holds_what_there_is(low: float, times: float) -> None:
    """Its ends lie around the values, and its labels are as many as can be read."""
    axis = ms_axis(low, low * times)
    assert axis.low <= low * (1 + 1e-9)
    assert axis.high >= min(low * times, 5e8) * (1 - 1e-9)
    assert 2 <= len(axis.ticks) <= 12
    assert 0 <= axis.place(low) <= axis.place(low * times) <= 1


@given(span_s=st.floats(0, 400 * 86400))
def test_time_has_ticks_that_people_count_in(span_s: float) -> None:
    """However long a proof took, its time is labelled a few times, each label once."""
    axis = time_axis(0.0, span_s)
    assert 1 <= len(axis.ticks) <= 9
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)


@pytest.fixture(scope="module")
def berlin() -> Iterator[None]:
    """The local time of a place whose clocks change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def labels(start: str, span_s: float) -> list[str]:
    started_at = time.mktime(time.strptime(start, "%Y-%m-%d %H:%M"))
    return [label for _, label in day_axis(0.0, span_s, started_at, 5).ticks]


def test_days_are_told_by_the_local_clock(berlin: None) -> None:
    """Ticks are at round hours, midnights are dates, and the days on which the clocks change are no exception."""
    assert labels("2026-11-28 14:10", 86400) == ["18:00", "29 Nov", "06:00", "12:00"]
    assert labels("2026-10-24 12:00", 4 * 86400) == ["25 Oct", "26 Oct", "27 Oct", "28 Oct"]
    assert labels("2026-03-29 00:00", 5 * 3600) == ["29 Mar", "01:00", "03:00", "04:00", "05:00", "06:00"]


@given(started_at=st.floats(1.7e9, 1.9e9), span_s=st.floats(0, 400 * 86400))
def test_a_period_has_ticks_within_it(berlin: None, started_at: float, span_s: float) -> None:
    """Whenever it began and however long it was, ticks lie in the order of time within it, and not too many to be read."""
    axis = day_axis(0.0, span_s, started_at)
    moments = [at for at, _ in axis.ticks]
    assert moments == sorted(set(moments))
    assert all(0 <= at <= axis.high for at in moments)
    assert len(moments) <= 10
    assert moments or span_s < 2


@given(
    values=st.lists(st.none() | st.floats(0, 1e9), max_size=400),
    places=st.integers(1, 100),
)
def test_thinning_loses_no_peak(values: list[float | None], places: int) -> None:
    """However few places there are, the highest value is still among the points."""
    points = [(float(i), value) for i, value in enumerate(values)]
    thin = list(thinned(points, places))
    assert len(thin) <= max(places, 0) or not points
    measured = [v for v in values if v is not None]
    assert max((v for _, v in thin if v is not None), default=None) == max(measured, default=None)


@given(
    values=st.lists(st.none() | st.floats(-1e15, 1e15) | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=60),
    unit=st.sampled_from(["ms", "per second"]),
    limit=st.none() | st.floats(0.001, 1e6),
    is_step=st.booleans(),
    width=st.sampled_from([400, 980]),
)
def test_any_values_can_be_drawn(
    values: list[float | None], unit: str, limit: float | None, is_step: bool, width: int
) -> None:
    """Gaps, zeros, what is no number and what is endless: the drawing stays well-formed and within its frame."""
    points = tuple((float(i), value) for i, value in enumerate(values))
    panel = Panel("any", unit, (Curve("a", 1, points, is_step, True),), Limit(limit, "no more") if limit else None)
    text = draw(panel, Frame(width, 180, 0.0, 60.0, (Span("s", "load", 0.0, 60.0),), (3.0,)), "wide")
    ElementTree.fromstring(text)
    for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", text):
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= 180
    assert "nan" not in re.sub(r"<title>.*?</title>", "", text)
