"""Simulated days at full size: forty services with forecasts, and a region lost at the peak of 100,000 users. What they cost to compute
is told in seconds of processor time: the machine is shared."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from bench.shop import Tell
from bench.table import Figure, at_most, told
from tenfold.effects.faults import Kill
from tenfold.estimators.forecast import Forecasts
from tenfold.model import Health, Model, Region, Scaling, Service
from tenfold.model.service import InstanceSize
from tenfold.sim.behaviour import Behaviour
from tenfold.sim.compare import Blow, Setting, run
from tenfold.sim.rates import Rate, day
from tenfold.sim.tally import Outcome

DAY_S = 86_400.0
BEGAN_AT = 1_767_571_200.0
"""A Monday, 2026-01-05T00:00Z."""
LEARNT_DAYS = 14
REFIT_MINUTES = 60
STEP_S = 10.0
START_S = 120.0
SERVICES = 40
USERS, THINK_S = 100_000, 10.0
REGIONS: Mapping[str, tuple[tuple[float, float], int]] = {
    "melbourne": ((-37.8, 144.9), 40_000),
    "iowa": ((41.3, -95.9), 30_000),
    "belgium": ((50.4, 3.8), 30_000),
}
FORTY_CPU_S_MAX, LOST_CPU_S_MAX = 30.0, 60.0
LOST, LOST_S = "iowa", 600.0


@dataclass(frozen=True, slots=True)
class Played:
    """A day: what came of it, and how much processor time it took."""

    outcome: Outcome
    cpu_s: float


def forty_services(policy: str = "tenfold", hours: float = 24.0) -> Played:
    """A day of forty services in ticks of 10 s, each with a forecast that is made anew every hour, and the real deciders."""
    services = {
        f"s{i}": Service(f"s{i}", "serve", paths=(f"/s{i}",), health=Health("/up"), scaling=Scaling(1, 20))
        for i in range(SERVICES)
    }
    rates: dict[str, Rate] = {
        f"{name}@local": day(20.0, 100.0 + 5.0 * i, (8 + i % 12) * 3600.0) for i, name in enumerate(services)
    }
    return _played(Model("forty", services, {"local": Region("local")}), rates, policy, hours)


def lost_region(policy: str = "tenfold", hours: float = 24.0) -> Played:
    """A day of 100,000 users in three regions, one of which is lost for ten minutes at the busiest moment."""
    size = InstanceSize(cpu_cores=4.0, memory_bytes=2 * 1024**3, concurrency=400)
    web = Service("web", "serve", paths=("/",), health=Health("/up"), instance=size, scaling=Scaling(2, 60))
    regions = {name: Region(name, at, users) for name, (at, users) in REGIONS.items()}
    rates: dict[str, Rate] = {
        f"web@{name}": day(0.15 * users / THINK_S, users / THINK_S, (14 - at[1] / 15) * 3600.0)
        for name, (at, users) in REGIONS.items()
    }
    busiest_s = max(range(0, int(hours * 3600), 60), key=lambda at_s: sum(rate(at_s) for rate in rates.values()))
    blow = Blow("region-kill", max(60.0, float(busiest_s)), LOST_S, (Kill(f"region/{LOST}", LOST_S),))
    return _played(Model("globe", {"web": web}, regions), rates, policy, hours, (blow,))


def _played(model: Model, rates: Mapping[str, Rate], policy: str, hours: float, blows: tuple[Blow, ...] = ()) -> Played:
    first = int(BEGAN_AT // 60) - LEARNT_DAYS * 1440
    history = {
        first + i: {
            # A smooth past would be learnt by heart: some unrest, without a seed to carry.
            f"{key}.requests_per_s": rate((i % 1440) * 60.0) * (1 + 0.05 * math.sin(i * (7.0 + len(key) % 5)))
            for key, rate in rates.items()
        }
        for i in range(LEARNT_DAYS * 1440)
    }
    setting = Setting(
        model,
        rates,
        {name: Behaviour(start_s=START_S, start_spread_ratio=0.0) for name in model.services},
        BEGAN_AT,
        hours * 3600.0,
        STEP_S,
        blows=blows,
        history=history,
        forecasts=partial(Forecasts, refit_every=REFIT_MINUTES),
    )
    began_s = time.process_time()
    outcome = run(setting, policy)
    return Played(outcome, time.process_time() - began_s)


async def forty(tell: Tell) -> list[Figure]:
    """The day of forty services, and the same without what forecasts."""
    played = forty_services()
    tell(f"forecasts and all: {played.cpu_s:.0f} s of processor time")
    plain = forty_services("reactive")
    return [
        at_most("a day of 40 services, CPU", played.cpu_s, FORTY_CPU_S_MAX, "s"),
        told("of it the world and all deciders, without forecasts", f"{plain.cpu_s:.0f} s", plain.cpu_s),
        told("what came of it", _told(played.outcome)),
    ]


async def lost(tell: Tell) -> list[Figure]:
    """The day of the lost region."""
    played = lost_region()
    outcome = played.outcome
    (struck,) = outcome.struck
    tell(f"{played.cpu_s:.0f} s of processor time")
    recovered = (
        "not while it was played" if struck.recovered_s is None else f"{struck.recovered_s:,.0f} s after the loss"
    )
    whole = "not while it was played" if struck.whole_s is None else f"{struck.whole_s:,.0f} s after the loss"
    ratio = struck.failed / outcome.offered
    return [
        at_most("a day of 100,000 users in 3 regions, CPU", played.cpu_s, LOST_CPU_S_MAX, "s"),
        told(
            "requests failed by the loss",
            f"{struck.failed:,.0f} of {outcome.offered:,.0f} ({ratio:.4%})",
            struck.failed,
        ),
        told("clients served again as before", recovered, struck.recovered_s),
        told(f"all whole again (the region was dead for {LOST_S:,.0f} s)", whole, struck.whole_s),
        told("what came of it", _told(outcome)),
    ]


def _told(outcome: Outcome) -> str:
    return (
        f"{outcome.cost_per_day:,.2f} {outcome.currency} a day, short {outcome.short_ratio:.2%} of the time, "
        f"{outcome.lost_ratio:.3%} lost, {outcome.actions_per_day:.0f} actions"
    )
