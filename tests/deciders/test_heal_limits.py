"""Healing never makes an outage worse: how much may be mended at a time, when nothing is, and who goes first where room is short."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.deciders.heal.rungs import (
    ALONE_S,
    AT_ONCE_MIN,
    BACK_S,
    BUSY_S,
    POOL_REMEDIES_MIN,
    WINDOW_S,
    at_once_max,
    remedies_max,
    touched_max,
)
from tenfold.deciders.memory import HealMemory, MemberState
from tenfold.effects import Decision, StartInstance, StopInstance
from tenfold.facts import InstanceState
from tests.deciders.fleet import SICK, Fleet, line


def ended(fleet: Fleet) -> list[str]:
    """The instances that were told to end."""
    return [e.instance for _, d in fleet.made for e in d.effects if isinstance(e, StopInstance)]


def test_at_most_a_third_of_a_pool_is_taken_away_at_once() -> None:
    """Four of nine are frozen: three are replaced, and the fourth once one of these is ready."""
    fleet = Fleet((line(wanted=9, most=12),)).whole()
    fleet.freeze("web-1", "web-2", "web-3", "web-4")
    fleet.tick()
    assert ended(fleet) == ["web-1", "web-2", "web-3"]
    assert any("web-4 waits its turn (frozen" in why and "at most 3 of web@a" in why for why in fleet.whys())
    fleet.run(12)
    assert ended(fleet) == ["web-1", "web-2", "web-3", "web-4"]
    assert fleet.count(fleet.lines[0]) == 9


def test_starts_that_mend_are_bounded_over_all_pools() -> None:
    """Thirty instances of three pools are killed in one moment: a third of them start at a time, until all are back."""
    fleet = Fleet(tuple(line(name, wanted=10, most=12) for name in ("api", "web", "worker"))).whole()
    fleet.kill(*fleet.instances)
    under_way = []
    for _ in range(20):
        fleet.tick()
        under_way.append(sum(i.state is InstanceState.STARTING for i in fleet.instances.values()))
    assert max(under_way) == at_once_max(30) == 10
    assert all(fleet.count(one) == 10 for one in fleet.lines)


def test_a_window_has_so_many_remedies_and_an_empty_pool_one_more() -> None:
    """What keeps falling is mended so often in ten minutes and then left, unless nothing of it serves."""
    fleet = Fleet((line(wanted=4),)).whole()
    for _ in range(8):
        fleet.freeze(*fleet.ready(fleet.lines[0])[1:])
        fleet.run(65)
    recent = [at for at, _ in fleet.starts if fleet.now - at < WINDOW_S]
    assert len(recent) == POOL_REMEDIES_MIN == remedies_max(4, POOL_REMEDIES_MIN)
    assert any("was mended so often of late" in why for why in fleet.whys())
    fleet.kill(*fleet.ready(fleet.lines[0]))
    fleet.run(30)
    assert len(fleet.starts) > POOL_REMEDIES_MIN, "nothing serves, so that nothing can be made worse"


def test_nothing_is_mended_while_what_it_needs_is_away() -> None:
    """A store is away: what ends waits for it and is not held against anybody, what is unhealthy is left alone, also a while after."""
    fleet = Fleet((line(),)).whole()
    fleet.change(waiting_for="postgres/a")
    fleet.kill("web-1")
    fleet.sicken("web-2")
    fleet.run(60)
    assert not fleet.starts
    assert not fleet.memory.failures
    assert "web@a/r1 waits for postgres/a" in fleet.whys()
    assert ended(fleet) == ["web-1"], "which is how it is forgotten"
    fleet.change(waiting_for="")
    fleet.run(int(BACK_S) - 2)
    assert [effect.key for _, effect in fleet.starts] == ["start:web-4"]
    assert fleet.instances["web-2"].state is InstanceState.UNHEALTHY
    fleet.run(10)
    assert "web-2" not in fleet.instances
    assert fleet.count(fleet.lines[0]) == 3


def test_nothing_is_mended_in_a_region_that_is_away() -> None:
    """A region's outage is no failure of what ran there: when it is back all starts at once, without a pause."""
    fleet = Fleet((line(region="a", wanted=9, most=9), line(region="b"))).whole()
    a = fleet.lines[0]
    lost = fleet.ready(a)
    fleet.change(away={"a": "its gateway does not answer"}, takes=("b",))
    fleet.kill(*lost[:8])
    fleet.freeze(lost[8])
    fleet.run(90)
    assert not fleet.starts
    assert not fleet.memory.failures
    assert any("web@a/r1 waits for a, which is away (its gateway does not answer)" in why for why in fleet.whys())
    fleet.change(away={}, takes=("a", "b"))
    fleet.tick()
    assert len(fleet.starts) >= AT_ONCE_MIN
    fleet.run(40)
    assert fleet.count(a) == 9


def test_facts_that_are_old_are_no_reason() -> None:
    """What was not seen lately is left as it is, whatever it looked like then."""
    fleet = Fleet((line(),)).whole()
    fleet.observed_at = fleet.now
    fleet.freeze("web-1")
    fleet.kill("web-2")
    before = fleet.memory
    fleet.run(4)
    made = len(fleet.starts)
    fleet.run(60)
    assert len(fleet.starts) == made
    fleet.memory = before
    fleet.run(10)
    assert fleet.memory == before


def test_what_ails_a_new_release_is_left_to_its_watch() -> None:
    """A sick instance of a release that is watched is counted once and not taken away; one that is frozen or ends is mended."""
    fleet = Fleet((line(wanted=4),)).whole()
    fleet.change(watched="r1")
    fleet.sicken("web-1")
    fleet.run(10)
    assert not ended(fleet)
    assert fleet.memory.failures["web@a/r1"].count == 1
    fleet.sicken("web-2")
    fleet.run(10)
    assert fleet.memory.failures["web@a/r1"].count == 2, "so that the watch takes it back"
    fleet.kill("web-3")
    fleet.run(10)
    assert [effect.key for _, effect in fleet.starts] == ["start:web-5"]
    fleet.change(watched="")
    fleet.enter("web-2", InstanceState.READY)
    fleet.run(20)
    assert "web-1" not in fleet.instances, "once the watch is over it is healing's again"


def test_where_room_is_short_the_surest_need_goes_first() -> None:
    """The machine is full: one start tries it again and again, for the surest need; all else is held with a sentence, and nobody fails."""
    fleet = Fleet((line("guess", wanted=1, most=9), line("sure", wanted=1, most=9))).whole()
    guess, sure = fleet.lines
    fleet.full = {"a": "web can't start: Cannot allocate memory"}
    fleet.lines = (replace(guess, wanted=3), replace(sure, wanted=3))
    wish = Decision("", "scale", "", (), "more is needed")
    fleet.causes = {
        "guess@a": replace(wish, subject="guess@a", confidence_ratio=0.6),
        "sure@a": replace(wish, subject="sure@a"),
    }
    fleet.run(120)
    tried = [effect.service for _, effect in fleet.starts]
    assert set(tried[4:]) == {"sure"}
    assert len(tried) <= 10
    assert not fleet.memory.failures
    assert any("no more can be started in a for now" in why and "surer than its 60%" in why for why in fleet.whys())
    fleet.full.clear()
    fleet.run(90)
    assert [fleet.count(one) for one in fleet.lines] == [3, 3]
    assert not fleet.memory.short


def test_starts_are_spread_over_regions_and_services() -> None:
    """Where several lines lack instances they get them in turn, not one after the other."""
    fleet = Fleet((line(region="a"), line(region="b"), line("api", "a")))
    fleet.tick()
    firsts = [(effect.service, effect.region) for _, effect in fleet.starts]
    assert sorted(firsts) == sorted([("web", "a"), ("web", "b"), ("api", "a")] * 3)
    assert {fleet.memory.members[f"web-{n}"].region for n in (1, 2)} == {"a", "b"}


SPARED = (
    f"web-1 is unhealthy: {SICK}, while web@a has more at hand than it is sized for: it is left alone for a while, since load may be what "
    "ails it, and another would have as much to bear"
)


def test_what_load_has_made_ill_is_not_taken_from_those_who_bear_it() -> None:
    """Two of six fail their checks while the others have too much at hand: they are left to get well, and what does not is replaced."""
    fleet = Fleet((line(wanted=6),)).whole()
    fleet.at_hand = 81
    fleet.sicken("web-1", "web-2")
    fleet.run(40)
    assert (ended(fleet), fleet.whys()) == ([], [SPARED])
    fleet.enter("web-1", InstanceState.READY)
    fleet.run(int(BUSY_S) - 40)
    assert ended(fleet) == ["web-2"]
    fleet.run(10)
    assert fleet.count(fleet.lines[0]) == 6


def test_the_only_one_that_answers_is_not_ended_for_a_load_it_cannot_bear() -> None:
    """It fails its checks with too much at hand: ended, it would answer nobody, and the next be as ill; after ten minutes it is tried."""
    fleet = Fleet((line(wanted=1),)).whole()
    fleet.at_hand = 81
    fleet.sicken("web-1")
    fleet.run(int(ALONE_S) - 1)
    assert (ended(fleet), fleet.whys()) == ([], [SPARED])
    fleet.run(2)
    assert ended(fleet) == ["web-1"]


def test_the_only_one_gets_well_once_nothing_more_comes() -> None:
    """Requests that are held elsewhere leave it in peace: that its load was too much a moment ago still counts."""
    fleet = Fleet((line(wanted=1),)).whole()
    fleet.at_hand = 81
    fleet.sicken("web-1")
    fleet.run(5)
    fleet.at_hand = 0
    fleet.run(int(BACK_S) - 2)
    fleet.enter("web-1", InstanceState.READY)
    fleet.run(60)
    assert not ended(fleet)


@pytest.mark.parametrize(("wanted", "at_hand", "answers"), [(6, 80, True), (1, 80, True), (1, 500, False)])
def test_what_hangs_is_replaced_at_once(wanted: int, at_hand: int, answers: bool) -> None:
    """A load that can be borne is no excuse, and requests that pile up at one that answers none are no load."""
    fleet = Fleet((line(wanted=wanted),)).whole()
    fleet.at_hand, fleet.answers = at_hand, answers
    fleet.sicken("web-1")
    fleet.tick()
    assert ended(fleet) == ["web-1"]


def test_of_many_that_wait_one_is_named_once() -> None:
    """Four wait for their turn through a minute: that is said once, not by each of them in every tick."""
    fleet = Fleet((line(wanted=12, most=12),)).whole()
    fleet.crashing.add("a")
    fleet.freeze(*[f"web-{n}" for n in range(1, 9)])
    fleet.run(60)
    assert len([why for why in fleet.whys() if "waits its turn" in why]) == 1


def test_most_of_a_pool_sick_at_once_is_left_alone() -> None:
    """Two of three fail their checks in one moment: none is restarted for it, however long that lasts."""
    fleet = Fleet((line(),)).whole()
    fleet.sicken("web-1", "web-2")
    fleet.run(300)
    assert not ended(fleet) and not fleet.starts
    assert fleet.whys() == [
        f"most of web@a is unhealthy at once ({SICK}): the cause is elsewhere, so none is restarted for it"
    ]


# --- whatever happens -------------------------------------------------------------------------------------------------

HARM = st.tuples(
    st.sampled_from(
        ("kill", "freeze", "sicken", "well", "wait", "store", "region", "crash", "full", "flap", "blind", "back")
    ),
    st.integers(0, 30),
    st.integers(1, 25),
)
LINES = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def strike(fleet: Fleet, what: str, which: int) -> None:
    """Do one harm, or undo one."""
    ids = sorted(fleet.instances)
    one = fleet.instances[ids[which % len(ids)]] if ids else None
    is_up = one is not None and one.state in (InstanceState.READY, InstanceState.STARTING, InstanceState.UNHEALTHY)
    if what == "kill" and one is not None and is_up:
        fleet.kill(one.id)
    elif what == "freeze" and one is not None and is_up:
        fleet.freeze(one.id)
    elif what == "sicken" and one is not None and one.state is InstanceState.READY:
        fleet.sicken(one.id)
    elif what == "well" and one is not None and one.state is InstanceState.UNHEALTHY:
        fleet.enter(one.id, InstanceState.READY)
    elif what == "back":
        fleet.now -= 10.0 * which
    elif what == "blind":
        fleet.observed_at = fleet.now if fleet.observed_at is None else None
    elif what in ("store", "region"):
        assert fleet.around is not None
        is_on = bool(fleet.around.waiting_for if what == "store" else fleet.around.away)
        on = {"waiting_for": "postgres/a"} if what == "store" else {"away": {"a": "gone"}}
        off: dict[str, object] = {"waiting_for": ""} if what == "store" else {"away": {}}
        fleet.change(**(off if is_on else on))
    elif what in ("crash", "full", "flap"):
        place = {"crash": fleet.crashing, "full": fleet.full, "flap": fleet.flapping_s}[what]
        if "a" in place:
            place.clear()
        elif isinstance(place, set):
            place.add("a")
        else:
            place["a"] = "no memory" if what == "full" else 40.0  # type: ignore[assignment]


def check(fleet: Fleet, decisions: tuple[Decision, ...], before: HealMemory) -> None:
    """The limits, after any tick."""
    assert fleet.around is not None
    members = fleet.memory.members
    made = [effect for d in decisions for effect in d.effects if isinstance(effect, StartInstance)]
    if fleet.around.waiting_for:
        assert not made, "nothing starts while a dependency is away"
    assert not [effect for effect in made if effect.region in fleet.around.away]
    if fleet.observed_at is not None and fleet.now - fleet.observed_at > 5:
        assert not [d for d in decisions if d.effects], "nothing is done upon what is stale"
    for one in fleet.lines:
        mine = {id_: m for id_, m in members.items() if m.line == one.key}
        taken = [id_ for id_, m in mine.items() if m.is_ill and m.state is MemberState.STOPPING]
        fresh = [id_ for id_ in taken if id_ not in before.members or not before.members[id_].is_ill]
        was_starting = {e.instance for _, d in fleet.made[-20:] for e in d.effects if isinstance(e, StopInstance)}
        late = [id_ for id_ in fresh if before.members[id_].ready_since is None and id_ in was_starting]
        if len(fresh) > len(late):
            assert len(taken) <= touched_max(one.wanted) + len(late), "too much of a pool is taken away at once"
    mending = [
        m
        for m in members.values()
        if m.cause is not None and not m.was_ready and m.state is MemberState.WANTED and m.ended_at is None
    ]
    most = at_once_max(sum(one.wanted for one in fleet.lines))
    assert len(mending) <= most, "too many starts at once"
    assert Counter(effect.key for effect in made).total() == len({effect.key for effect in made})
    for pool, times in fleet.memory.spent.items():
        wanted = sum(one.wanted for one in fleet.lines if one.pool == pool)
        of_line = next(one for one in fleet.lines if one.pool == pool)
        is_over = len(times) > remedies_max(wanted, POOL_REMEDIES_MIN)
        assert (
            not is_over
            or not fleet.count(of_line)
            or len(times) == len(before.spent.get(pool, ()))
            or fleet.now < max(times)
        )
    for one in fleet.lines:
        assert fleet.meant(one) <= max(one.wanted, sum(m.line == one.key for m in before.members.values()))


@settings(max_examples=40)
@given(sizes=LINES, harms=st.lists(HARM, min_size=3, max_size=20))
def test_whatever_fails_the_limits_hold_and_all_is_whole_in_the_end(
    sizes: list[int], harms: list[tuple[str, int, int]]
) -> None:
    """Under any row of kills, freezes, crash loops, full machines, lost stores, blindness and clocks that are set back."""
    names = ("web", "api", "worker")
    fleet = Fleet(tuple(line(name, wanted=n, most=12) for name, n in zip(names, sizes, strict=False)))
    for what, which, seconds in harms:
        strike(fleet, what, which)
        for _ in range(seconds):
            before = fleet.memory
            decisions = fleet.tick()
            check(fleet, decisions, before)
    fleet.change(waiting_for="", away={})
    fleet.crashing, fleet.flapping_s, fleet.full, fleet.observed_at = set(), {}, {}, None
    for id_, one in fleet.instances.items():
        fleet.instances[id_] = replace(one, frozen=False)
        if one.state is InstanceState.UNHEALTHY:
            fleet.enter(id_, InstanceState.READY)
    for _ in range(1500):
        fleet.tick()
        memory = fleet.memory
        is_whole = [fleet.count(one) for one in fleet.lines] == sizes and len(fleet.instances) == sum(sizes)
        if is_whole and not (memory.failures or memory.owed or memory.short):
            return
    raise AssertionError(f"not whole in the end: {fleet.memory.failures}, {list(fleet.instances)}")


@settings(max_examples=15)
@given(harms=st.lists(HARM, min_size=3, max_size=15))
def test_equal_facts_and_memory_give_equal_decisions(harms: list[tuple[str, int, int]]) -> None:
    """Two that live through the same decide the same, tick by tick."""
    one, two = (Fleet((line(wanted=4, most=6), line("api", wanted=2))) for _ in range(2))
    for what, which, seconds in harms:
        for fleet in (one, two):
            strike(fleet, what, which)
        for _ in range(seconds):
            assert one.tick() == two.tick()
            assert one.memory == two.memory


@pytest.mark.parametrize("wanted", [0, 1, 2, 3, 9, 100])
def test_limits_grow_with_what_is_wanted(wanted: int) -> None:
    """One may always be touched, and never more than a third of what is wanted where that is more."""
    assert touched_max(wanted) == max(1, wanted // 3)
    assert at_once_max(wanted) == max(AT_ONCE_MIN, wanted // 3)
    assert remedies_max(wanted, POOL_REMEDIES_MIN) >= POOL_REMEDIES_MIN
