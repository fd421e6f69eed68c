"""Tiers with pools of their own on a real gateway that is led from table to table: nobody fails, and each pool's traffic is told."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tenfold.facts import ColdStartSeen, PoolSeen
from tenfold.model import Endpoint, Health, RouteTable, ServiceRoutes, Tier

TIERS = (
    Tier("enterprise", domains=("acme.localhost",), tenants=("acme",)),
    Tier("gold", tenants=("a.c",)),
)
WHO = {"all": "", "enterprise": "x-tenfold-tenant: acme\r\n", "gold": "cookie: tenfold-tenant=a.c\r\n"}


def table(ends: Mapping[str, Endpoint], out: str = "", asleep: str = "") -> RouteTable:
    """The pool of all and those of the tiers, of which `out` is out and `asleep` sleeps."""
    services = (
        ServiceRoutes(
            "web" if tier == "all" else f"web-{tier}",
            ("/",),
            (ends[tier],) if tier in ends else (),
            Health(starts_within_s=5.0),
            hedge_after_ms=None,
            may_sleep=tier == "gold",
            is_asleep=tier == asleep,
            tier=None if tier == "all" else tier,
            is_out=tier == out,
        )
        for tier in WHO
    )
    return RouteTable("local", tuple(services), tiers=TIERS)


async def answers(edge: Any) -> dict[str, str]:
    """Which instance answers whom."""
    return {who: (await edge.ask("GET", "/who", headers)).body for who, headers in WHO.items()}


async def test_tables_with_tiers_follow_one_another(edge: Any, instances: Any) -> None:
    """A pool appears, is out, has an instance again: each request is answered by the pool that the newest table says, also once another
    control plane has taken the gateway over."""
    web = dict(zip(WHO, await instances(3), strict=True))
    ends = {who: instance.endpoint() for who, instance in web.items()}
    names = {who: instance.name for who, instance in web.items()}
    await edge.publish(ends["all"])
    assert set((await answers(edge)).values()) == {names["all"]}
    async with edge.load("GET", "POST", rps=50.0) as tally:
        for _ in range(2):
            await edge.publish_table(table(ends))
            assert await answers(edge) == names
            assert (await edge.ask("GET", "/who", host="acme.localhost:1")).body == names["enterprise"]
            await edge.publish_table(table({who: end for who, end in ends.items() if who != "gold"}, out="gold"))
            assert await answers(edge) == names | {"gold": names["all"]}
            await edge.restart_control_plane()
            assert (await edge.gateway()).table_digest == f"digest{edge.published}"
        await edge.publish(ends["all"])
        assert set((await answers(edge)).values()) == {names["all"]}
    assert tally.failed() == []


async def test_each_pools_traffic_is_told(edge: Any, instances: Any) -> None:
    """What one tier asks for is seen at its pool, which is what scales it, and at no other."""
    ends = {who: instance.endpoint() for who, instance in zip(WHO, await instances(3), strict=True)}
    await edge.publish_table(table(ends))
    seen: dict[str, float] = {}

    async def is_told() -> bool:
        for _ in range(10):
            await edge.ask("GET", "/who", WHO["enterprise"])
        seen.update({f.service: f.requests_per_s for f in await edge.facts() if isinstance(f, PoolSeen)})
        return seen.get("web-enterprise", 0.0) > 0.0

    await edge.until("its requests are seen", is_told)
    assert (seen["web"], seen["web-gold"]) == (0.0, 0.0)


async def test_a_pool_that_sleeps_is_woken_by_its_own_tier(edge: Any, instances: Any) -> None:
    """A request of that tier waits until its pool has an instance; all others are answered meanwhile."""
    web = dict(zip(WHO, await instances(3), strict=True))
    ends = {who: instance.endpoint() for who, instance in web.items()}
    await edge.publish_table(table({who: end for who, end in ends.items() if who != "gold"}, asleep="gold"))
    asked = asyncio.create_task(edge.ask("POST", "/who", WHO["gold"]))

    async def is_held() -> bool:
        return ("web-gold", 1) in {(f.service, f.waiting) for f in await edge.facts() if isinstance(f, ColdStartSeen)}

    await edge.until("it waits", is_held)
    for who in ("all", "enterprise"):
        assert (await edge.ask("GET", "/who", WHO[who])).body == web[who].name
    assert not asked.done()
    await edge.publish_table(table(ends))
    assert (await asked).body == web["gold"].name
