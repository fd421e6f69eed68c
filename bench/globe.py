"""A project of three regions, and the load of people near each of them."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.shop import Blueprint, Shop, Tell, merged, small
from bench.traffic import LONGEST_S, Load
from tenfold.proof.load import LoadPlan, Mix, RateCurve, Request, Target

SMALL_APP = Path(__file__).parent / "small_app.py"
PLACES: Mapping[str, tuple[float, float]] = {"west": (0.0, 0.0), "east": (0.0, 47.4), "north": (42.3, 23.7)}
"""Three places as far from one another as light and cables make 80 ms of."""

WAN = ("--wan",) if os.geteuid() == 0 else ()
"""Only root can give each region a network of its own; without, there is no distance, and what needs one can't be measured."""


def blueprint(changes: Blueprint | None = None) -> Blueprint:
    """The small app in three regions, two instances in each."""
    command = "python small_app.py {host} {port}"
    web = {"command": command, "health": {"path": "/now"}, "scaling": {"instances": {"min": 2, "max": 2}}}
    base: Blueprint = {
        "name": "globe",
        "services": {"web": web},
        "regions": {name: {"at": list(at)} for name, at in PLACES.items()},
        "edge": {"trust": ["127.0.0.0/8"]},
        "rollout": {"watch": "3s"},
    }
    return merged(base, changes or {})


@asynccontextmanager
async def globe(tell: Tell, changes: Blueprint | None = None, *up: str) -> AsyncIterator[Shop]:
    """The project, up and serving in all regions; everything of it is gone afterwards."""
    async with small(tell, SMALL_APP, blueprint(changes), *up) as shop:
        yield shop


def near(region: str) -> tuple[tuple[str, str], ...]:
    """The headers by which a client is near `region`."""
    latitude, longitude = PLACES[region]
    return (("x-tenfold-place", f"{latitude},{longitude}"),)


def people(path: str = "/now", weights: Mapping[str, float] | None = None) -> Mix:
    """As many near each region, or as `weights` say."""
    weighed = weights or dict.fromkeys(PLACES, 1.0)
    return Mix(tuple(Request("GET", path, near(name), weight=weight) for name, weight in weighed.items()))


def everywhere(target: Target, tell: Tell, rate_rps: float, seed: int = 1, mix: Mix | None = None) -> Load:
    """A steady load near every region until it is ended."""
    return Load(LoadPlan(target, RateCurve.steps((LONGEST_S, rate_rps)), mix or people(), seed=seed), tell)
