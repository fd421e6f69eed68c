"""Scaling by what one instance was measured to hold: it adds, it must agree to let go, and without a sound figure it changes nothing."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.deciders.scale.pool import scale_pool
from tenfold.deciders.scale.triggers import held_by_one
from tenfold.effects import Decision
from tenfold.facts import CapacitySeen, InstanceSeen, InstanceState, PoolSeen, Snapshot
from tenfold.model import Model, Region, Release, Scaling, Service, Trigger

WEB = Service("web", "serve {port}", scaling=Scaling(2, 8, (Trigger("concurrency", 60, 30, 5),)))
RELEASE = Release("r1", {"web": WEB}, source_digest="s1", made_at=0.0)
HELD = CapacitySeen("web", "office", "s1", 50.0, 9.0, 550.0, 500.0, 60.0, 900.0, 900.0, command="serve {port}")


def settled(
    rps: float,
    ready: int,
    wanted: int,
    held: CapacitySeen | None = HELD,
    service: Service = WEB,
    in_flight: float = 1.0,
) -> tuple[PoolScale, list[Decision]]:
    """The pool after a steady load was looked at for twelve seconds, and what was decided."""
    memory, decisions = PoolScale(wanted, "", 0.0), []
    for second in range(12):
        memory, decision = scale_pool(service, "local", *seen(1000.0 + second, rps, ready, in_flight), memory, held)
        decisions += [decision] if decision else []
    return memory, decisions


def seen(now: float, rps: float, ready: int, in_flight: float = 1.0) -> tuple[list[InstanceSeen], Snapshot]:
    """So many ready instances that share so many requests per second."""
    instances = [
        InstanceSeen(f"web-{n}", "web", "local", "r1", InstanceState.READY, now - 60, now - 61, now, port=1)
        for n in range(ready)
    ]
    pool = PoolSeen("web", "local", now, requests_per_s=rps, in_flight=in_flight)
    observed = {"process": now, "gateway": now, "capacity": now}
    shot = Snapshot(now, 1, observed=observed, instances={i.id: i for i in instances}, pools={pool.key: pool})
    return instances, replace(shot, capacities={HELD.key: HELD})


def test_more_than_the_instances_hold_adds_and_says_what_was_measured() -> None:
    """210 requests/s on three instances that hold 50 each are too many, however few of them are at hand at any moment."""
    memory, [decision] = settled(210.0, 3, 3)
    assert memory.wanted == 7
    assert decision.why == (
        "web@local needs 7 instances instead of 3: 210 requests/s are 1.4 times what 3 instances hold (measured: 50 each), above 80%"
    )


def test_it_must_agree_before_an_instance_is_let_go() -> None:
    """Two instances' worth of requests keep four instances, though next to nothing is at hand; with fewer of them one goes."""
    calm = replace(
        WEB, scaling=replace(WEB.scaling, triggers=(*WEB.scaling.triggers, Trigger("capacity", 0.8, 0.5, 5)))
    )
    assert settled(130.0, 4, 4, service=calm)[0].wanted == 4, "65% of what four hold: inside the band"
    assert settled(130.0, 4, 4, None, service=calm)[0].wanted == 2, "without a measurement concurrency alone decides"
    memory, [decision] = settled(90.0, 4, 4, service=calm)
    assert memory.wanted == 3
    assert "90 requests/s are 0.45 times what 4 instances hold (measured: 50 each), below 50%" in decision.why


def test_nothing_measured_changes_nothing() -> None:
    """Without a figure every decision is what it was, also when the blueprint names the trigger."""
    named = replace(
        WEB, scaling=replace(WEB.scaling, triggers=(*WEB.scaling.triggers, Trigger("capacity", 0.8, 0.5, 5)))
    )
    for rps, ready in ((210.0, 3), (10.0, 4)):
        plain = settled(rps, ready, ready, None)
        assert plain == settled(rps, ready, ready, None, service=named)


def test_what_was_measured_of_something_else_says_nothing() -> None:
    """Another source, another command, or a file that could not be read for a minute: no figure."""
    _, now = seen(1000.0, 1.0, 2)
    assert held_by_one(WEB, RELEASE, now) == HELD
    assert held_by_one(WEB, replace(RELEASE, source_digest="s2"), now) is None
    assert held_by_one(replace(WEB, command="serve --workers 4 {port}"), RELEASE, now) is None
    assert held_by_one(WEB, RELEASE, replace(now, observed={**now.observed, "capacity": 900.0})) is None


def test_of_several_scenarios_the_one_that_asks_most_counts() -> None:
    """Whoever measured two scenarios is safe under both."""
    _, now = seen(1000.0, 1.0, 2)
    heavy = replace(HELD, scenario="reports", requests_per_s=12.0)
    assert held_by_one(WEB, RELEASE, replace(now, capacities={c.key: c for c in (HELD, heavy)})) == heavy


def test_the_serving_release_is_what_is_compared() -> None:
    """The whole decider finds the figure in the snapshot by the release that serves."""
    memory = ScaleMemory({"web@local": PoolScale(3, "", 0.0)})
    model = Model("shop", {"web": WEB}, {"local": Region("local")})
    for release in (RELEASE, replace(RELEASE, source_digest="s2")):
        after, now = memory, 1000.0
        for second in range(3):
            after, _ = scale(model, release, seen(now + second, 210.0, 3)[1], after)
        assert after.pools["web@local"].wanted == (7 if release is RELEASE else 3)


def test_a_service_that_does_not_listen_knows_no_such_trigger() -> None:
    """Requests say nothing about a worker."""
    worker = replace(WEB, http=False, scaling=Scaling(1, 4, (Trigger("capacity", 0.8, 0.5, 5),)))
    assert settled(500.0, 1, 1, None, service=worker)[0].wanted == 1


@given(
    rps=st.floats(0, 5000),
    more=st.floats(0, 5000),
    each=st.floats(0.5, 1000),
    ready=st.integers(1, 8),
    wanted=st.integers(2, 8),
    in_flight=st.floats(0, 1000),
)
def test_more_requests_never_give_fewer_instances(
    rps: float, more: float, each: float, ready: int, wanted: int, in_flight: float
) -> None:
    """All else equal more requests never end with a smaller pool, a better instance never asks for more of them, and bounds are kept."""
    held = replace(HELD, requests_per_s=each)
    low = settled(rps, ready, wanted, held, in_flight=in_flight)[0].wanted
    high = settled(rps + more, ready, wanted, held, in_flight=in_flight)[0].wanted
    better = settled(rps, ready, wanted, replace(held, requests_per_s=2 * each), in_flight=in_flight)[0].wanted
    assert 2 <= better <= low <= high <= 8
