"""What tests of a budget share: a shop whose instances cost 0.10 EUR an hour, and what is seen of it in the middle of a month."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.effects import Decision
from tenfold.facts import InstanceSeen, InstanceState, PoolSeen, Snapshot, SpendSeen
from tenfold.model import Budget, InstanceSize, Model, Money, Prices, Region, Release, Scaling, Service, Trigger

MID = datetime(2026, 11, 16, tzinfo=UTC).timestamp()
"""15 days of November are over, and 15 are left."""
PRICES = Prices(Money(Decimal("0.10"), "EUR"), Money(Decimal("0.0001"), "EUR"))
SIZE = InstanceSize(1.0, 2**20)
TRIGGERS = (Trigger("concurrency", 60, 30, 60),)
WEB = Service("web", "x {port}", paths=("/",), instance=SIZE, scaling=Scaling(1, 20, TRIGGERS))
"""One instance costs 0.10 EUR an hour, 2.40 a day."""
WORKER = Service("worker", "x", http=False, instance=SIZE, scaling=Scaling(1, 20, (Trigger("mails", 60, 30, 60),)))


def model(
    *services: Service, monthly: int = 100, regions: tuple[str, ...] = ("local",), enforced: bool = True
) -> Model:
    """These services under a monthly budget in EUR."""
    named = {s.name: s for s in services}
    money = Budget(Money(Decimal(monthly), "EUR"), prices=PRICES, is_enforced=enforced)
    release = Release("r1", named, "s1", 0.0)
    return Model("shop", named, {r: Region(r) for r in regions}, budget=money, releases={"r1": release})


def spent(so_far: float, forecast: float, now: float = MID, **changes: object) -> dict[str, SpendSeen]:
    """The month's cost as it was seen at `now`."""
    fact = SpendSeen("EUR", 0.1, so_far, forecast, now - 86_400, 86_400.0, "", now)
    return {"month": replace(fact, **changes)}  # type: ignore[arg-type]


def seen(now: float, in_flight: float, ready: int, spend: Mapping[str, SpendSeen]) -> Snapshot:
    """So many requests at hand of so many ready instances of `web`."""
    instances = {
        f"web-{n}": InstanceSeen(f"web-{n}", "web", "local", "r1", InstanceState.READY, now - 60, now - 61, now, port=1)
        for n in range(ready)
    }
    pool = PoolSeen("web", "local", now, requests_per_s=in_flight, in_flight=in_flight)
    return Snapshot(
        now,
        1,
        observed={"process": now, "gateway": now},
        instances=instances,
        pools={pool.key: pool},
        spend=spend,
    )


def run(
    of: Model, in_flight: float, spend: Mapping[str, SpendSeen], seconds: int = 6, had: int = 2, start: float = MID
) -> tuple[ScaleMemory, list[Decision]]:
    """The pool `web@local`, which has `had` instances, after some seconds of that load, and what was said."""
    memory = ScaleMemory({"web@local": PoolScale(had, "as it was", 0.0)})
    said: list[Decision] = []
    for second in range(seconds):
        memory, decisions = scale(of, of.releases["r1"], seen(start + second, in_flight, had, spend), memory)
        said += decisions
    return memory, said
