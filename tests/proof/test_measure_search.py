"""The search for what is held, over made-up systems in no time at all: queues that bend, noise, a machine that is not ours."""

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.measure import Goal, Held, NothingHeld, Pace, Point, Standing, search
from tenfold.proof.measure.search import PRECISION_RATIO, STEP_S_MAX

GOAL = Goal(latency_ms=500.0, error_ratio=0.001)


class System:
    """A made-up app that takes `base_ms` and holds `limit_rps`: near it the queue grows as in a queue of one server, above it by what is
    too much. `noise` (0..1) changes each time, `flaw` may spoil a point."""

    def __init__(
        self,
        limit_rps: float,
        base_ms: float = 50.0,
        noise: float = 0.0,
        flaw: Callable[["System", float], dict[str, object]] = lambda system, rate: {},
    ) -> None:
        self.limit_rps = limit_rps
        self.base_ms = base_ms
        self.noise = noise
        self.flaw = flaw
        self.random = Random(1)
        self.loads: list[tuple[float, float]] = []

    async def __call__(self, rate: float, seconds: float) -> Point:
        """What a load of `rate` for `seconds` shows."""
        self.loads.append((rate, seconds))
        busy = rate / self.limit_rps
        p95 = 3 * self.base_ms / (1 - busy) ** 0.25 if busy < 1 else 1000 * seconds * (busy - 1) + 2 * GOAL.latency_ms
        p95 *= math.exp(self.random.gauss(0, self.noise)) if self.noise else 1.0
        figures: dict[str, object] = {
            "rate": rate,
            "offered_rps": rate,
            "answered_rps": min(rate, self.limit_rps),
            "requests": int(rate * seconds),
            "failed_ratio": 0.0,
            "mean_ms": p95 / 3,
            "p95_ms": p95,
            "late_p95_ms": p95,
        }
        return Point(**{**figures, **self.flaw(self, rate)})  # type: ignore[arg-type]


async def searched(system: System, start: float = 10.0, goal: Goal = GOAL) -> Held:
    """What the search finds there."""
    return await search(system, goal, start, 1.0, lambda point, standing: None)


@given(limit=st.floats(5, 20_000), start=st.floats(0.2, 40_000), base_ms=st.floats(1, 60))
async def test_the_edge_is_found_wherever_it_lies_and_the_search_begins(
    limit: float, start: float, base_ms: float
) -> None:
    """Whatever an app holds and whatever is guessed first, the load found is held, and one 4% above it is not."""
    system = System(limit, base_ms)
    found = await searched(system, start)
    assert found.edge.standing(GOAL) is Standing.HELD
    assert found.above is Standing.MISSED
    assert found.edge.rate < found.above_rate <= found.edge.rate * (1 + PRECISION_RATIO) * 1.0001
    assert len(system.loads) <= 45, (
        "eight doublings from a start that is far off, four halvings, three looks at the edge"
    )


@given(limit=st.floats(50, 2000), seed=st.integers(0, 10_000))
async def test_noise_does_not_lead_it_far_astray(limit: float, seed: int) -> None:
    """With response times that differ by a tenth from step to step, what is found lies within 10% of the truth."""
    system = System(limit, noise=0.1)
    system.random = Random(seed)
    found = await searched(system)
    assert 0.9 * limit <= found.edge.rate <= 1.02 * limit


async def test_a_quick_burst_of_a_neighbour_does_not_halve_the_figure() -> None:
    """A load that was missed once by bad luck is asked for again before it counts."""

    def unlucky(system: System, rate: float) -> dict[str, object]:
        return {"p95_ms": 900.0} if len(system.loads) == 3 else {}

    found = await searched(System(400, flaw=unlucky))
    assert found.edge.rate > 0.9 * 400


async def test_doubtful_steps_are_made_again() -> None:
    """Every second step is late by its own fault and misses: the edge is found all the same, from the good ones."""

    def late(system: System, rate: float) -> dict[str, object]:
        return {"doubts": ("the generator was late",), "p95_ms": 900.0} if len(system.loads) % 2 else {}

    found = await searched(System(400, flaw=late))
    assert 0.9 * 400 <= found.edge.rate <= 400
    assert not found.edge.doubts


async def test_a_generator_that_gives_out_first_leaves_a_lower_bound() -> None:
    """Above 200/s nothing can be trusted though the app holds 1,000: what is found says that it is only the least."""

    def weak(system: System, rate: float) -> dict[str, object]:
        return {"doubts": ("the generator used 95% of its core",), "p95_ms": 900.0} if rate > 200 else {}

    found = await searched(System(1000, flaw=weak))
    assert found.above is Standing.DOUBTFUL
    assert 190 <= found.edge.rate <= 200


async def test_neighbours_excuse_what_was_missed_and_not_what_was_held() -> None:
    """On a machine that others use, a load that is held is held, and one that is missed is doubtful."""

    def shared(system: System, rate: float) -> dict[str, object]:
        return {"doubts": ("other programs used 1.5 cores",)}

    found = await searched(System(300, flaw=shared))
    assert found.above is Standing.DOUBTFUL
    assert 0.9 * 300 <= found.edge.rate <= 300


async def test_a_queue_that_only_grows_is_not_held() -> None:
    """A step whose 95th percentile is still good while its last third is not would never be held for long."""
    point = Point(100, 100, 98, 800, 0.0, 200.0, 450.0, late_p95_ms=700.0)
    assert point.standing(GOAL) is Standing.MISSED


async def test_an_app_that_is_too_slow_for_its_target_is_told_so() -> None:
    """When even the lightest load misses the target no number of instances helps, and the message says that."""
    with pytest.raises(NothingHeld, match="no number of instances helps"):
        await searched(System(1000, base_ms=400.0))


async def test_an_app_that_fails_is_told_so() -> None:
    """Requests that fail at any load are something to mend, not to measure."""
    with pytest.raises(NothingHeld, match=r"5\.0% of the requests fail"):
        await searched(System(1000, flaw=lambda system, rate: {"failed_ratio": 0.05}))


async def test_when_nothing_can_be_trusted_nothing_is_told() -> None:
    """A generator that is always late ends the search with its reason instead of a figure."""
    with pytest.raises(NothingHeld, match="no figure could be trusted: late"):
        await searched(System(1000, flaw=lambda system, rate: {"doubts": ("late",), "p95_ms": 900.0}))


async def test_slow_loads_are_given_the_time_that_a_percentile_needs() -> None:
    """Every step near the edge is long enough for its requests to know their 95th percentile, and none is longer than a minute."""
    system = System(20.0, base_ms=60.0)
    await searched(system, 5.0)
    assert all(seconds >= min(Pace().count / rate, STEP_S_MAX) - 1e-6 for rate, seconds in system.loads[-3:])
    assert all(seconds <= STEP_S_MAX for _, seconds in system.loads)
