"""Places on the globe: how far apart two are, and how long a packet should take there and back. Nouns of the model."""

from math import asin, cos, radians, sin, sqrt

Place = tuple[float, float]
"""(latitude, longitude) in degrees: -90..90 and -180..180."""

EARTH_RADIUS_KM = 6371.0088
"""The mean radius R1 of the ellipsoid WGS 84 (Moritz 2000, Geodetic Reference System 1980)."""
FIBRE_KM_PER_MS = 200.0
"""How far light gets in glass in a millisecond: about two thirds of its speed in vacuum."""
DETOUR_RATIO = 1.5
"""How much longer cables are than the great circle."""
AT_ENDS_MS = 1.0
"""What hosts and routers at both ends take of a round trip."""


def distance_km(a: Place, b: Place) -> float:
    """The great-circle distance between two places in kilometres, on a sphere: at most 0.6% off.

    Haversine: d = 2 R asin(sqrt(h)), h = sin²((φb - φa) / 2) + cos φa cos φb sin²((λb - λa) / 2), with R the earth's radius
    in km, φ latitudes and λ longitudes in radians (Sinnott 1984, Virtues of the Haversine).
    """
    (lat_a, lon_a), (lat_b, lon_b) = a, b
    across = sin(radians(lat_b - lat_a) / 2) ** 2
    along = sin(radians(lon_b - lon_a) / 2) ** 2
    half = across + cos(radians(lat_a)) * cos(radians(lat_b)) * along
    # Rounding may leave it a hair above 1 for places on opposite sides of the globe.
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(half)))


def rtt_ms_between(a: Place, b: Place) -> float:
    """The round trip to expect between two places, in milliseconds: there and back through fibre that makes detours."""
    return 2 * DETOUR_RATIO * distance_km(a, b) / FIBRE_KM_PER_MS + AT_ENDS_MS
