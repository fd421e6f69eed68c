"""From a client's country to the region nearest to most of its people."""

import pytest

from tenfold.model.places import Place, distance_km
from tenfold.render.countries import CENTRES, nearest

THREE: dict[str, Place] = {"australia": (-37.8, 144.9), "us": (41.3, -95.9), "europe": (50.4, 3.8)}


@pytest.mark.parametrize(
    ("country", "region"),
    [
        *(("DE", "europe"), ("NG", "europe"), ("IN", "europe"), ("RU", "europe")),
        *(("CA", "us"), ("BR", "us"), ("CL", "us"), ("HI", None)),
        *(("NZ", "australia"), ("JP", "australia"), ("FJ", "australia"), ("id", "australia"), ("XK", "europe")),
    ],
)
def test_nearest(country: str, region: str | None) -> None:
    """People are sent to the region nearest to where most of their country live; no country, no guess."""
    assert nearest(country, THREE) == region


def test_nowhere_to_go() -> None:
    """Without places there is no nearest one, and of equal ones the first is taken."""
    assert nearest("DE", {}) is None
    assert nearest("DE", {"b": (50.0, 8.0), "a": (50.0, 8.0)}) == "b"


def test_every_country_is_on_the_globe() -> None:
    """All but uninhabited countries are there, each at a place that exists."""
    assert len(CENTRES) == 246
    assert all(len(code) == 2 and code.isupper() for code in CENTRES)
    assert all(-90 <= latitude <= 90 and -180 <= longitude <= 180 for latitude, longitude in CENTRES.values())


@pytest.mark.parametrize(
    ("country", "capital", "km_max"),
    [
        ("BE", (50.85, 4.35), 50),
        ("EG", (30.04, 31.24), 150),
        ("NZ", (-41.29, 174.78), 300),
        ("US", (38.9, -77.0), 1500),
    ],
)
def test_centres_are_right(country: str, capital: Place, km_max: float) -> None:
    """A country's centre lies about where an atlas has its people."""
    assert distance_km(CENTRES[country], capital) < km_max
