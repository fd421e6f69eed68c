"""Scheduled floors as a blueprint writes them, and as they are written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blueprint import load
from tenfold.blueprint.schedules import floor
from tenfold.model import Budget, Floor, Scaling, zones

UNIT = floor("daily 08:00-18:00 min 1")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("weekdays 08:00-18:00 min 4", Floor((0, 1, 2, 3, 4), 480, 1080, 4)),
        ("weekend 10:00-16:30 min 2", Floor((5, 6), 600, 990, 2)),
        ("sat,sun 10:00-16:30 min 2", Floor((5, 6), 600, 990, 2)),
        ("daily 22:00-02:00 min 3 Europe/Berlin", Floor((0, 1, 2, 3, 4, 5, 6), 1320, 120, 3, "Europe/Berlin")),
        ("mon-thu,sun 0:00-24:00 min 1", Floor((0, 1, 2, 3, 6), 0, 1440, 1)),
        ("fri-mon 9:05-9:06 min 1000", Floor((0, 4, 5, 6), 545, 546, 1000)),
        ("wed   7:00-8:00  min  2   UTC", Floor((2,), 420, 480, 2, "UTC")),
        ("weekdays,sat,mon 7:00-8:00 min 2", Floor((0, 1, 2, 3, 4, 5), 420, 480, 2)),
    ],
)
def test_what_a_floor_says(text: str, found: Floor) -> None:
    """Days by word, name, list and range, hours over midnight, and a zone become one noun."""
    assert UNIT.parse(text) == found


@given(
    st.builds(
        Floor,
        st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
        st.integers(0, 1439),
        st.integers(1, 1440),
        st.integers(1, 1000),
        st.none() | st.sampled_from(sorted(zones())),
    ).filter(lambda made: made.begins_minute != made.ends_minute)
)
def test_what_is_written_is_read(made: Floor) -> None:
    """The words of any floor say that floor."""
    assert UNIT.parse(str(made)) == made


def test_what_is_left_out() -> None:
    """Without a word there is no floor, clocks show UTC, and a budget only warns."""
    text = "services: {web: {command: run}}\nbudget: {monthly: 300 USD}"
    model = load(text, default_name="shop")
    assert (model.services["web"].scaling.floors, model.services["web"].scaling.zone) == ((), "UTC")
    assert model.budget is not None and not model.budget.is_enforced
    assert Scaling().zone == "UTC" and Budget.__dataclass_fields__["is_enforced"].default is False


def test_what_is_given() -> None:
    """Floors, their zone and an enforced budget reach the model."""
    text = (
        "services: {web: {command: run, scaling: {floors: [weekdays 08:00-18:00 min 4], zone: Europe/Berlin}}}\n"
        "budget: {monthly: 300 USD, enforce: true}"
    )
    model = load(text, default_name="shop")
    scaling = model.services["web"].scaling
    assert (scaling.floors, scaling.zone) == ((Floor((0, 1, 2, 3, 4), 480, 1080, 4),), "Europe/Berlin")
    assert model.budget is not None and model.budget.is_enforced
