"""Makes one steady load of a scenario on a trial, and says what came of it and what it cost.

Stage: a rate of actions -> `proof.load` in processes of its own -> a `Point`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tenfold.drivers.procs import Processes
from tenfold.estimators.users import GENERATOR
from tenfold.model import Scenario
from tenfold.proof.load import LoadResult, Progress, RateCurve, Target, UserPlan, run_users
from tenfold.proof.measure.cost import Used, between, cores, look
from tenfold.proof.measure.search import Point

RISE_STEPS = 6
CALM_LOOK_S = 0.4
CALM_CORES = 0.1
CALM_S_MAX = 60.0
FULL_RATIO = 0.8
TAKEN_RATIO = 0.25
OURS_RATIO = 0.25
"""Others may have spoiled a load when so much of the machine was in use, so much of it by them, and so much by us: what uses less gets its
turn at once, however many others wait."""


@dataclass(slots=True)
class TrialProbe:
    """Loads `target`, the edge of a trial whose processes are `processes`, and its control plane `control_plane`."""

    target: Target
    scenario: Scenario
    processes: Processes
    control_plane: int | None
    timeout_s: float
    warm_up_s: float = 2.0
    on_progress: Callable[[Progress], None] | None = None
    steps: int = 0
    idle_cores: float | None = None

    async def __call__(self, rate: float, seconds: float) -> Point:
        """One step, after a warm-up in which connections are made, new users sign in, and queues of the step before run dry. Another seed
        each time, so that a repeat is one. Raises `LoadError`."""
        self.steps += 1
        await self._calm()
        # Slowly at first: a crowd that signs in all at once would be another load than the one that is asked for.
        rise = ((self.warm_up_s / RISE_STEPS, rate * step / (RISE_STEPS + 1)) for step in range(1, RISE_STEPS + 1))
        curve = RateCurve.steps(*rise, (seconds, rate))
        plan = UserPlan(
            self.target,
            self.scenario,
            arrivals=curve,
            seed=self.steps,
            timeout_s=self.timeout_s,
            warm_up_s=self.warm_up_s,
        )
        before = look(self.processes, self.control_plane)
        running = asyncio.ensure_future(run_users(plan, self.on_progress))
        try:
            # What is used is looked at while the load lasts: the last answers of an overload may be long in coming.
            await asyncio.wait({running}, timeout=self.warm_up_s)
            before = look(self.processes, self.control_plane)
            await asyncio.wait({running}, timeout=seconds)
            after = look(self.processes, self.control_plane)
            result = await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return point(rate, seconds, self.warm_up_s, result, between(before, after))

    async def _calm(self) -> None:
        """Wait until the app uses no more than it did before the first step: after an overload it goes on with what nobody waits for any
        more, and that would be taken for the next load's doing."""
        until_s = time.monotonic() + CALM_S_MAX
        while True:
            before = look(self.processes, None)
            await asyncio.sleep(CALM_LOOK_S)
            used = sum(between(before, look(self.processes, None)).parts.values())
            if self.idle_cores is None:
                self.idle_cores = used
            if used <= self.idle_cores + CALM_CORES or time.monotonic() > until_s:
                return


def point(rate: float, seconds: float, warm_up_s: float, result: LoadResult, used: Used) -> Point:
    """What a load of `rate` actions/s for `seconds` (after `warm_up_s`) shows."""
    parts = {**used.parts, GENERATOR: result.cpu_percent / 100}
    taken_cores = max(0.0, used.machine_cores - sum(parts.values()))
    third = [
        s.p95_ms for s in result.seconds if s.p95_ms is not None and 2 / 3 <= (s.at_s - warm_up_s) / seconds <= 1.1
    ]
    failed = result.failed + result.refused + result.unsent
    return Point(
        rate=rate,
        offered_rps=result.due / seconds,
        answered_rps=_answered_rps(result, seconds, warm_up_s),
        requests=result.due,
        failed_ratio=failed / max(result.due, 1),
        mean_ms=result.response.mean_ms or 0.0,
        p95_ms=result.response.p95_ms,
        late_p95_ms=sum(third) / len(third) if third else result.response.p95_ms,
        action_ms=_action_ms(result),
        doubts=(*result.invalid, *_disturbed(taken_cores, sum(parts.values()))),
        cpu_cores=parts,
        taken_cores=taken_cores,
    )


def _answered_rps(result: LoadResult, seconds: float, warm_up_s: float) -> float:
    """Answers within the step itself: those of an overload that come afterwards are no throughput."""
    within = [s for s in result.seconds if warm_up_s < s.at_s <= warm_up_s + seconds + 0.5]
    if len(within) < 2:
        return result.answered / seconds
    return sum(s.answered for s in within[1:]) / max(within[-1].at_s - within[0].at_s, 1e-3)


def _action_ms(result: LoadResult) -> float:
    """The mean response time of an action, in ms."""
    timed = [(part.count, part.response.mean_ms) for part in result.actions if part.response.mean_ms is not None]
    count = sum(number for number, _ in timed)
    return sum(number * ms for number, ms in timed) / count if count else result.response.mean_ms or 0.0


def _disturbed(taken_cores: float, ours_cores: float) -> tuple[str, ...]:
    """Why others may have spoiled a load: they took much of a machine that was full, and we might have used more than our share of it."""
    has_room = taken_cores + ours_cores < FULL_RATIO * cores()
    if has_room or taken_cores < TAKEN_RATIO * cores() or ours_cores < OURS_RATIO * cores():
        return ()
    return (
        f"other programs used {taken_cores:.1f} of this machine's {cores()} cores meanwhile: end them, or measure elsewhere",
    )
