"""The ladder of healing as stories: restart in place, replace, move, ask a person; and what climbs it though each start works."""

from dataclasses import replace

import pytest

from tenfold.deciders.engines import keep_engines
from tenfold.deciders.failures import FLAP_WINDOW_S, GIVE_UP_AFTER, GIVEN_UP_RETRY_S, SETTLED_S
from tenfold.deciders.heal.rungs import FIRST, LADDER, MOVE_AFTER, RESTARTS_MAX, Ill, rung_for
from tenfold.deciders.memory import HealMemory, Memory, ReleaseMemory, Rung
from tenfold.deciders.signs import signs
from tenfold.effects import StartEngine, StartInstance, StopInstance
from tenfold.facts import EngineSeen, EngineState, InstanceState, ReceiptSeen, Snapshot
from tenfold.loop.codec import Codec
from tenfold.model import Model, Region
from tests.deciders.fleet import START, Fleet, line


def started(fleet: Fleet) -> list[str]:
    """The keys of all starts."""
    return [effect.key for _, effect in fleet.starts]


def test_the_table_is_the_ladder() -> None:
    """Every illness steps on somewhere, nothing steps down as failures grow, and the last rung is a person."""
    order = [step.rung for step in LADDER]
    assert set(FIRST) == set(Ill)
    assert order == list(Rung)
    for ill in Ill:
        taken = [order.index(rung_for(ill, restarts, count)) for count in range(1, 12) for restarts in (count - 1,)]
        assert taken == sorted(taken)
        assert order[taken[-1]] is Rung.ASK


def test_what_ends_is_restarted_in_its_place_twice_and_then_replaced() -> None:
    """The same id at the same port, the second time after a pause; the third time a new instance takes its place."""
    fleet = Fleet((line(wanted=1),)).whole()
    fleet.crashing = {"a"}
    fleet.kill("web-1")
    port = fleet.instances["web-1"].port
    fleet.run(9)
    assert started(fleet)[:3] == ["start:web-1#2", "start:web-1#3", "start:web-2"]
    assert fleet.starts[0][0] < fleet.starts[1][0] - 1.0, "the second restart waits"
    assert fleet.whys()[0] == "web-1 ended: killed by signal 9; restarted in its place (restart 1)"
    assert fleet.made[0][1].facts == ("rung 1 of 4, restart: failure 1 in a row of web@a/r1",)
    fleet.crashing.clear()
    fleet.run(30)
    [id_] = fleet.instances
    assert id_ != "web-1"
    assert fleet.instances[id_].port != port


@pytest.mark.parametrize("ill", ["frozen", "unhealthy", "late"])
def test_what_hangs_is_replaced_and_never_restarted(ill: str) -> None:
    """One that is stopped, sick or never ready is ended, and another takes its place."""
    fleet = Fleet((line(),)).whole()
    if ill == "frozen":
        fleet.freeze("web-2")
    elif ill == "unhealthy":
        fleet.sicken("web-2")
    else:
        fleet.enter("web-2", InstanceState.STARTING)
        fleet.freeze("web-2")
        fleet.instances["web-2"] = replace(fleet.instances["web-2"], frozen=False, started_at=fleet.now + 1000)
        fleet.run(1)
    fleet.run(6)
    assert started(fleet) == ["start:web-4"]
    assert fleet.count(fleet.lines[0]) == 3
    assert any("is taken away; replaced at once" in why or "not ready within" in why for why in fleet.whys())


@pytest.mark.parametrize("outcome", ["refused", "failed", "lost"])
def test_a_restart_that_can_not_be_gives_its_place_to_another(outcome: str) -> None:
    """The driver refuses, fails, or never hears of it: the old one is forgotten and a new one started."""
    fleet = Fleet((line(wanted=1),)).whole()
    fleet.kill("web-1")
    ended = fleet.instances["web-1"]
    fleet.tick()
    fleet.instances["web-1"] = ended  # It was not done.
    if outcome != "lost":
        fleet.receipts = {"start:web-1#2": ReceiptSeen("start:web-1#2", outcome, "it has changed", fleet.now)}
    fleet.run(12)
    assert started(fleet) == ["start:web-1#2", "start:web-2"]
    assert list(fleet.instances) == ["web-2"]
    assert any("web-1 can't be restarted in its place" in why for why in fleet.whys())


def test_what_falls_together_is_one_failure() -> None:
    """Eight that are killed in one moment are eight restarts at once, and no reason to give up."""
    fleet = Fleet((line(wanted=GIVE_UP_AFTER),)).whole()
    fleet.kill(*fleet.instances)
    fleet.tick()
    assert started(fleet) == [f"start:web-{n}#2" for n in range(1, 9)]
    assert fleet.memory.failures["web@a/r1"].count == 1
    fleet.run(5)
    assert fleet.count(fleet.lines[0]) == GIVE_UP_AFTER


def test_a_person_is_asked_with_all_that_was_tried() -> None:
    """A crash loop ends in an alert that counts what was tried, says when and what it gave, and where to look; then it is tried rarely."""
    fleet = Fleet((line(wanted=1),)).whole()
    fleet.crashing = {"a"}
    fleet.kill("web-1")
    fleet.run(200)
    restarts = [effect for _, effect in fleet.starts if effect.attempt > 1]
    assert len(restarts) == RESTARTS_MAX
    assert len(fleet.starts) == GIVE_UP_AFTER - 1
    assert sum("gave up on web@a/r1 after 8 failures in a row" in why for why in fleet.whys()) == 1
    model = Model("demo", {}, {"a": Region("a")})
    memory = Memory(release=ReleaseMemory(serving="r1"), heal=fleet.memory)
    sign = signs(model, fleet.snapshot(), memory)["recovery/web@a/r1"]
    assert sign.holds and sign.severity == "critical"
    last = fleet.memory.failures["web@a/r1"].tries[-1].subject
    for part in (
        "8 starts in a row failed",
        "2 restarts",
        "5 replacements",
        "no module named x",
        f"tenfold logs {last}",
    ):
        assert part in sign.text, sign.text
    assert len(sign.facts) == GIVE_UP_AFTER
    assert sign.facts[1].split(" ", 1)[1] == "restart of web-1: exit code 1: no module named x"
    before = len(fleet.starts)
    fleet.run(int(GIVEN_UP_RETRY_S))
    assert len(fleet.starts) == before + 1
    fleet.crashing.clear()
    fleet.run(int(GIVEN_UP_RETRY_S + SETTLED_S) + 20)
    assert fleet.count(fleet.lines[0]) == 1
    assert not fleet.memory.failures, "it came back, and that is over"


def test_what_ends_again_and_again_climbs_though_each_start_works() -> None:
    """An instance that serves for a minute and a half each time is replaced, and a person asked; but it goes on being started soon."""
    fleet = Fleet((line(wanted=1),)).whole()
    fleet.flapping_s = {"a": 90.0}
    fleet.kill("web-1")
    fleet.run(int(FLAP_WINDOW_S) - 200)
    failures = fleet.memory.failures["web@a/r1"]
    assert failures.rung is Rung.ASK
    assert not failures.gave_up
    attempts = [effect.attempt for _, effect in fleet.starts]
    assert 1 in attempts, "restarts alone did not help: it was replaced"
    gaps = [round(b[0] - a[0]) for a, b in zip(fleet.starts, fleet.starts[1:], strict=False)]
    assert max(gaps) <= 95, "what it serves is worth more than a pause"
    sign = signs(Model("demo", {}, {}), fleet.snapshot(), Memory(heal=fleet.memory))["recovery/web@a/r1"]
    assert "does not stay" in sign.text and "although each start worked" in sign.text
    fleet.flapping_s.clear()
    fleet.run(400)
    assert not fleet.memory.failures


def three(**changes: Region) -> Fleet:
    """Two of web in each of the regions a, b and c, at most four."""
    regions = {name: changes.get(name, Region(name)) for name in "abc"}
    return Fleet(tuple(line(region=name, wanted=2, most=4) for name in "abc"), regions).whole()


def test_a_region_that_keeps_nothing_has_its_capacity_elsewhere() -> None:
    """Starts fail in a again and again while b and c are well: they run two more between them until a is well again."""
    fleet = three()
    fleet.crashing = {"a"}
    fleet.kill(*fleet.ready(fleet.lines[0]))
    fleet.run(60)
    a, b, c = fleet.lines
    assert (fleet.count(b), fleet.count(c)) == (3, 3)
    [moved] = [(at, d) for at, d in fleet.made if "for as long as it lasts" in d.why]
    assert moved[1].why == (
        f"web@a does not keep its instances ({MOVE_AFTER} failures in a row, last: exit code 1: no module named x), "
        "and r1 is well elsewhere: 1 more in b and 1 more in c, for as long as it lasts"
    )
    assert moved[1].facts == ("rung 3 of 4, move",)
    fleet.run(600)
    assert any("gave up on web@a/r1" in why and "meanwhile 1 more in b" in why for why in fleet.whys())
    fleet.crashing.clear()
    fleet.run(1200)
    assert [fleet.meant(one) for one in fleet.lines] == [2, 2, 2]
    assert fleet.count(a) == 2
    assert "web@a keeps its instances again: 1 more in b and 1 more in c are let go" in fleet.whys()
    assert not fleet.memory.moves


def test_residency_is_a_veto_for_a_move() -> None:
    """What runs under a law moves to regions of that law alone, and where there is none, that is said."""
    fleet = three(a=Region("a", residency="eu"), c=Region("c", residency="eu"))
    fleet.crashing = {"a"}
    fleet.kill(*fleet.ready(fleet.lines[0]))
    fleet.run(60)
    assert [fleet.meant(one) for one in fleet.lines][1:] == [2, 4]
    alone = three(a=Region("a", residency="eu"))
    alone.crashing = {"a"}
    alone.kill(*alone.ready(alone.lines[0]))
    alone.run(60)
    assert [alone.meant(one) for one in alone.lines][1:] == [2, 2]
    assert any("what runs in a may not leave eu" in why for why in alone.whys())


@pytest.mark.parametrize("why", ["full", "out", "sick", "watched", "away"])
def test_nothing_moves_where_it_would_not_be_well(why: str) -> None:
    """A region at its maximum, out of traffic or not well itself takes nothing, nor does anything move during a deploy or an outage."""
    fleet = three()
    if why == "full":
        fleet.lines = tuple(replace(one, wanted=4) for one in fleet.lines)
        fleet.run(10)
    elif why == "out":
        fleet.change(takes=("a",))
    elif why == "watched":
        fleet.change(watched="r1")
    fleet.crashing = {"a", "b", "c"} if why == "sick" else {"a"}
    fleet.kill(*fleet.instances) if why == "sick" else fleet.kill(*fleet.ready(fleet.lines[0]))
    if why == "away":
        fleet.change(away={"a": "its gateway does not answer"})
    fleet.run(60)
    most = 4 if why == "full" else 2
    assert all(fleet.meant(one) <= most for one in fleet.lines)
    assert not fleet.memory.moves


def test_a_move_is_made_anew_when_its_region_fails() -> None:
    """Capacity that went to b alone goes to c once b takes no traffic."""
    fleet = three()
    fleet.change(takes=("a", "b"))
    fleet.crashing = {"a"}
    fleet.kill(*fleet.ready(fleet.lines[0]))
    fleet.run(60)
    assert [fleet.meant(one) for one in fleet.lines][1:] == [4, 2]
    fleet.change(takes=("a", "c"))
    fleet.run(10)
    assert [fleet.meant(one) for one in fleet.lines][1:] == [2, 4]


def test_counts_outlive_the_control_plane() -> None:
    """Written down and read again in the middle of a crash loop, the memory leads to the very same decisions."""
    codec: Codec[HealMemory] = Codec(HealMemory)
    one, two = three(), three()
    for fleet in (one, two):
        fleet.crashing = {"a"}
        fleet.kill(*fleet.ready(fleet.lines[0]))
    for _ in range(120):
        assert one.tick() == two.tick()
        two.memory = codec.decode(codec.encode(two.memory))
        assert one.memory == two.memory
    assert one.memory.moves and one.memory.failures["web@a/r1"].count > RESTARTS_MAX


def test_a_restart_under_way_is_not_held_against_a_clock_that_was_set_back() -> None:
    """An instance restarted just before the clock goes back an hour is neither given up nor doubled."""
    fleet = Fleet((line(),)).whole()
    fleet.kill("web-1")
    fleet.tick()
    fleet.now -= 3600.0
    fleet.run(120)
    assert fleet.count(fleet.lines[0]) == 3
    assert len(fleet.instances) == 3


def test_a_surplus_that_waits_for_its_restart_is_just_forgotten() -> None:
    """Less is wanted while one waits to be restarted: it is the first to go, and nothing is started for it."""
    fleet = Fleet((line(),)).whole()
    fleet.crashing = {"a"}
    fleet.kill("web-3")
    fleet.run(2)
    fleet.lines = (line(wanted=2),)
    starts = len(fleet.starts)
    fleet.run(10)
    assert sorted(fleet.instances) == ["web-1", "web-2"]
    assert len(fleet.starts) == starts
    assert any(isinstance(e, StopInstance) for _, d in fleet.made for e in d.effects)
    assert not any(isinstance(e, StartInstance) and e.attempt == 1 for _, e in fleet.starts)


def test_an_engine_that_ends_again_and_again_is_a_persons_business_too() -> None:
    """A gateway that lives for a hundred seconds each time is started again at once every time, and at last somebody is asked."""
    memory, now, generation = HealMemory(), START, 1
    wanted = {"gateway/a": StartEngine("gateway", "a")}
    began_at, starts = now, []
    for _ in range(1000):
        now += 1.0
        is_up = bool(starts) and now - began_at < 100
        state = EngineState.READY if is_up else EngineState.EXITED
        engine = EngineSeen(
            "gateway", "a", state, began_at, now, generation, note="" if is_up else "killed by signal 11"
        )
        shot = Snapshot(now, 1, observed={"gateway": now}, engines={"gateway/a": engine} if starts else {})
        memory, decisions = keep_engines(wanted, (), shot, memory)
        for decision in decisions:
            assert decision.effects, f"it waits: {decision.why}"
            starts.append(now)
            began_at, generation = now, generation + 2
    failures = memory.engines["gateway/a"].failures
    assert failures is not None
    assert failures.rung is Rung.ASK
    assert not failures.gave_up
    assert len(starts) == 10
    sign = signs(Model("demo", {}, {}), Snapshot(now), Memory(heal=memory))["recovery/gateway/a"]
    assert "ended 9 times although each start worked" in sign.text
    assert "Look at: tenfold logs gateway-a" in sign.text
