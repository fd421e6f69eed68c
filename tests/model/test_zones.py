"""What clocks show in the world's time zones, by the table of rules, against what this machine's own library says."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.model import zone_offset_s, zones

STEADY = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Santiago",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Jerusalem",
    "Africa/Cairo",
    "Africa/Nairobi",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Antarctica/Troll",
)
"""Zones of every kind whose rules have stood for years: whatever version this machine has, it knows them as they are."""


def library_s(zone: str, at: float) -> float:
    """The offset by the database of this machine."""
    offset = datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset.total_seconds()


@pytest.mark.parametrize("zone", STEADY)
def test_every_hour_of_six_years(zone: str) -> None:
    """At each hour until 2031 the table and the library agree."""
    start = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp())
    wrong = [
        at for at in range(start, start + 6 * 365 * 86_400, 3600) if zone_offset_s(zone, at) != library_s(zone, at)
    ]
    assert not wrong, datetime.fromtimestamp(wrong[0], UTC)


@given(st.sampled_from(STEADY), st.floats(1.75e9, 2.1e9))
def test_any_second(zone: str, at: float) -> None:
    """Nor do they differ at odd seconds, those around a change of the clock included."""
    assert zone_offset_s(zone, at) == library_s(zone, at)


def test_the_second_of_a_change() -> None:
    """Clocks in Berlin go from 2 to 3 on 28 March 2027, at 1 o'clock UTC, and back from 3 to 2 on 31 October."""
    for day, change_s in ((datetime(2027, 3, 28, 1, tzinfo=UTC), 3600), (datetime(2027, 10, 31, 1, tzinfo=UTC), -3600)):
        at = day.timestamp()
        assert zone_offset_s("Europe/Berlin", at) - zone_offset_s("Europe/Berlin", at - 1) == change_s


def test_every_rule_can_be_read() -> None:
    """Each of the zones tells an offset that a place on earth can have, in every month."""
    for zone in zones():
        for month in range(1, 13):
            assert abs(zone_offset_s(zone, datetime(2027, month, 15, tzinfo=UTC).timestamp())) <= 14 * 3600, zone
    assert len(zones()) > 500
