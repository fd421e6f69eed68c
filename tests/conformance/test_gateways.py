"""What every world promises of a gateway's routes: published once, in order, and told by the gateway itself."""

from dataclasses import replace

import pytest

from tenfold.effects import Outcome, PublishRoutes, StartEngine
from tenfold.effects.faults import Kill
from tenfold.facts import EngineSeen, EngineState, GatewaySeen
from tenfold.model import Endpoint, RouteTable, ServiceRoutes, Tier
from tenfold.ports import Refused, Retryable


def table(digest: str, number: int, *ports: int) -> PublishRoutes:
    """The effect that leads the gateway to a table with these endpoints."""
    endpoints = tuple(Endpoint(f"web-{port}", "127.0.0.1", port) for port in ports)
    return PublishRoutes(RouteTable("local", (ServiceRoutes("web", ("/",), endpoints),)), digest, number)


def ready(seen: EngineSeen | None) -> bool:
    """True for an engine that serves."""
    return seen is not None and seen.state is EngineState.READY


def runs(digest: str):
    """True for a gateway that says it runs the table of that digest."""
    return lambda seen: seen is not None and seen.table_digest == digest


async def start(stage) -> None:
    """Bring the gateway up."""
    await stage.do(StartEngine("gateway", "local"))
    await stage.until(EngineSeen, "gateway/local", ready)


def test_a_published_table_is_what_the_gateway_runs(play_gateway) -> None:
    """The digest of the table that was accepted last is seen within a bound, and a second table takes its place."""

    async def story(stage) -> None:
        await start(stage)
        first = table("aaaa", 1, 20_001)
        receipt = await stage.do(first)
        assert (receipt.key, receipt.outcome) == (first.key, Outcome.DONE)
        await stage.until(GatewaySeen, "local", runs("aaaa"))
        await stage.do(table("bbbb", 2, 20_001, 20_002))
        seen = await stage.until(GatewaySeen, "local", runs("bbbb"))
        assert seen.connected
        assert not seen.refused
        assert seen.seen_at <= stage.clock.now()

    play_gateway(story)


def test_a_late_table_does_not_replace_a_newer_one(play_gateway) -> None:
    """One that was published before and arrives again, or after a newer one, changes nothing."""

    async def story(stage) -> None:
        await start(stage)
        await stage.do(table("aaaa", 1, 20_001))
        await stage.do(table("bbbb", 2, 20_002))
        assert (await stage.do(table("aaaa", 1, 20_001))).outcome is Outcome.DONE
        with pytest.raises(Refused):
            await stage.do(table("cccc", 1, 20_003))
        with pytest.raises(Refused):
            await stage.do(table("dddd", 9, 20_003), epoch=0)
        await stage.until(GatewaySeen, "local", runs("bbbb"))

    play_gateway(story)


def test_no_gateway_takes_no_table(play_gateway) -> None:
    """Without a gateway a table can't be published, which may be tried again."""

    async def story(stage) -> None:
        with pytest.raises(Retryable):
            await stage.do(table("aaaa", 1, 20_001))

    play_gateway(story)


def test_a_new_control_plane_learns_what_the_gateway_runs(play_gateway) -> None:
    """After a restart the gateway goes on with its table and tells which one it is."""

    async def story(stage) -> None:
        await start(stage)
        await stage.do(table("aaaa", 1, 20_001))
        await stage.until(GatewaySeen, "local", runs("aaaa"))
        await stage.restart()
        await stage.until(GatewaySeen, "local", runs("aaaa"))
        await stage.do(table("bbbb", 1, 20_002), epoch=2)
        await stage.until(GatewaySeen, "local", runs("bbbb"))

    play_gateway(story)


def test_a_table_with_pools_by_tier_is_taken_up_and_learnt(play_gateway) -> None:
    """One whose routes depend on who asks is run, told and learnt like any other, and gives way to one without."""

    async def story(stage) -> None:
        await start(stage)
        tier = Tier("gold", domains=("gold.localhost",), tenants=("acme",))
        services = (
            ServiceRoutes("web", ("/",), (Endpoint("web-1", "127.0.0.1", 20_001),)),
            ServiceRoutes("web-gold", ("/",), (Endpoint("web-gold-1", "127.0.0.1", 20_002),), tier="gold"),
        )
        await stage.do(PublishRoutes(RouteTable("local", services, tiers=(tier,)), "aaaa", 1))
        await stage.until(GatewaySeen, "local", runs("aaaa"))
        await stage.restart()
        await stage.until(GatewaySeen, "local", runs("aaaa"))
        out = (services[0], replace(services[1], endpoints=(), is_out=True))
        await stage.do(PublishRoutes(RouteTable("local", out, tiers=(tier,)), "bbbb", 1), epoch=2)
        await stage.until(GatewaySeen, "local", runs("bbbb"))
        await stage.do(table("cccc", 2, 20_001), epoch=2)
        await stage.until(GatewaySeen, "local", runs("cccc"))

    play_gateway(story)


def test_a_gateway_that_was_killed_can_be_led_to_its_table_again(play_gateway) -> None:
    """Started anew it takes the next table, whether it remembers the last one or not."""

    async def story(stage) -> None:
        await start(stage)
        await stage.do(table("aaaa", 1, 20_001))
        await stage.harm.inflict(Kill("gateway/local"))
        gone = await stage.until(EngineSeen, "gateway/local", lambda seen: seen.state is EngineState.EXITED)
        await stage.do(StartEngine("gateway", "local", 2, gone.generation))
        await stage.until(EngineSeen, "gateway/local", ready)
        await stage.do(table("bbbb", 2, 20_002))
        await stage.until(GatewaySeen, "local", runs("bbbb"))

    play_gateway(story)
