"""What every world promises of stores in two regions: who takes writes, who follows, what a fence and a promotion do."""

import pytest

from tenfold.effects import Outcome, Promote, PublishRoutes, StartEngine, StopEngine
from tenfold.effects.faults import Freeze, Kill
from tenfold.facts import EngineSeen, EngineState, GatewaySeen, ReplicaRole, ReplicaSeen
from tenfold.model import RouteTable, StoreEnd
from tenfold.ports import Permanent, Refused, Retryable

START_S = 90.0
"""The first start of a PostgreSQL on a busy machine copies its program and makes its data folder."""


async def generation(stage, kind: str, region: str) -> int:
    """What the next order must expect."""
    seen = await stage.see(EngineSeen, f"{kind}/{region}")
    return seen.generation if seen else 0


async def start(stage, kind: str, region: str, attempt: int, follow: str = "", **how: object) -> None:
    """Start one, or let it run another way."""
    await stage.do(StartEngine(kind, region, attempt, await generation(stage, kind, region), follow, **how))


async def until_follows(stage, kind: str, region: str, primary: str) -> tuple[ReplicaSeen, ReplicaSeen]:
    """Wait until both say so; what they say, the standby first."""
    standby = await stage.until(
        ReplicaSeen,
        f"{kind}/{region}",
        lambda s: s is not None and s.role is ReplicaRole.STANDBY and s.follows == primary,
        START_S,
    )
    leader = await stage.until(
        ReplicaSeen,
        f"{kind}/{primary}",
        lambda s: s is not None and s.standbys == (region,) and s.lag_s == 0.0,
        START_S,
    )
    return standby, leader


async def both(stage, kind: str) -> tuple[ReplicaSeen, ReplicaSeen]:
    """`a` takes writes, `b` follows."""
    with pytest.raises(Retryable):
        await start(stage, kind, "b", 1, "a")
    await start(stage, kind, "a", 1)
    await stage.until(ReplicaSeen, f"{kind}/a", lambda s: s is not None and s.role is ReplicaRole.PRIMARY, START_S)
    await start(stage, kind, "b", 2, "a")
    return await until_follows(stage, kind, "b", "a")


async def fence(stage, kind: str, region: str) -> None:
    """Stop it at once; it is absent then."""
    stop = StopEngine(kind, region, await generation(stage, kind, region), at_once=True)
    assert (await stage.do(stop)).outcome is Outcome.DONE
    assert await stage.see(EngineSeen, f"{kind}/{region}") is None


def test_one_takes_writes_and_the_other_follows(play_store) -> None:
    """Nobody follows one that is not there; then both say who follows whom, and nothing is outstanding while nobody writes."""

    async def story(stage, kind: str) -> None:
        standby, leader = await both(stage, kind)
        assert (leader.role, leader.follows, leader.is_synchronous) == (ReplicaRole.PRIMARY, "", False)
        assert (standby.standbys, standby.is_synchronous, standby.timeline) == ((), False, leader.timeline)
        with pytest.raises(Refused):
            await start(stage, kind, "b", 3)
        with pytest.raises(Refused):
            await start(stage, kind, "a", 3, "b")

    play_store(story)


def test_a_fenced_primary_never_leads_again_before_it_has_followed(play_store) -> None:
    """Fenced, it starts only to follow; its standby is promoted once however often that is ordered, and the timeline grows."""

    async def story(stage, kind: str) -> None:
        _, before = await both(stage, kind)
        await fence(stage, kind, "a")
        promote = Promote(kind, "b", 1, await generation(stage, kind, "b"))
        assert (await stage.do(promote)).outcome is Outcome.DONE
        assert (await stage.do(promote)).outcome is Outcome.DONE
        leader = await stage.until(
            ReplicaSeen, f"{kind}/b", lambda s: s is not None and s.role is ReplicaRole.PRIMARY, START_S
        )
        assert leader.timeline > before.timeline
        with pytest.raises(Permanent):
            await start(stage, kind, "a", 3)
        await stage.restart()
        with pytest.raises(Permanent):
            await start(stage, kind, "a", 4)
        await start(stage, kind, "a", 5, "b")
        standby, _ = await until_follows(stage, kind, "a", "b")
        assert standby.timeline == leader.timeline
        with pytest.raises(Refused):
            await stage.do(Promote(kind, "a", 9, await generation(stage, kind, "a")), epoch=0)

    play_store(story)


def test_a_killed_standby_is_no_part_of_it_until_it_is_back(play_store) -> None:
    """Its facts go with it, the primary says that nobody follows, a promotion is refused, and a start makes it follow again."""

    async def story(stage, kind: str) -> None:
        await both(stage, kind)
        await stage.harm.inflict(Kill(f"{kind}/b"))
        await stage.until(EngineSeen, f"{kind}/b", lambda s: s.state is EngineState.EXITED)
        assert await stage.see(ReplicaSeen, f"{kind}/b") is None
        alone = await stage.until(ReplicaSeen, f"{kind}/a", lambda s: s.standbys == ())
        assert alone.lag_s is None
        with pytest.raises(Retryable):
            await stage.do(Promote(kind, "b", 1, await generation(stage, kind, "b")))
        await start(stage, kind, "b", 3, "a")
        await until_follows(stage, kind, "b", "a")

    play_store(story)


def test_a_primary_waits_for_its_standby_when_it_is_told_to(play_store) -> None:
    """A PostgreSQL that runs is told to let writes wait, and no longer; a Valkey can't, and is never told to."""

    async def story(stage, kind: str) -> None:
        if kind == "valkey":
            return
        await both(stage, kind)
        await start(stage, kind, "a", 3, is_synchronous=True)
        await stage.until(ReplicaSeen, f"{kind}/a", lambda s: s.is_synchronous)
        await start(stage, kind, "a", 4)
        assert not (await stage.see(ReplicaSeen, f"{kind}/a")).is_synchronous

    play_store(story)


def test_a_gateway_tells_which_stores_answer_it(play_store) -> None:
    """A table that leads to a store is taken up before that answers; its way is told while it does, not once it is frozen or gone."""

    async def story(stage, kind: str) -> None:
        await stage.do(StartEngine("gateway", "a"))
        await stage.until(EngineSeen, "gateway/a", lambda seen: seen is not None and seen.state is EngineState.READY)
        await start(stage, kind, "a", 1)
        engine = await stage.until(EngineSeen, f"{kind}/a", lambda s: s is not None and s.address, START_S)
        host, _, port = engine.address.rpartition(":")
        end = StoreEnd(kind, host, int(port))
        await stage.do(PublishRoutes(RouteTable("a", behind_entry=True, stores=(end,)), "aaaa", 1))
        seen = await stage.until(GatewaySeen, "a", lambda seen: seen is not None and seen.stores == (end,), START_S)
        assert seen.table_digest == "aaaa"
        await stage.until(EngineSeen, f"{kind}/a", lambda s: s.state is EngineState.READY, START_S)
        await stage.harm.inflict(Freeze(f"{kind}/a", 60.0))
        await stage.until(GatewaySeen, "a", lambda seen: seen.stores == ())
        await stage.harm.undo()
        await stage.until(GatewaySeen, "a", lambda seen: seen.stores == (end,))
        await stage.harm.inflict(Kill(f"{kind}/a"))
        await stage.until(GatewaySeen, "a", lambda seen: seen.stores == ())

    play_store(story)
