"""Where the primary of a store is: when it moves, when it must not, and that never two take writes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenfold.deciders.memory import StoreMemory
from tenfold.deciders.stores import keep_stores
from tenfold.effects import Promote, StartEngine, StopEngine
from tenfold.facts import EngineState, ReplicaRole
from tenfold.model import Data
from tests.deciders.stores_world import START, World

LOOSE = Data(replicas=1)
SYNCHRONOUS = Data(replicas=1, is_synchronous=True, rpo_s=0.0, rto_s=10.0)


def settled(data: Data = LOOSE, kind: str = "postgres") -> World:
    """A world in which `a` takes writes and `b` follows."""
    world = World(data, kind)
    world.ticks(15)
    assert world.store.primary == "a" and world.follows("b")
    world.said.clear()
    world.done.clear()
    return world


def why(world: World) -> str:
    """All that was said, as one text."""
    return " / ".join(decision.why for decision in world.said)


def test_the_standby_starts_once_the_primary_serves() -> None:
    """First the primary where the blueprint says, then the standby that is to follow it; nothing is promoted."""
    world = World(Data(replicas=1, region="b"))
    world.ticks(5)
    assert [(e.region, e.follow) for e in world.done if isinstance(e, StartEngine)] == [("b", ""), ("a", "b")]
    assert not world.said


def test_a_crash_is_mended_by_a_start_and_not_by_a_move() -> None:
    """The primary's process is killed once: it is started again where it is."""
    world = settled()
    world.kill("a")
    world.ticks(10)
    assert world.store.primary == "a" and world.stores["a"].writes
    assert not any(isinstance(e, Promote) for e in world.done)


def test_a_lost_region_moves_the_primary_and_comes_back_as_standby() -> None:
    """Fence, promotion, re-joining, in this order; each decision has its reason, and how long it took is said."""
    world = settled(SYNCHRONOUS)
    world.out["a"] = "its gateway ended"
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(5)
    assert world.stores["b"].writes
    orders = [e for e in world.done if isinstance(e, StopEngine | Promote)]
    assert [type(e) for e in orders] == [StopEngine, Promote] and orders[0].at_once
    assert world.lost == []
    world.ticks(20)
    assert world.stores["a"].state is None
    assert "moves from a to b: a is out (its gateway ended); it has every acknowledged write" in why(world)
    assert "within the 10 s of data.rto" in why(world)
    world.out.clear()
    world.stores["a"].is_barred = False
    world.ticks(10)
    assert world.follows("a") and world.store.old == ()
    assert world.store.number == 1


def test_a_frozen_primary_is_lost_within_ten_seconds() -> None:
    """One that hangs is fenced and replaced; thawed, it takes no writes."""
    world = settled(SYNCHRONOUS)
    world.stores["a"].is_frozen = True
    world.ticks(9)
    assert world.stores["b"].writes and world.lost == []
    world.stores["a"].is_frozen = False
    world.ticks(5)
    assert world.follows("a")


def test_a_partition_moves_the_primary_to_where_its_clients_are() -> None:
    """The primary answers the control plane, and neither clients nor its standby: it moves, and what it took alone is counted."""
    world = settled(Data(replicas=1, rpo_s=5.0))
    world.is_cut = True
    world.out["a"] = "no other region reaches it"
    world.ticks(8)
    assert world.stores["b"].writes and world.stores["a"].is_fenced
    assert max(world.lost, default=0.0) <= 5.0


def test_a_region_that_is_merely_bad_keeps_its_primary() -> None:
    """Its gateway has no instance to send to, but its store serves and is followed: there is nothing to move."""
    world = settled()
    world.out["a"] = "no instance of web is ready there"
    world.ticks(30)
    assert world.store.primary == "a" and not world.said


def test_more_loss_than_allowed_is_held_with_what_to_do() -> None:
    """A standby that was too far behind is not promoted: it says how far, what the blueprint allows, and what would help."""
    world = settled(Data(replicas=1, rpo_s=5.0))
    world.is_cut = True
    world.ticks(20)
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(20)
    assert world.store.primary == "a" and not any(isinstance(e, Promote) for e in world.done)
    assert len([d for d in world.said if "it is held" in d.why]) == 1
    assert "data.rpo allows 5 s; bring back a, or accept that loss with a larger rpo" in why(world)
    world.stores["a"].is_barred, world.is_cut = False, False
    world.ticks(120)
    assert world.stores["a"].writes and world.follows("b") and world.lost == []


def test_without_a_standby_it_waits_for_its_region() -> None:
    """Nothing can take over, and that is said once."""
    world = World(Data())
    world.ticks(5)
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(20)
    assert why(world).count("there is no standby, so it waits for a") == 1


def test_stale_facts_promote_nothing() -> None:
    """Nothing has been seen for a while: not even a dead primary is replaced until the standby is seen again."""
    world = settled()
    world.stores["a"].is_barred = True
    world.is_blind = True
    world.kill("a")
    world.ticks(30)
    assert not any(isinstance(e, Promote) for e in world.done)
    world.is_blind = False
    world.ticks(8)
    assert world.stores["b"].writes


def test_a_standby_that_is_silent_too_is_not_promoted() -> None:
    """Both regions hang: whichever comes back first goes on, and never one that lacks what was acknowledged."""
    world = settled(SYNCHRONOUS)
    for store in world.stores.values():
        store.is_frozen = True
    world.ticks(20)
    assert "the standby in b does not answer either; bring back either of them" in why(world)
    world.stores["b"].is_frozen = False
    world.ticks(5)
    assert world.stores["b"].writes and world.lost == []


def test_back_again_when_the_new_primary_is_lost() -> None:
    """The first primary follows and has caught up when the second is lost: it takes over; before that it would not."""
    world = settled(SYNCHRONOUS)
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(10)
    world.kill("b")
    world.stores["b"].is_barred = True
    world.ticks(10)
    assert world.store.primary == "b" and "it is held" in why(world)
    world.stores["a"].is_barred = world.stores["b"].is_barred = False
    world.ticks(90)
    assert world.follows("a")
    world.stores["b"].is_barred = True
    world.kill("b")
    world.ticks(10)
    assert world.stores["a"].writes and world.store.number == 2 and world.lost == []


def test_writes_wait_only_while_the_blueprint_says_so() -> None:
    """Without its standby a synchronous primary goes on alone after ten seconds, and says so; with `rpo: 0s` it never does."""
    loose, strict = settled(replace(SYNCHRONOUS, rpo_s=None)), settled(SYNCHRONOUS)
    for world in (loose, strict):
        assert world.stores["a"].is_synchronous
        world.stores["b"].is_barred = True
        world.kill("b")
        world.ticks(20)
    assert not loose.stores["a"].is_synchronous and not loose.store.is_synchronous
    assert "goes on alone: b has not followed for 10 s" in why(loose)
    assert strict.stores["a"].is_synchronous
    loose.stores["b"].is_barred = False
    loose.ticks(90)
    assert loose.stores["a"].is_synchronous and loose.follows("b")


class Lagging(World):
    """A world whose standby is always nearly a second behind."""

    def look(self) -> None:
        """As seen by the primary."""
        super().look()
        seen = self.stores["a"].seen
        if seen is not None and seen.standbys:
            self.stores["a"].seen = replace(seen, lag_s=0.8)


def test_what_was_acknowledged_before_writes_waited_is_not_promised() -> None:
    """Writes wait for a standby that still lacks older ones: while it does, nobody says that it has every acknowledged write."""
    world = Lagging(SYNCHRONOUS)
    world.ticks(15)
    assert world.stores["a"].is_synchronous and not world.store.is_synchronous
    world.out["a"] = "its gateway ended"
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(10)
    assert world.store.primary == "a" and "data.rpo allows 0 s" in why(world)


def test_valkey_moves_by_the_same_rules_and_is_never_synchronous() -> None:
    """It follows the same decisions; two seconds of its writes are what it can promise at best."""
    world = settled(SYNCHRONOUS, "valkey")
    assert not world.stores["a"].is_synchronous
    world.out["a"] = "its gateway ended"
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(5)
    assert world.stores["b"].writes


def test_both_kinds_move_with_their_region() -> None:
    """The region is out and neither answers: both are fenced in the same tick."""
    model = World(Data(replicas=1)).model
    both = replace(model, data=Data(replicas=1))
    made: list[Any] = []
    worlds = [settled(Data(replicas=1), kind) for kind in ("postgres", "valkey")]
    snapshots = []
    for world in worlds:
        world.out["a"] = "its gateway ended"
        world.kill("a")
        world.now = START + 20.0
        snapshots.append(world.snapshot())
    first, second = snapshots
    snapshot = replace(
        first,
        observed={**first.observed, **second.observed},
        engines={**first.engines, **second.engines},
        replicas={**first.replicas, **second.replicas},
    )
    memory = {**worlds[0].memory, **worlds[1].memory}
    memory = {kind: replace(store, lost_since=START + 10.0) for kind, store in memory.items()}
    kept, _, decisions = keep_stores(both, snapshot, worlds[0].regions(), memory)
    made += [e.subject for d in decisions for e in d.effects]
    assert made == ["engine/postgres/a", "engine/valkey/a"]
    assert {store.primary for store in kept.values()} == {"b"}


def test_two_primaries_leave_the_one_that_parted_later() -> None:
    """A journal put back from a backup names the old one: the younger line of data stays, the other is fenced and follows."""
    world = settled()
    world.stores["b"].role, world.stores["b"].timeline = ReplicaRole.PRIMARY, 2
    world.ticks(15)
    assert world.store.primary == "b" and world.stores["b"].writes and world.follows("a")
    assert "the one in a, whose data are older, is fenced" in why(world)


def test_a_lost_memory_is_found_again_from_the_facts() -> None:
    """The journal is gone and the blueprint names a region whose data follow the other's: the primary is where it was."""
    world = settled()
    world.kill("a")
    world.stores["a"].is_barred = True
    world.ticks(10)
    world.stores["a"].is_barred = False
    world.ticks(60)
    assert world.store.primary == "b" and world.follows("a")
    world.memory = {}
    world.ticks(10)
    assert world.store.primary == "b" and world.stores["b"].writes and world.lost == []


def test_nothing_moves_while_all_goes_down() -> None:
    """Stores that are stopped on purpose are not lost."""
    world = settled()
    world.is_up = False
    world.kill("a")
    world.ticks(20)
    assert world.store.primary == "a" and not world.said


def unfenceable(data: Data) -> World:
    """The primary hangs, its region is out, and no order reaches it."""
    world = settled(data)
    world.out["a"], world.unreachable = "its gateway does not answer", "a"
    world.stores["a"].is_frozen = True
    world.ticks(15)
    return world


def test_a_synchronous_primary_that_can_not_be_fenced_is_left_to_its_own() -> None:
    """It can acknowledge nothing without its standby, so that one takes over after three seconds, and says why it may."""
    world = unfenceable(SYNCHRONOUS)
    assert world.stores["b"].writes
    assert "can't be fenced within 3 s: b takes over; it can acknowledge nothing without its standby" in why(world)


def test_any_other_primary_is_fenced_before_another_takes_over() -> None:
    """What an asynchronous one still acknowledged would be lost: nobody takes over until it is known to have stopped."""
    world = unfenceable(Data(replicas=1, rpo_s=5.0))
    assert not world.stores["b"].writes
    assert "can't be fenced, and what it still acknowledges would be lost" in why(world)
    world.unreachable = ""
    world.ticks(5)
    assert world.stores["b"].writes
    assert world.stores["a"].is_fenced


def test_a_promotion_goes_on_without_an_answer_of_the_old_one() -> None:
    """No receipt ever comes, but the old primary is seen to be gone: that is answer enough."""
    world = settled(Data(replicas=1, rpo_s=5.0))
    world.is_deaf = True
    world.out["a"] = "its gateway ended"
    world.stores["a"].is_barred = True
    world.kill("a")
    world.ticks(10)
    assert world.stores["b"].writes


@pytest.mark.parametrize("data", [Data(), Data(replicas=1)])
def test_one_region_is_left_as_it_is(data: Data) -> None:
    """With one region there is one start, and nothing is ever said."""
    world = World(data)
    model = replace(world.model, regions={"a": world.model.regions["a"]})
    kept, starts, decisions = keep_stores(model, world.snapshot(), world.regions(), {})
    assert (kept, starts, decisions) == (
        {"postgres": StoreMemory("a")},
        {"postgres/a": StartEngine("postgres", "a")},
        (),
    )


HARMS = ("kill", "freeze", "thaw", "bar", "unbar", "cut", "mend", "out", "in", "blind", "see", "deaf", "hear", "wait")
STEPS = st.lists(st.tuples(st.sampled_from(HARMS), st.sampled_from("ab"), st.integers(1, 12)), max_size=14)
BLUEPRINTS = st.sampled_from(
    (
        SYNCHRONOUS,
        replace(SYNCHRONOUS, rpo_s=None),
        Data(replicas=1, rpo_s=5.0),
        Data(replicas=1),
        Data(replicas=1, rpo_s=0.5),
    )
)


def harm(world: World, what: str, region: str) -> None:
    """Do it."""
    store = world.stores[region]
    match what:
        case "kill":
            world.kill(region)
        case "freeze" | "thaw":
            store.is_frozen = what == "freeze" and store.state is EngineState.READY
        case "bar" | "unbar":
            store.is_barred = what == "bar"
        case "cut" | "mend":
            world.is_cut = what == "cut"
        case "out":
            world.out[region] = "it can't answer"
        case "in":
            world.out.pop(region, None)
        case "blind" | "see":
            world.is_blind = what == "blind"
        case "deaf" | "hear":
            world.is_deaf = what == "deaf"


@example(
    [("blind", "a", 1), ("cut", "a", 7), ("kill", "a", 1), ("kill", "a", 1), ("see", "a", 1), ("kill", "a", 1)],
    Data(replicas=1, rpo_s=5.0),
)
@given(STEPS, BLUEPRINTS)
def test_whatever_happens_data_are_safe_and_writes_come_back(steps: list[tuple[str, str, int]], data: Data) -> None:
    """Random harm: never two take writes, nothing is promoted on stale facts, no more is lost than declared, and once all is mended one
    takes writes and the other follows."""
    world = World(data)
    world.ticks(12)
    for what, region, seconds in steps:
        harm(world, what, region)
        for _ in range(seconds):
            world.tick()
            assert sum(store.writes for store in world.stores.values()) <= 1
            if data.rpo_s is not None:
                assert max(world.lost, default=0.0) <= (data.rpo_s or 0.0) + 0.1, world.lost
    for region in "ab":
        for what in ("thaw", "unbar", "mend", "in", "see", "hear"):
            harm(world, what, region)
    world.ticks(700)
    assert sum(store.writes for store in world.stores.values()) == 1
    assert any(world.follows(region) for region in "ab"), world.said[-5:]
