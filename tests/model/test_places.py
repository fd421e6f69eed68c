"""Distances on the globe and the round trips they stand for."""

from math import pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.model.places import AT_ENDS_MS, EARTH_RADIUS_KM, Place, distance_km, rtt_ms_between

PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
HALF_ROUND_KM = pi * EARTH_RADIUS_KM
MELBOURNE, IOWA, BELGIUM = (-37.8, 144.9), (41.3, -95.9), (50.4, 3.8)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((48.8566, 2.3522), (51.5074, -0.1278), 344),
        ((40.7128, -74.0060), (51.5074, -0.1278), 5_570),
        ((-33.8688, 151.2093), (51.5074, -0.1278), 16_990),
        ((35.6762, 139.6503), (34.0522, -118.2437), 8_815),
        ((0.0, 179.5), (0.0, -179.5), 111),
        ((90.0, 0.0), (-90.0, 0.0), 20_015),
    ],
)
def test_known_distances(a: Place, b: Place, km: float) -> None:
    """Distances that an atlas tells come out, over the date line and from pole to pole too."""
    assert distance_km(a, b) == pytest.approx(km, rel=0.01)


@given(PLACES, PLACES)
def test_is_the_same_both_ways(a: Place, b: Place) -> None:
    """Nowhere is nearer one way than back, nor further than halfway round the earth."""
    assert distance_km(a, b) == pytest.approx(distance_km(b, a), abs=1e-6)
    assert 0 <= distance_km(a, b) <= HALF_ROUND_KM + 1e-6


@given(PLACES)
def test_itself_is_at_no_distance(a: Place) -> None:
    """A place is where it is; a packet to it still takes what its ends take."""
    assert distance_km(a, a) == 0
    assert rtt_ms_between(a, a) == AT_ENDS_MS


@given(PLACES, PLACES, PLACES)
def test_no_way_round_is_shorter(a: Place, b: Place, c: Place) -> None:
    """Going by a third place is never shorter, so that nearest means something."""
    assert distance_km(a, c) <= distance_km(a, b) + distance_km(b, c) + 1e-4


@given(PLACES, PLACES, PLACES)
def test_further_takes_longer(a: Place, b: Place, c: Place) -> None:
    """Of two places, the nearer one is expected to answer sooner."""
    assert (distance_km(a, b) < distance_km(a, c)) == (rtt_ms_between(a, b) < rtt_ms_between(a, c)) or (
        distance_km(a, b) == pytest.approx(distance_km(a, c), abs=1e-6)
    )


def test_expected_round_trips() -> None:
    """An ocean is about 110 ms away, the other side of the globe a quarter of a second: as public latency tables have it."""
    assert rtt_ms_between(IOWA, BELGIUM) == pytest.approx(109, abs=3)
    assert rtt_ms_between(BELGIUM, MELBOURNE) == pytest.approx(251, abs=5)
