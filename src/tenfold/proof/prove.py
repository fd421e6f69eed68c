"""Walks the targets: makes the load and the harm that each needs, and gathers the evidence. Stage: acts -> load, drill -> report.

First people come and stay; where they ask for less than the throughput target, a load at a fixed rate follows; then an instance dies.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tenfold.loop import Tick
from tenfold.proof.acts import DRILL_S, RATE_MARGIN, RATE_WARM_UP_S, Ask, Crowd, acts_of, steps_in_mean
from tenfold.proof.course import course_of, database_of, limit_of, replaced_s
from tenfold.proof.drills.result import DrillResult
from tenfold.proof.drills.stage import DrillRefused
from tenfold.proof.evidence import Evidence, Recovered
from tenfold.proof.gather import ended_of, held_of, recovered_of
from tenfold.proof.load import LoadError, LoadResult, Progress, RateCurve, UserCurve, UserPlan
from tenfold.proof.report import Moment, Report, Setting, Span
from tenfold.proof.verdict import judge
from tenfold.proof.words import many, rate, seconds

AGAIN_S = 15.0
"""After a drill that was refused."""
ON_HALT = "the proof was stopped before it came to that"


class Ground(Protocol):
    """Where a proof takes place."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def pause(self, wait_s: float, stop: asyncio.Event) -> None:
        """Let time pass, or less of it when `stop` is set."""
        ...

    async def play(self, plan: UserPlan, heard: Callable[[Progress], None], stop: asyncio.Event) -> LoadResult:
        """Make a load. Raises `LoadError`."""
        ...

    async def drill(self, name: str, tell: Callable[[str], None], stop: asyncio.Event) -> DrillResult:
        """Play a drill. Raises `DrillRefused`."""
        ...

    def ticks(self, from_at: float, to_at: float) -> Sequence[Tick]:
        """What the journal keeps of a stretch of time (seconds since the epoch)."""
        ...


class Audience(Protocol):
    """Who watches a proof."""

    def act(self, text: str, lasts_s: float) -> None:
        """Something begins that takes about so long."""
        ...

    def load(self, progress: Progress) -> None:
        """A second of load."""
        ...

    def say(self, text: str) -> None:
        """Something else happened."""
        ...


@dataclass(slots=True)
class _Seen:
    """What came together so far."""

    spans: list[Span] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    drills: list[DrillResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    method: list[str] = field(default_factory=list)
    evidence: Evidence = Evidence()


async def prove(ask: Ask, ground: Ground, audience: Audience, stop: asyncio.Event, setting: Setting) -> Report:
    """Make the load and the harm, and judge. When `stop` is set, all of it ends, and the report says that it is incomplete."""
    proof = _Proof(ask, ground, audience, stop)
    await proof.walk()
    return proof.report(setting)


class _Proof:
    """One proof under way."""

    def __init__(self, ask: Ask, ground: Ground, audience: Audience, stop: asyncio.Event) -> None:
        self._ask, self._ground, self._audience, self._stop = ask, ground, audience, stop
        self._acts = acts_of(ask)
        self._started_at = ground.now()
        self._seen = _Seen()
        self._halted = ""

    async def walk(self) -> None:
        """Do each act, unless the proof is stopped before."""
        acts, gaps = self._acts, dict[str, str]()
        if acts.crowd is not None:
            await self._people(acts.crowd)
        if acts.rate_rps is not None and not self._stop.is_set() and self._is_rate_needed(acts.rate_rps):
            await self._rate(acts.rate_rps, acts.rate_s)
        if acts.drill is not None:
            if self._stop.is_set():
                gaps["recovery"] = ON_HALT
            else:
                await self._harm(acts.drill)
        self._seen.evidence = replace(self._seen.evidence, gaps=gaps)

    def _is_rate_needed(self, asked_rps: float) -> bool:
        held = self._seen.evidence.users
        return held is None or held.answered_rps < asked_rps

    async def _people(self, crowd: Crowd) -> None:
        ask = self._ask
        text = f"{many(crowd.users, 'user')} come within {seconds(crowd.ramp_s)}, then stay for {seconds(crowd.hold_s)}"
        plan = UserPlan(
            ask.target,
            ask.scenario,
            users=UserCurve.ramp(crowd.users, crowd.ramp_s, crowd.settle_s + crowd.hold_s),
            seed=ask.seed,
            warm_up_s=crowd.warm_up_s,
        )
        result, from_at = await self._play(plan, text, crowd.lasts_s)
        if result is None:
            return
        begin_s = from_at - self._started_at
        self._span(f"{crowd.users:,} users come", "ramp", begin_s, min(crowd.warm_up_s, result.duration_s))
        self._span(
            f"{crowd.users:,} users at once", "load", begin_s + crowd.warm_up_s, result.duration_s - crowd.warm_up_s
        )
        held = held_of(result, ask.scenario, crowd.users, crowd.warm_up_s, crowd.hold_s)
        ticks = self._ground.ticks(from_at + crowd.warm_up_s, from_at + result.duration_s)
        self._add(result)
        self._seen.evidence = replace(
            self._seen.evidence,
            users=held,
            database=database_of(ticks),
            limit=limit_of(ticks, ask.model, ask.cores),
        )
        self._seen.method.append(
            f"{many(crowd.users, 'user')} of the scenario `{ask.scenario.name}` came within {seconds(crowd.ramp_s)}, and after "
            f"{seconds(crowd.settle_s)} more stayed for {seconds(crowd.hold_s)}, which is what is judged. Each does one "
            f"action after another, with pauses of {seconds(ask.scenario.think_s)} in the mean. Response times count from "
            "when a request was due."
        )

    async def _rate(self, asked_rps: float, lasts_s: float) -> None:
        ask = self._ask
        actions_per_s = asked_rps * RATE_MARGIN / max(steps_in_mean(ask.scenario), 0.01)
        text = f"{rate(asked_rps * RATE_MARGIN)} requests, whether or not earlier ones are answered"
        curve = RateCurve.steps((RATE_WARM_UP_S, actions_per_s / 2), (lasts_s - RATE_WARM_UP_S, actions_per_s))
        plan = UserPlan(ask.target, ask.scenario, arrivals=curve, seed=ask.seed, warm_up_s=RATE_WARM_UP_S)
        result, from_at = await self._play(plan, text, lasts_s)
        if result is None:
            return
        self._span(f"{rate(asked_rps)} and more", "rate", from_at - self._started_at, result.duration_s)
        held = held_of(result, ask.scenario, asked_rps * RATE_MARGIN, RATE_WARM_UP_S, lasts_s - RATE_WARM_UP_S)
        self._add(result)
        limit = self._seen.evidence.limit or limit_of(
            self._ground.ticks(from_at + RATE_WARM_UP_S, from_at + result.duration_s), ask.model, ask.cores
        )
        self._seen.evidence = replace(self._seen.evidence, rate=held, limit=limit)
        self._seen.method.append(
            f"The users asked for less than the throughput target, so actions were begun at a fixed rate for "
            f"{seconds(lasts_s - RATE_WARM_UP_S)}, {RATE_MARGIN - 1:.0%} above it, whether or not earlier ones were answered."
        )

    async def _play(self, plan: UserPlan, text: str, lasts_s: float) -> tuple[LoadResult | None, float]:
        """Make a load; None when it could not be made, which is noted."""
        self._audience.act(text, lasts_s)
        from_at = self._ground.now()
        try:
            result = await self._ground.play(plan, self._audience.load, self._stop)
        except LoadError as error:
            self._seen.notes.append(f"A load could not be made: {error}.")
            self._audience.say(f"the load could not be made: {error}")
            return None, from_at
        if result.interrupted:
            self._halted = self._halted or f"it was stopped while {text}"
        self._seen.notes += [f"The load ({text}) was spoilt: {reason}." for reason in result.invalid]
        return result, result.started_at_s

    def _span(self, name: str, kind: str, from_s: float, lasts_s: float) -> None:
        if lasts_s > 0:
            self._seen.spans.append(Span(name, kind, max(from_s, 0.0), from_s + lasts_s))

    def _add(self, result: LoadResult) -> None:
        """Count a load in, its ramp too."""
        begin_s = result.started_at_s - self._started_at
        evidence, moments, before_s = self._seen.evidence, [], 0.0
        for second in result.seconds:
            lasted_s = max(second.at_s - before_s, 1e-3)
            before_s = second.at_s
            bad = second.failed + second.refused
            moments.append(
                Moment(
                    *(begin_s + second.at_s, second.users, second.answered / lasted_s, bad),
                    *(second.p50_ms, second.p95_ms, second.p99_ms),
                )
            )
        if self._seen.moments and moments:
            # Between two loads nothing is measured.
            gap_s = (self._seen.moments[-1].at_s + moments[0].at_s) / 2
            self._seen.moments.append(Moment(gap_s, 0, 0.0, 0))
        self._seen.moments += moments
        ended, bad = ended_of(result)
        self._seen.evidence = replace(
            evidence,
            requests=evidence.requests + ended,
            bad=evidence.bad + bad,
            made_s=evidence.made_s + result.duration_s,
        )

    async def _harm(self, name: str) -> None:
        self._audience.act(f"the drill {name}", DRILL_S)
        from_s = self._ground.now() - self._started_at
        result = await self._drilled(name)
        if result is None:
            return
        self._seen.drills.append(result)
        ticks = self._ground.ticks(result.struck_at - 10.0, self._ground.now())
        replaced = replaced_s(ticks, result.subjects[0], result.struck_at) if result.subjects else None
        self._seen.notes += [
            f"The load beside the drill was spoilt, so what it says of clients is in doubt: {reason}."
            for reason in result.traffic.invalid
        ]
        self._span(name, "drill", from_s, self._ground.now() - self._started_at - from_s)
        self._span(f"{', '.join(result.subjects)} harmed", "harm", *_harmed_s(result, self._started_at))
        if result.is_interrupted:
            self._halted = self._halted or f"it was stopped during the drill {name}"
        self._seen.evidence = replace(self._seen.evidence, recovery=recovered_of(result, replaced))
        self._seen.method.append(
            f"The drill {name} made a load of its own, waited for the steady state, did the harm, and watched as a client would; "
            "when another instance was ready is what the journal says. Its requests do not count for availability: harm is "
            "done far more often here than it happens."
        )

    async def _drilled(self, name: str) -> DrillResult | None:
        """Play a drill; None when it was refused, which is noted. After a load that was too much it gets a second chance."""
        for is_last in (False, True):
            try:
                return await self._ground.drill(name, self._audience.say, self._stop)
            except (DrillRefused, LoadError) as error:
                self._audience.say(f"not done: {error}")
                if is_last or self._stop.is_set():
                    self._seen.evidence = replace(self._seen.evidence, recovery=Recovered(name, trouble=str(error)))
                    return None
                self._audience.say(f"once more in {seconds(AGAIN_S)}, when what was before it has calmed down")
                await self._ground.pause(AGAIN_S, self._stop)
        return None

    def report(self, setting: Setting) -> Report:
        """What came of it."""
        ask, seen, took_s = self._ask, self._seen, self._ground.now() - self._started_at
        course = course_of(self._ground.ticks(self._started_at, self._started_at + took_s), self._started_at)
        if self._stop.is_set():
            self._halted = self._halted or "it was stopped"
        return Report(
            name=ask.model.name,
            environment=ask.model.environment.name,
            started_at=self._started_at,
            took_s=took_s,
            setting=setting,
            verdicts=judge(ask.model.targets, seen.evidence, ask.only),
            spans=tuple(seen.spans),
            moments=tuple(seen.moments),
            instances=course.instances,
            regions=course.regions,
            marks=course.marks,
            drills=tuple(seen.drills),
            method=tuple(seen.method),
            notes=tuple(seen.notes),
            p95_ms_max=ask.model.targets.latency.p95_ms,
            why_incomplete=self._halted,
        )


def _harmed_s(result: DrillResult, started_at: float) -> tuple[float, float]:
    """When the harm was done, and for how long it showed: until recovery, or to the end of the drill where there was none."""
    lasted_s = result.recover_s if result.recover_s is not None else result.mended_at - result.struck_at
    return result.struck_at - started_at, max(lasted_s, 0.5)
