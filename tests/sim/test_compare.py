"""Policies compared: the figures are what they say, and the same setting tells the same story."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.effects.faults import Freeze, Kill
from tenfold.estimators.forecast import Forecasts
from tenfold.facts import CapacitySeen, ForecastSeen
from tenfold.model import Health, Model, Region, Scaling, Service
from tenfold.model.service import InstanceSize
from tenfold.sim.behaviour import Behaviour, costs_of
from tenfold.sim.compare import Blow, CannotRun, Setting, run
from tenfold.sim.queue import quantile_ms, station
from tenfold.sim.rates import Rate, constant, steps
from tenfold.sim.tally import Times, _PoolTally

BEGAN_AT = 1_767_571_200.0
"""2026-01-05T00:00Z."""
PLACES = {"a": (-37.8, 144.9), "b": (41.3, -95.9), "c": (50.4, 3.8)}


def setting(
    rates: Mapping[str, Rate],
    low: int = 1,
    high: int = 20,
    seconds: float = 1800.0,
    regions: str = "",
    start_s: float = 30.0,
) -> Setting:
    """One web service of which an instance holds about 90 requests/s."""
    web = Service("web", "serve", paths=("/",), health=Health("/up"), scaling=Scaling(low, high))
    there = {name: Region(name, PLACES[name]) for name in regions} or {"local": Region("local")}
    costs = Behaviour(start_s=start_s, start_spread_ratio=0.0, idempotent_ratio=1.0)
    return Setting(Model("shop", {"web": web}, there), rates, {"web": costs}, BEGAN_AT, seconds)


def test_the_same_setting_tells_the_same_story() -> None:
    """Everything follows from the seed, decisions and their words included; another seed draws other arrivals."""
    rising = setting({"web@local": steps((-1e9, 50.0), (600.0, 400.0))})
    first, again = run(rising, "reactive"), run(rising, "reactive")
    assert first == again
    assert run(replace(rising, seed=2), "reactive").offered != first.offered


def test_what_it_costs() -> None:
    """Three instances for half an hour, at the prices that are shipped, and nobody is short or lost."""
    outcome = run(setting({"web@local": constant(100.0)}, 3, 3), "reactive")
    each = 0.04048 + 0.5 * 0.004445
    assert outcome.cost == pytest.approx(3 * each / 2)
    assert outcome.cost_per_day == pytest.approx(3 * each * 24)
    assert (outcome.instances_min, outcome.instances_mean, outcome.instances_max) == (3, 3.0, 3)
    assert (outcome.actions, outcome.short_s, outcome.failed + outcome.refused) == (0, 0.0, 0.0)
    assert outcome.offered == pytest.approx(100 * 1800, rel=0.01)
    assert outcome.answered == pytest.approx(outcome.offered, rel=0.001)


def test_a_queue_asks_for_no_more_than_what_comes() -> None:
    """Three times the load while starts take two minutes: what waits grows all the while, and no pool grows beyond twice what is needed."""
    flood = setting({"web@local": steps((-1e9, 150.0), (900.0, 430.0))}, high=60, start_s=120.0)
    for name in ("reactive", "tenfold"):
        outcome = run(replace(flood, step_s=1.0, forecasts=Forecasts), name)
        assert outcome.failed > 1000, "it does wait"
        assert 5 <= outcome.instances_max <= 10
        assert outcome.short_s <= 130


def test_too_little_is_short_all_the_time() -> None:
    """One instance that is asked for twice what it can answers half of it late, loses the rest, and every second counts as short."""
    outcome = run(setting({"web@local": constant(200.0)}, 1, 1), "reactive")
    assert outcome.short_ratio == 1.0
    assert outcome.lost_ratio > 0.4
    assert outcome.p95_ms is not None and outcome.p95_ms > 5000


def test_the_oracle_is_never_short_and_nobody_is_cheaper_who_is_not() -> None:
    """It knows the jump before it comes; who only reacts is short at first, and keeps more afterwards."""
    jump = setting({"web@local": steps((-1e9, 80.0), (900.0, 500.0), (1500.0, 80.0))}, seconds=3600.0)
    oracle, hpa, reactive = (run(jump, name) for name in ("oracle", "hpa", "reactive"))
    assert oracle.short_s == 0.0
    assert reactive.short_s > 0 and hpa.short_s > 0
    assert oracle.cost < min(hpa.cost, reactive.cost)
    assert oracle.made and all(made.decision.why for made in oracle.made)


def test_a_region_lost_is_told() -> None:
    """What failed, when clients had recovered and when all was whole again is in the outcome, once for each blow."""
    rates = {f"web@{name}": constant(60.0) for name in "abc"}
    lost = Blow("region-freeze:c", 300.0, 120.0, (Freeze("region/c", 120.0),))
    three = setting(rates, 4, 8, seconds=2400.0, regions="abc")
    costs = {"web": replace(three.behaviours["web"], idempotent_ratio=0.5)}
    outcome = run(replace(three, blows=(lost,), behaviours=costs), "reactive")
    [struck] = outcome.struck
    assert (struck.name, struck.at_s, struck.lasts_s) == ("region-freeze:c", 300.0, 120.0)
    assert struck.failed > 0 and struck.failed == pytest.approx(outcome.failed, abs=1.0)
    assert struck.recovered_s is not None and struck.recovered_s < 150
    assert struck.whole_s is not None and struck.whole_s > 120


def test_a_surge_multiplies_the_load_while_it_lasts() -> None:
    """Three times the load for ten minutes is counted in what is offered, and known to the oracle."""
    calm = setting({"web@local": constant(50.0)})
    surge = replace(calm, blows=(Blow("traffic-spike", 600.0, 600.0, times=3.0),))
    outcome = run(surge, "oracle")
    assert outcome.offered == pytest.approx(50 * 1200 + 150 * 600, rel=0.01)
    assert outcome.short_s == 0.0 and outcome.instances_max >= 2


def test_a_lost_control_plane_comes_back() -> None:
    """While nobody decides the app goes on serving; the one that returns adopts what runs."""
    gone = Blow("control-plane-kill", 300.0, 60.0, (Kill("control", 60.0),))
    outcome = run(replace(setting({"web@local": constant(50.0)}, 2, 4), blows=(gone,)), "reactive")
    assert outcome.failed == 0 and outcome.struck[0].recovered_s == 0.0
    assert not [made for made in outcome.made if 300 < made.at_s < 360]


def test_what_cannot_be_struck_is_a_sentence() -> None:
    """A fault upon something that is not there stops the run with its name."""
    nobody = Blow("freeze", 300.0, 10.0, (Freeze("valkey/mars", 10.0),))
    with pytest.raises(CannotRun, match="freeze: There is no valkey/mars"):
        run(replace(setting({"web@local": constant(50.0)}), blows=(nobody,)), "reactive")


def test_an_app_that_never_starts_is_a_sentence() -> None:
    """Nothing is measured of a project that does not come up."""
    broken = replace(setting({"web@local": constant(1.0)}), behaviours={"web": Behaviour(start_fails_ratio=1.0)})
    with pytest.raises(CannotRun, match="does not come up under reactive"):
        run(broken, "reactive")


def test_a_policy_that_there_is_not() -> None:
    """The name is refused with those that there are."""
    with pytest.raises(ValueError, match="there is no policy 'hap'; did you mean hpa"):
        run(setting({"web@local": constant(1.0)}), "hap")


class Seer:
    """Forecasts that all goes on as it was."""

    def __init__(self) -> None:
        self.minutes: list[tuple[int, dict[str, float]]] = []

    def load(self, history: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        for minute, values in history:
            self.observe(minute, values)

    def observe(self, minute: int, values: Mapping[str, float]) -> None:
        self.minutes.append((minute, dict(values)))

    def facts(self, now: float) -> tuple[ForecastSeen, ...]:
        value = self.minutes[-1][1].get("web@local.requests_per_s", 0.0) if self.minutes else 0.0
        return (ForecastSeen("web@local.requests_per_s", now, value, (300.0,), (0.5, 0.95), ((value,), (value,))),)


def test_the_forecaster_hears_every_minute_once_and_in_order() -> None:
    """What was before comes first; minutes before the counted time are those of the history, also where users were still coming."""
    seers: list[Seer] = []

    def make(model: Model) -> Seer:
        seers.append(Seer())
        return seers[-1]

    first = int(BEGAN_AT // 60) - 300
    history = {first + i: {"web@local.requests_per_s": 7.0} for i in range(300)}
    one = replace(setting({"web@local": constant(50.0)}), forecasts=make, history=history)
    for name in ("reactive", "tenfold"):
        run(one, name)
    _, seer = seers
    assert "web@local.in_flight" in seers[0].minutes[-1][1], "what requests take is learnt without a forecast too"
    minutes = [minute for minute, _ in seer.minutes]
    assert minutes == list(range(first, minutes[-1] + 1))
    before = [values for minute, values in seer.minutes if minute < BEGAN_AT // 60]
    after = [values["web@local.requests_per_s"] for minute, values in seer.minutes if minute >= BEGAN_AT // 60]
    assert all(values["web@local.requests_per_s"] == 7.0 for values in before)
    assert len(after) >= 28 and all(40 < value < 60 for value in after)
    assert "web@local.in_flight" in seer.minutes[-1][1]


def test_changes_and_flaps_are_counted() -> None:
    """A change is an action; one that takes back the one before within ten minutes is a flap, two ups are none."""
    pool = _PoolTally()
    for at_s, wanted in ((0, 2), (10, 2), (20, 4), (30, 5), (500, 3), (2000, 4), (2600, 3), (3300, 4)):
        pool.want(wanted, float(at_s))
    assert (pool.actions, pool.flaps) == (6, 2)


@given(st.floats(1e-4, 10.0), st.floats(1e-4, 10.0), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_quantiles_of_one_kind_of_answer_are_exact_to_a_percent(fixed_s: float, random_s: float, ratio: float) -> None:
    """A fixed time and an exponential one: the formula of the queue and the books of the tally agree."""
    times = Times()
    times.add(1000.0, fixed_s, random_s)
    assert times.quantile_ms(ratio) == pytest.approx(quantile_ms(fixed_s, random_s, ratio), rel=0.015)


def test_quantiles_of_two_kinds_of_answers() -> None:
    """Of nine quick answers to one slow one the 95th percentile is in the middle of the slow ones."""
    times = Times()
    assert times.quantile_ms(0.5) is None
    times.add(900.0, 0.001, 1e-6)
    times.add(100.0, 1.0, 1.0)
    assert times.quantile_ms(0.5) == pytest.approx(1.0, rel=0.02)
    assert times.quantile_ms(0.95) == pytest.approx(1000 * (1 + math.log(2)), rel=0.02)


@given(st.floats(1.0, 100.0), st.floats(0.0, 200.0), st.floats(0.5, 8.0), st.integers(1, 500), st.floats(10.0, 2000.0))
def test_what_an_instance_holds(
    cpu_ms: float, wait_ms: float, cores: float, concurrency: int, latency_ms: float
) -> None:
    """At that rate 95 of 100 answers are in time, and a little above it they are not, or the queue grows."""
    one = station(cpu_ms, wait_ms, cores, concurrency)
    rate = one.holds_per_s(latency_ms)

    def late_ms(per_s: float) -> float:
        return quantile_ms(one.wait_s, one.cpu_s + one.queueing_s(per_s), 0.95)

    assert 0 <= rate < one.capacity_per_s
    assert rate == 0 or late_ms(rate) <= latency_ms * (1 + 1e-6)
    assert rate * 1.001 > 0.99 * one.capacity_per_s or late_ms(max(rate * 1.001, 1e-3)) > latency_ms * (1 - 1e-6)


@given(st.floats(1.0, 50.0), st.floats(0.0, 100.0), st.floats(0.5, 4.0), st.floats(0.3, 0.95))
def test_costs_of_what_was_measured(cpu_ms: float, wait_ms: float, cores: float, use: float) -> None:
    """From what `tenfold measure` tells of an instance its costs are found again."""
    one = station(cpu_ms, wait_ms, cores, 10**9)
    per_s = use * one.capacity_per_s
    random_s = one.cpu_s + one.queueing_s(per_s)
    at_hand, late_ms = per_s * (one.wait_s + random_s), quantile_ms(one.wait_s, random_s, 0.95)
    seen = CapacitySeen("web", "office", "source", per_s, at_hand, 100.0, late_ms, 0.0, 0.0, 0.0)
    found_cpu_ms, found_wait_ms = costs_of(seen, InstanceSize(cpu_cores=cores))
    assert found_cpu_ms == pytest.approx(cpu_ms, rel=0.01)
    assert found_wait_ms == pytest.approx(wait_ms, rel=0.01, abs=0.05)
