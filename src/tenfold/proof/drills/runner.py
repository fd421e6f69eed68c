"""Plays a drill on a stage: is all well, harm, watch, mend, is all well again. The same for a simulator and for real engines."""

import asyncio
from collections.abc import Callable
from random import Random

from tenfold.effects.faults import Kill
from tenfold.proof.consistency import Consistency, judge
from tenfold.proof.drills.aim import CONTROL, aimed, answer_of, subject_of
from tenfold.proof.drills.drill import Act, Drill, Measure, Ship, Strike
from tenfold.proof.drills.result import DrillResult, Finding, Phase, Traffic
from tenfold.proof.drills.stage import DrillRefused, Look, Made, Stage
from tenfold.proof.drills.steady import Lasting, off

LOOK_S = 0.25
STEADY_S = 2.0
"""The steady state must hold for so long before anything is done."""
STEADY_WITHIN_S = 45.0
HOLDS_S = 3.0
"""What holds for so long on end is back."""
BEYOND_S = 120.0
"""After the harm and the time that recovery may take, so much longer is waited for the whole steady state."""
SHIPS_WITHIN_S = 240.0
UNNOTICED_S = 10.0
"""Where nothing was off for so long, nobody has to answer."""

Tell = Callable[[str], None]


async def run_drill(
    drill: Drill, stage: Stage, tell: Tell = lambda text: None, stop: asyncio.Event | None = None
) -> DrillResult:
    """Play `drill` on `stage`, telling what happens a line at a time.

    Raises `DrillRefused` when the steady state does not hold before, or the harm can't be done. When `stop` is set the harm is undone
    at once and what was measured so far is given back, marked as interrupted. However it ends, also when cancelled: what was harmed
    is mended and the stage is closed.
    """
    played = _Played(drill, stage, tell, stop or asyncio.Event())
    try:
        await stage.open()
        await played.until_steady(without={Measure.FAILED, Measure.LATE_MS})
        await stage.normal()
        await played.until_steady()
        await played.strike()
        await played.watch()
        return await played.result()
    finally:
        try:
            await stage.undo()
        finally:
            await stage.close()


class _Played:
    """One drill under way."""

    def __init__(self, drill: Drill, stage: Stage, tell: Tell, stop: asyncio.Event) -> None:
        self._drill, self._stage, self._tell, self._stop = drill, stage, tell, stop
        self._random = Random(f"drill/{stage.seed}")
        self._to_do = list(drill.acts)
        self._acts: list[Act] = []
        self._phases: list[tuple[str, float, str]] = []
        self._struck_at = 0.0
        self._mended_at: float | None = None
        self._epoch = 0
        self._taken_over_at: float | None = None
        self._served: str | None = None
        self._serves: str | None = None
        self._answer: Made | None = None
        self._recovered, self._whole = Lasting(HOLDS_S), Lasting(HOLDS_S)
        self._told_off: set[Measure] = set()
        self._was_off = False
        self._takes_over = any(isinstance(a, Strike) and a.fault == Kill(CONTROL) for a in drill.acts)

    async def until_steady(self, without: set[Measure] | None = None) -> None:
        """Wait until the steady state has held for a while. Raises `DrillRefused` when it does not."""
        probes = [probe for probe in self._drill.expects if probe.measure not in (without or ())]
        steady, from_at = Lasting(STEADY_S), self._stage.now()
        while steady.since is None and not self._stop.is_set():
            look = await self._stage.look()
            wrong = off(probes, look)
            steady.look(not wrong, look.at)
            if wrong and look.at - from_at > STEADY_WITHIN_S:
                raise DrillRefused(
                    f"the steady state does not hold, so nothing was harmed: {'; '.join(wrong.values())}"
                )
            await self._stage.sleep(LOOK_S)

    async def strike(self) -> None:
        """Do the harm."""
        if self._stop.is_set():
            return
        look = await self._stage.look()
        self._epoch, self._struck_at, self._served = look.epoch, look.at, look.memory.release.serving
        self._note("steady", "the steady state holds")
        await self._next_act(look)
        while self._to_do and not isinstance(self._to_do[0], Ship):
            await self._next_act(look)

    async def watch(self) -> None:
        """Look until all is as it was, or nobody believes in it any more."""
        drill, stage = self._drill, self._stage
        until_at = self._struck_at + drill.seconds + drill.recovery_s_max + BEYOND_S
        until_at += SHIPS_WITHIN_S * sum(isinstance(act, Ship) for act in drill.acts)
        while not self._stop.is_set():
            await stage.sleep(LOOK_S)
            look = await stage.look()
            self._judge(look)
            if self._mended_at is None and self._is_over(look):
                if self._to_do:
                    await self._next_act(look)
                    continue
                await self._mend()
            if self._is_done(look) or look.at > until_at:
                return

    async def result(self) -> DrillResult:
        """Mend, end the load, read back, judge."""
        stage, interrupted = self._stage, self._stop.is_set()
        if self._mended_at is None:
            await self._mend()
        traffic = await stage.end()
        history = stage.history()
        writes = judge(history) if history else None
        answer, struck_at, mended_at = self._answer, self._struck_at, self._mended_at or self._struck_at
        detect_s = answer.at - struck_at if answer else _since(self._taken_over_at, struck_at)
        by = answer.decision.by if answer else ""
        if self._taken_over_at is not None:
            by = "a person" if self._drill.is_revived else "standby"
        recover_s = _since(self._recovered.since, struck_at)
        whole_s = _since(self._whole.since, mended_at)
        return DrillResult(
            drill=self._drill.name,
            line=self._drill.line,
            world=stage.world,
            seed=stage.seed,
            subjects=tuple(subject_of(act) for act in self._acts),
            struck_at=struck_at,
            mended_at=mended_at,
            detect_s=detect_s,
            recover_s=recover_s,
            whole_s=whole_s,
            answered_by=by,
            decision=answer.decision.id if answer else "",
            why=answer.decision.why if answer else "",
            traffic=traffic,
            writes=writes,
            phases=tuple(Phase(name, at - struck_at, text) for name, at, text in self._phases),
            findings=(
                *_findings(self._drill, by, self._was_off, recover_s, whole_s, traffic, writes),
                *self._serving(),
            ),
            is_interrupted=interrupted,
        )

    def _serving(self) -> tuple[Finding, ...]:
        """Where a release was shipped: what serves must be what served before."""
        if not any(isinstance(act, Ship) for act in self._acts):
            return ()
        before, now = self._served or "nothing", self._serves or "nothing"
        return (Finding("the release that serves", now, before, now == before),)

    async def _next_act(self, look: Look) -> None:
        act = aimed(self._to_do.pop(0), look, self._random)
        self._acts.append(act)
        at = self._stage.now()
        if len(self._acts) == 1:
            self._struck_at = at
            # It held until now: what never breaks has never to recover.
            self._recovered.look(True, at)
            self._whole.look(True, at)
        self._note("struck", subject_of(act), at)
        await self._stage.act(act)

    async def _mend(self) -> None:
        await self._stage.undo()
        if self._drill.is_revived and self._acts:
            await self._stage.revive()
        self._mended_at = self._stage.now()
        if self._drill.seconds > 0:
            self._note("mended", "the harm is undone")

    def _judge(self, look: Look) -> None:
        wrong = off(self._drill.expects, look)
        self._serves = look.memory.release.serving
        self._was_off = self._was_off or bool(wrong)
        for measure in wrong.keys() - self._told_off:
            self._tell(f"{look.at - self._struck_at:6.1f} s  off: {wrong[measure]}")
        self._told_off = set(wrong)
        before = self._recovered.since, self._whole.since
        is_final = self._mended_at is not None and self._recovered.since is not None
        if not is_final:
            # Once the harm is over what is back is back: what breaks later breaks by itself.
            self._recovered.look(not wrong.keys() & set(self._drill.recovers), look.at)
        self._whole.look(not wrong, look.at)
        if self._answer is None and self._drill.answered_by:
            made = self._stage.decisions(self._struck_at)
            self._answer = answer_of(self._drill, self._acts, made, look, self._struck_at)
            if self._answer is not None:
                decision = self._answer.decision
                self._note("detected", f"{decision.id} by {decision.by}: {decision.why}", self._answer.at)
        if self._takes_over and self._taken_over_at is None and look.epoch > self._epoch:
            self._taken_over_at = look.seen_at
            who = (
                "somebody has started it again"
                if self._drill.is_revived
                else f"one in {look.snapshot.led_from} leads now"
            )
            self._note("detected", f"a new control plane, epoch {look.epoch}: {who}", look.seen_at)
        if before[0] is None and self._recovered.since is not None and self._is_noticed(look):
            self._note("recovered", "what it is watched for holds again", self._recovered.since)

    def _is_noticed(self, look: Look) -> bool:
        """Whether the harm has shown: what has not broken yet can't have recovered."""
        if self._takes_over:
            return look.epoch > self._epoch
        return self._answer is not None or not self._drill.answered_by

    def _is_over(self, look: Look) -> bool:
        """Whether the harm has lasted its time; a release that was shipped, until it is settled."""
        shipped = any(isinstance(act, Ship) for act in self._acts)
        is_on_its_way = shipped and look.memory.release.operation is not None
        return look.at - self._struck_at >= self._drill.seconds and not is_on_its_way

    def _is_done(self, look: Look) -> bool:
        if self._mended_at is None or self._whole.since is None or look.at - self._mended_at < HOLDS_S:
            return False
        waits_s = self._drill.recovery_s_max if self._was_off else min(self._drill.recovery_s_max, UNNOTICED_S)
        return self._is_noticed(look) or look.at - self._struck_at > waits_s

    def _note(self, name: str, text: str, at: float | None = None) -> None:
        at = self._stage.now() if at is None else at
        self._phases.append((name, at, text))
        self._tell(f"{at - self._struck_at:6.1f} s  {name}: {text}")


def _since(moment: float | None, from_at: float) -> float | None:
    return None if moment is None else max(0.0, moment - from_at)


def _findings(
    drill: Drill,
    answered_by: str,
    was_off: bool,
    recover_s: float | None,
    whole_s: float | None,
    traffic: Traffic,
    writes: Consistency | None,
) -> tuple[Finding, ...]:
    found = [
        Finding(
            "recovered within",
            "never" if recover_s is None else f"{recover_s:.1f} s",
            f"at most {drill.recovery_s_max:g} s",
            recover_s is not None and recover_s <= drill.recovery_s_max,
        ),
        Finding("the steady state holds at the end", "no" if whole_s is None else "yes", "yes", whole_s is not None),
    ]
    if drill.answered_by:
        by = " or ".join(drill.answered_by)
        nobody = "nobody" if was_off else "nobody: nothing was off"
        found.append(Finding("answered by", answered_by or nobody, by, bool(answered_by) or not was_off))
    if drill.failed_max is not None:
        what = f"{traffic.failed:,} of {traffic.requests:,}"
        found.append(Finding("requests failed", what, f"{drill.failed_max}", traffic.failed <= drill.failed_max))
    if writes is not None:
        acknowledged = f"of {writes.acknowledged:,} acknowledged"
        if not drill.loses:
            found.append(Finding("writes lost", f"{len(writes.lost)} {acknowledged}", "0", not writes.lost))
        found.append(Finding("writes done twice", f"{len(writes.doubled)} {acknowledged}", "0", not writes.doubled))
        found.append(Finding("phantom writes", f"{len(writes.phantom)}", "0", not writes.phantom))
    return tuple(found)
