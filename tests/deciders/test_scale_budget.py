"""A budget that can say no: to more, in figures, to the least sure first, and never to what runs."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenfold.deciders.memory import Memory, PoolScale, ScaleMemory
from tenfold.deciders.scale import bounds, budget, scale
from tenfold.deciders.scale.bounds import Choice, bound
from tenfold.deciders.scale.floors import Least
from tenfold.deciders.signs import signs
from tenfold.effects import Decision
from tenfold.facts import ForecastSeen, WorkSeen
from tenfold.model import (
    Floor,
    Forecast,
    Model,
    Scaling,
    Service,
)
from tests.deciders.money import MID, TRIGGERS, WEB, WORKER, model, run, seen, spent

# --- the no -----------------------------------------------------------------------------------------------------------


def test_a_budget_that_only_warns_refuses_nothing() -> None:
    """Without `enforce` what is needed is added, whatever it costs."""
    memory, [decision] = run(model(WEB, monthly=1, enforced=False), 400.0, spent(500.0, 1000.0))
    assert (memory.pools["web@local"].wanted, decision.clamps, memory.spend) == (9, (), None)


def test_what_fits_is_granted_without_a_word() -> None:
    """Where the month has room, a budget changes nothing."""
    memory, [decision] = run(model(WEB), 400.0, spent(30.0, 60.0))
    assert (memory.pools["web@local"].wanted, decision.clamps) == (9, ())
    assert decision.why == "web@local needs 9 instances instead of 2: 200 requests at hand per instance, above 60"


def test_what_does_not_fit_is_refused_in_figures_and_once() -> None:
    """40 are spent, and 14 days as usual (0.10 an hour) cost 33.60 more: 16.40 of 90 are left for a day, so of nine instances at 2.40 a
    day there is room for six, and the no tells what would be needed."""
    memory, said = run(model(WEB, monthly=90), 400.0, spent(40.0, 76.0), seconds=200)
    assert memory.pools["web@local"].wanted == 6
    [decision] = said
    assert decision.why == (
        "web@local needs 9 instances instead of 2: 200 requests at hand per instance, above 60; the budget allows 6"
    )
    assert decision.clamps == (
        "budget: 3 more would cost 0.30 EUR an hour; 50.00 of 90 EUR are left this month, and a day of that would bring it to 95.20 EUR; "
        "to allow it, raise budget.monthly to 96 EUR",
    )
    assert memory.pools["web@local"].why == decision.why


def test_the_sum_that_is_named_is_enough() -> None:
    """With the budget that the no names, all that was wished for is granted."""
    _, [decision] = run(model(WEB, monthly=90), 400.0, spent(40.0, 76.0))
    named = re.search(r"raise budget\.monthly to (\d+) EUR", decision.clamps[0])
    assert named is not None
    memory, _ = run(model(WEB, monthly=int(named[1])), 400.0, spent(40.0, 76.0))
    assert memory.pools["web@local"].wanted == 9


def test_when_the_money_is_gone_what_runs_is_left_alone() -> None:
    """Nothing is added and nothing is taken away, and the no is told once in an hour of asking."""
    memory, said = run(model(WEB, monthly=50), 400.0, spent(50.0, 99.0), seconds=3600)
    assert memory.pools["web@local"].wanted == 2
    assert (memory.pools["web@local"].why, memory.pools["web@local"].changed_at) == ("as it was", 0.0)
    assert memory.pools["web@local"].raised_at is None
    assert memory.pools["web@local"].words.startswith("the budget refuses it more: 7 more would cost 0.70 EUR an hour")
    assert [d.why for d in said] == [
        "web@local needs 9 instances instead of 2: 200 requests at hand per instance, above 60; the budget allows 2"
    ]
    assert "0.00 of 50 EUR are left this month" in said[0].clamps[0]


def test_the_minimum_and_a_first_instance_are_never_refused() -> None:
    """A budget that is spent keeps no pool from its minimum, nor one that slept from its first instance."""
    always = replace(WEB, scaling=replace(WEB.scaling, instances_min=4))
    memory, _ = run(model(always, monthly=1), 0.0, spent(50.0, 99.0), had=2)
    assert memory.pools["web@local"].wanted == 4
    sleepy = replace(
        WEB, scaling=Scaling(0, 20, TRIGGERS, floors=(Floor((0, 1, 2, 3, 4, 5, 6), 0, 1440, 5),), idle_s=60.0)
    )
    memory, [decision] = run(model(sleepy, monthly=1), 0.0, spent(50.0, 99.0), had=0, seconds=1)
    assert memory.pools["web@local"].wanted == 1
    assert decision.why.endswith("the budget allows 1")


def test_a_floor_is_refused_too_and_load_is_still_read() -> None:
    """Where money is short a floor does not go before what always runs; refused, it does not keep the pool from scaling by its load."""
    floored = replace(WEB, scaling=replace(WEB.scaling, floors=(Floor((0, 1, 2, 3, 4, 5, 6), 0, 1440, 6),)))
    memory, said = run(model(floored, monthly=50), 10.0, spent(50.0, 99.0), seconds=60)
    assert memory.pools["web@local"].wanted == 2
    [decision] = said
    assert decision.why == "web@local has 6 instances instead of 2: daily 00:00-24:00 min 6 UTC; the budget allows 2"
    assert [clamp.partition(":")[0] for clamp in decision.clamps] == ["floor", "budget"]
    now = MID + 60
    for second in range(3):
        memory, _ = scale(
            model(floored), model(floored).releases["r1"], seen(now + second, 400.0, 2, spent(10.0, 20.0)), memory
        )
    assert memory.pools["web@local"].wanted == 9


def test_it_says_no_again_when_it_comes_again() -> None:
    """A refusal is over five minutes after the last one; the next is told anew, and a grant ends it at once."""
    of, gone = model(WEB, monthly=60), spent(60.0, 99.0)
    memory, said = run(of, 400.0, gone, seconds=10)
    assert memory.pools["web@local"].refused
    now = MID + 10
    for second in range(int(bounds.REFUSED_S) + 1):
        memory, more = scale(of, of.releases["r1"], seen(now + second, 80.0, 2, gone), memory)
        said += more
    assert (len(said), memory.pools["web@local"].refused) == (1, "")
    now += 400
    for second in range(5):
        memory, more = scale(of, of.releases["r1"], seen(now + second, 400.0, 2, gone), memory)
        said += more
    assert len(said) == 2
    for second in range(5):
        memory, more = scale(of, of.releases["r1"], seen(now + 5 + second, 400.0, 2, spent(1.0, 2.0)), memory)
        said += more
    assert (len(said), memory.pools["web@local"].wanted, memory.pools["web@local"].refused) == (3, 9, "")


def test_a_clock_that_is_set_back_ends_a_refusal() -> None:
    """What was refused in a time that is still to come is told anew."""
    of, gone = model(WEB, monthly=50), spent(50.0, 99.0)
    memory, said = run(of, 400.0, gone, seconds=10)
    for second in range(5):
        memory, more = scale(of, of.releases["r1"], seen(MID - 86_400 + second, 400.0, 2, gone), memory)
        said += more
    assert len(said) == 2
    assert memory.pools["web@local"].refused_at < MID


def test_what_a_refused_pool_says_besides_is_said() -> None:
    """While a floor is refused, that the pool holds for another reason is told as always."""
    of, hold = model(WEB), Decision("", "scale", "web@a", (), "web@a keeps 2 instances although they seem idle")
    refused = PoolScale(2, "", 0.0, refused="no money", refused_at=MID - 10)
    held = Choice("web@a", WEB, refused, replace(refused, holding=hold.why), hold, Least(5, None, "the hour"))
    _, [(pool, decision)] = bound(of, of.releases["r1"], seen(MID, 1.0, 1, spent(100.0, 136.0)), None, [held])
    assert (pool.wanted, pool.refused, pool.holding, decision) == (2, "no money", hold.why, hold)


def test_alerts_see_it() -> None:
    """While anything is refused a warning stands that names the pool and the figures."""
    of = model(WEB, monthly=50)
    refused, _ = run(of, 400.0, spent(50.0, 99.0))
    sign = signs(of, seen(MID, 400.0, 2, spent(50.0, 99.0)), replace(Memory(), scale=refused))["spend/refused"]
    assert (sign.severity, sign.holds) == ("warning", True)
    assert sign.text.startswith(
        "the budget refuses web@local what is needed: 7 more would cost 0.70 EUR an hour; 0.00 of"
    )
    granted, _ = run(of, 80.0, spent(1.0, 2.0))
    assert "spend/refused" not in signs(of, seen(MID, 80.0, 2, spent(1.0, 2.0)), replace(Memory(), scale=granted))


# --- what it is reckoned from -----------------------------------------------------------------------------------------


def test_without_figures_nothing_is_refused_and_that_is_said() -> None:
    """Before the month's cost was ever seen the budget has no word."""
    memory, [decision] = run(model(WEB, monthly=1), 400.0, {})
    assert memory.pools["web@local"].wanted == 9
    assert decision.clamps == ("budget: nothing is known of what this month costs yet, so it refuses nothing",)
    memory, [decision] = run(model(WEB, monthly=1), 400.0, spent(50.0, 99.0, currency="USD"))
    assert (memory.pools["web@local"].wanted, memory.spend) == (9, None)
    known, of = ScaleMemory({}, spent(50.0, 99.0, currency="USD")["month"]), model(WEB, monthly=1)
    assert scale(of, of.releases["r1"], seen(MID, 1.0, 1, {}), known)[0].spend is None, (
        "of a budget in another currency"
    )


@pytest.mark.parametrize("is_missing", [True, False])
def test_the_last_figures_hold_while_newer_ones_are_missing(is_missing: bool) -> None:
    """Missing or stale, the verdict stays as it was last known, yes or no, and the decision says of when it is."""
    later = MID + 7200
    for old, wanted, words in (
        (spent(60.0, 99.0), 2, "would bring it to"),
        (spent(1.0, 2.0), 9, "budget: allowed"),
    ):
        of = model(WEB, monthly=60)
        memory, _ = scale(
            of, of.releases["r1"], seen(MID, 10.0, 2, old), ScaleMemory({"web@local": PoolScale(2, "", 0.0)})
        )
        said: list[Decision] = []
        for second in range(4):
            shot = seen(later + second, 400.0, 2, {} if is_missing else old)
            memory, more = scale(of, of.releases["r1"], shot, memory)
            said += more
        assert memory.pools["web@local"].wanted == wanted
        [decision] = said
        assert words in decision.clamps[0]
        assert "(by the figures of 2026-11-16 00:00 UTC: newer ones are missing)" in decision.clamps[0]


def test_an_hour_of_the_month_is_not_yet_what_is_usual() -> None:
    """A start that cost much in its first minutes does not stand for the month: what always runs does."""
    start = datetime(2026, 11, 1, 0, 10, tzinfo=UTC).timestamp()
    short = spent(0.5, 2160.0, now=start, seen_s=600.0)
    memory, _ = run(model(WEB, monthly=100), 400.0, short, start=start)
    assert memory.pools["web@local"].wanted == 9
    long = spent(0.5, 2160.0, now=start, seen_s=4000.0)
    memory, _ = run(model(WEB, monthly=100), 400.0, long, start=start)
    assert memory.pools["web@local"].wanted == 2


def test_what_always_runs_is_the_least_that_is_usual() -> None:
    """After a minimum was raised the rest of the month costs at least that, whatever the last day cost."""
    of = model(replace(WEB, scaling=replace(WEB.scaling, instances_min=3)), WORKER, regions=("west", "east"))
    fact = spent(40.0, 76.0)["month"]
    room = budget.room(of, of.releases["r1"], seen(MID, 1.0, 2, {}), fact)
    assert room.usual_per_hour == pytest.approx(0.8, abs=1e-5)


def test_the_last_hours_of_a_month_count_as_they_are() -> None:
    """With three hours left a day is three hours long: 9 EUR left buy 30 instances."""
    end = datetime(2026, 11, 30, 21, tzinfo=UTC).timestamp()
    of, fact = model(WEB, monthly=50), spent(41.0, 41.3, now=end)["month"]
    room = budget.room(of, of.releases["r1"], seen(end, 1.0, 2, {}), fact)
    assert (room.day_hours, round(room.per_hour_max, 6)) == (3.0, 3.0)
    assert round(room.month(3.0), 6) == 50.0


# --- who goes first ---------------------------------------------------------------------------------------------------


def choice(service: Service, region: str, had: int, wanted: int, sure: float, least: int = 0) -> Choice:
    """A pool that chose for itself."""
    key = f"{service.name}@{region}"
    made = Decision("", "scale", key, (), f"{key} needs {wanted}", confidence_ratio=sure) if wanted != had else None
    hour = Least(max(least, service.scaling.instances_min), None, "the hour")
    return Choice(key, service, PoolScale(had, "", 0.0), PoolScale(wanted, "", MID), made, hour)


def left_for(instances: int) -> float:
    """What is spent when, of a budget of 100, so many instances fit in a day, and hardly more."""
    return 100 - 33.6 - 2.4 * instances - 0.01


def settle(of: Model, choices: list[Choice], so_far: float) -> dict[str, int]:
    """What each pool gets when 0.10 an hour is usual and so much is spent."""
    shot = seen(MID, 1.0, 1, spent(so_far, so_far + 36.0))
    _, settled = bound(of, of.releases["r1"], shot, None, choices)
    return {c.key: pool.wanted for c, (pool, _) in zip(choices, settled, strict=True)}


def test_the_surest_go_first() -> None:
    """What is seen goes before a floor, a floor before what is expected, and that by how sure it is; then the edge, then the name."""
    other, of = replace(WEB, name="api", paths=("/api",)), model(WEB, monthly=100)
    seen_, floored = choice(WORKER, "local", 2, 5, 1.0), choice(WEB, "a", 2, 2, 1.0, least=5)
    likely, less = choice(WEB, "b", 2, 5, 0.998), choice(WEB, "c", 2, 5, 0.8)
    # 10 run; 100 - so_far - 33.6 over a day is what all may cost an hour.
    for fits, expected in (
        (10, (4, 2, 2, 2)),
        (12, (5, 3, 2, 2)),
        (15, (5, 5, 3, 2)),
        (18, (5, 5, 5, 3)),
        (20, (5, 5, 5, 5)),
    ):
        got = settle(of, [less, likely, floored, seen_], left_for(fits))
        assert tuple(got[c.key] for c in (seen_, floored, likely, less)) == expected
    archive = replace(WORKER, name="archive")
    alike = [choice(archive, "local", 1, 4, 1.0), choice(WEB, "local", 1, 4, 1.0), choice(other, "local", 1, 4, 1.0)]
    got = settle(of, alike, left_for(8))
    assert (got["api@local"], got["web@local"], got["archive@local"]) == (4, 3, 1)


def test_a_floor_on_top_of_load_waits_its_turn() -> None:
    """Of a pool that needs four and is floored at seven, the four go with what is seen and the rest with the floors."""
    of = model(WEB, monthly=100)
    first, second = choice(WEB, "a", 1, 4, 1.0, least=7), choice(WEB, "b", 1, 4, 1.0)
    got = settle(of, [first, second], left_for(9))
    assert (got["web@a"], got["web@b"]) == (5, 4)


CHOICES = st.lists(
    st.tuples(
        st.sampled_from([WEB, WORKER]),
        st.integers(1, 12),
        st.integers(1, 20),
        st.sampled_from([1.0, 0.95, 0.5]),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=6,
)


@given(CHOICES, st.floats(0, 150), st.integers(0, 19), st.data())
def test_what_holds_under_any_budget(
    made: list[tuple[Service, int, int, float, int]], so_far: float, more: int, data: st.DataObject
) -> None:
    """Never less than runs and is still wanted, never more than is wished, never dearer than the room unless it is kept; a pool that needs
    more gets no fewer, and a replay equals the original."""
    of = model(WEB, WORKER)
    choices = [choice(s, f"r{n}", had, wanted, sure, least) for n, (s, had, wanted, sure, least) in enumerate(made)]
    got = settle(of, choices, so_far)
    assert got == settle(of, choices, so_far)
    for each in choices:
        assert min(each.had, each.target) <= got[each.key] <= max(each.target, each.kept)
        assert got[each.key] >= each.service.scaling.instances_min
    fact = spent(so_far, so_far + 36.0)["month"]
    room = budget.room(of, of.releases["r1"], seen(MID, 1.0, 1, {}), fact).per_hour_max
    costs = sum(got[c.key] for c in choices) * budget.per_hour(of, WEB)
    kept = sum(c.kept for c in choices) * budget.per_hour(of, WEB)
    assert costs <= max(room, kept) + 1e-6
    index = data.draw(st.integers(0, len(choices) - 1))
    one = choices[index]
    if one.pool.wanted > one.had:
        heavier = [*choices]
        heavier[index] = choice(
            one.service, f"r{index}", one.had, min(20, one.pool.wanted + more), one.confidence_ratio, made[index][4]
        )
        assert settle(of, heavier, so_far)[one.key] >= got[one.key]
    richer = settle(of, choices, max(0.0, so_far - more))
    assert sum(richer.values()) >= sum(got.values())


@given(st.floats(0, 4000), st.floats(0, 2000), st.integers(1, 8), st.integers(1, 8), st.floats(0, 120))
def test_more_load_never_gives_fewer(in_flight: float, more: float, ready: int, wanted: int, so_far: float) -> None:
    """All else equal, under a budget that has room, little, or none."""
    of = model(WEB, monthly=100)
    sizes = []
    for load in (in_flight, in_flight + more):
        memory = ScaleMemory({"web@local": PoolScale(wanted, "", 0.0)})
        for second in range(12):
            shot = seen(MID + second, load, ready, spent(so_far, so_far + 36.0))
            memory, _ = scale(of, of.releases["r1"], shot, memory)
        sizes.append(memory.pools["web@local"].wanted)
    assert 1 <= sizes[0] <= sizes[1] <= 20


@example(400.0, 2.0, 0.0, 1, 0, 0.0)
@given(st.floats(1, 400), st.floats(1, 4), st.floats(0, 400), st.integers(1, 20), st.integers(0, 20), st.floats(0, 120))
def test_more_that_is_expected_never_gives_fewer(
    expected: float, times: float, in_flight: float, wanted: int, floored: int, so_far: float
) -> None:
    """All else equal a forecast of more never ends with fewer instances, within a floor's hours and under any budget."""
    floors = (Floor((0, 1, 2, 3, 4, 5, 6), 0, 1440, floored),) if floored else ()
    web = replace(WEB, scaling=Scaling(1, 20, TRIGGERS, Forecast(), floors=floors))
    of, sizes = model(web, monthly=100), []
    for load in (expected, expected * times):
        memory = ScaleMemory({"web@local": PoolScale(wanted, "", 0.0)})
        quantiles = tuple(tuple(load * high for _ in range(3)) for high in (0.5, 1.0, 1.5, 2.0))
        forecast = ForecastSeen(
            "web@local.requests_per_s",
            MID,
            load,
            (60.0, 600.0, 3600.0),
            (0.05, 0.5, 0.95, 0.99),
            quantiles,
            86_400.0,
        )
        for second in range(6):
            shot = replace(
                seen(MID + second, in_flight, wanted, spent(so_far, so_far + 36.0)),
                forecasts={forecast.key: forecast},
                works={"web@local": WorkSeen("web", "local", MID, busy_s=1.0, cpu_s=0.1, start_s=10.0)},
            )
            memory, _ = scale(of, of.releases["r1"], shot, memory)
        sizes.append(memory.pools["web@local"].wanted)
    assert 1 <= sizes[0] <= sizes[1] <= 20
    if in_flight == 0 and so_far == 0 and expected > 61:
        assert sizes[0] > 1, "the forecast was heard"


@given(st.lists(st.floats(-40 * 86_400, 40 * 86_400), max_size=10), st.floats(0, 120), st.floats(0, 2000))
def test_whatever_the_clock_does_nothing_is_taken_away(jumps: list[float], so_far: float, in_flight: float) -> None:
    """A clock that jumps by weeks and back leads to no number outside the bounds, to no error, and to the same again when replayed."""
    of, now = model(WEB, monthly=100), MID
    memory = ScaleMemory()
    for jump in (*jumps, 1.0, 1.0):
        now += jump
        shot = seen(now, in_flight, 2, spent(so_far, so_far + 36.0))
        before = memory
        memory, decisions = scale(of, of.releases["r1"], shot, before)
        assert (memory, decisions) == scale(of, of.releases["r1"], shot, before)
        assert 1 <= memory.pools["web@local"].wanted <= 20
