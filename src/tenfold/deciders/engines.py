"""Keeps engines running: starts those that should run and do not, at once the first time, then ever later.

The rungs of an engine: it is started again in its place; one that holds no data and hangs is ended first; what a store did is moved by a
promotion (`stores`), what a gateway did by ways to other regions (`ways`); at last a person is asked, also about one that ends again and
again although each start works.
"""

from collections.abc import Mapping
from dataclasses import replace

from tenfold.deciders.failures import FLAP_WINDOW_S, SETTLED_S, SOON_S, failed, recent, waits
from tenfold.deciders.memory import EngineMemory, HealMemory, Rung, Try
from tenfold.effects import Decision, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, ReplicaRole, Snapshot

ENGINE_AGE_S_MAX = 5.0
"""Older sights of an engine are stale: nothing is concluded from its absence."""
ASKED_GRACE_S = 5.0
"""How long after it was asked for an engine may be unseen before it counts as not started."""
ENGINE_STUCK_S = 15.0
"""What holds no data and does not answer for this long is started anew. A store never is: it may be recovering."""
FLAPS_KEPT = 20
ASKED_RETRY_S = 60.0
"""What holds no data is tried this often after a person was asked: a whole region may be waiting for it, and a try costs nothing."""
RESTARTED = ("gateway", "entry", "voter", "control")


def keep_engines(
    wanted: Mapping[str, StartEngine], stopping: tuple[str, ...], snapshot: Snapshot, memory: HealMemory
) -> tuple[HealMemory, tuple[Decision, ...]]:
    """Start the engines that should run and do not, each as `wanted` says; stop those that should not. Both name engines by
    key (`postgres/local`)."""
    engines, decisions = dict(memory.engines), []
    for key, start in wanted.items():
        if not snapshot.fresh(start.kind, ENGINE_AGE_S_MAX):
            continue
        engine, decision = _keep_engine(start, snapshot.engines.get(key), engines.get(key), snapshot)
        if engine is None:
            engines.pop(key, None)
        else:
            engines[key] = engine
        if decision is not None:
            decisions.append(decision)
    for key in stopping:
        seen = snapshot.engines.get(key)
        if seen is None or seen.state is EngineState.EXITED or not snapshot.fresh(seen.kind, ENGINE_AGE_S_MAX):
            continue
        stop = StopEngine(seen.kind, seen.region, seen.generation)
        if stop.key not in snapshot.pending:
            decisions.append(
                Decision("", "heal", f"engine/{key}", (stop,), f"{key} is stopped: nothing needs it any more")
            )
    # What was stopped did not fail: when it is wanted again it starts at once, as if for the first time.
    for key in engines.keys() - wanted.keys():
        seen = snapshot.engines.get(key)
        if seen is None or seen.state is EngineState.EXITED:
            del engines[key]
    return replace(memory, engines=engines), tuple(decisions)


def _keep_engine(
    wanted: StartEngine, seen: EngineSeen | None, memory: EngineMemory | None, snapshot: Snapshot
) -> tuple[EngineMemory | None, Decision | None]:
    kind, region, now = wanted.kind, wanted.region, snapshot.taken_at
    key, subject = f"{kind}/{region}", f"engine/{kind}/{region}"
    if seen is not None and seen.state is EngineState.READY:
        if _differs(wanted, snapshot, memory):
            attempts = 1 + (memory.attempts if memory is not None else 0)
            start = replace(wanted, attempt=attempts, expected_generation=seen.generation)
            how = "lets each write wait for its standby" if wanted.is_synchronous else "no longer lets writes wait"
            after = replace(memory or EngineMemory(0, now), attempts=attempts, asked_at=now)
            return after, Decision("", "heal", subject, (start,), f"{key} {how}")
        failures = memory.failures if memory is not None else None
        if memory is not None and failures is not None:
            well_s = SOON_S if len(recent(memory.flaps, now, FLAP_WINDOW_S)) > 1 else SETTLED_S
            if now - max(seen.since, failures.last_at) >= well_s:
                memory = replace(memory, failures=None)
        return memory, None
    runs = seen is not None and seen.state is not EngineState.EXITED
    if runs:
        assert seen is not None
        stuck = kind in RESTARTED and seen.state is EngineState.UNHEALTHY and now - seen.since > ENGINE_STUCK_S
        stop = StopEngine(kind, region, seen.generation)
        if not stuck or stop.key in snapshot.pending:
            return memory, None
        return memory, Decision(
            "", "heal", subject, (stop,), f"{key} has not answered for {ENGINE_STUCK_S:.0f} s: it is started anew"
        )
    generation = seen.generation if seen is not None else 0
    if memory is None:
        start = replace(wanted, attempt=1, expected_generation=generation)
        why = f"{key} is started: " + (f"it follows {wanted.follow}" if wanted.follow else "the blueprint needs it")
        return EngineMemory(1, now), Decision("", "heal", subject, (start,), why)
    if f"start-engine:{key}#{memory.attempts}" in snapshot.pending:
        return memory, None
    receipt = snapshot.receipts.get(f"start-engine:{key}#{memory.attempts}")
    note = (receipt.note if receipt is not None and receipt.outcome != "done" else "") or (seen.note if seen else "")
    if not note and 0 <= now - memory.asked_at < ASKED_GRACE_S:
        return memory, None
    failures = memory.failures
    # Where there was nothing to wait for, it was started in the very moment of its last failure.
    if failures is None or failures.last_at <= memory.asked_at:
        memory = _counted(key, memory, note or "it ended", now)
        failures = memory.failures
        assert failures is not None
        wait_s = failures.next_start_at - now
        if wait_s > 0:
            end = f"{'given up, one more try' if failures.gave_up else 'next start'} in {wait_s:.0f} s"
            why = f"{key} does not run: {failures.last_note}; failure {failures.count} in a row, {end}"
            return memory, Decision("", "heal", subject, (), why)
    if waits(failures, now):
        return memory, None
    start = replace(wanted, attempt=memory.attempts + 1, expected_generation=generation)
    why = f"{key} is started again: {failures.last_note}"
    facts = (f"rung restart: failure {failures.count} in a row of {key}",)
    after = replace(memory, attempts=memory.attempts + 1, asked_at=now)
    return after, Decision("", "heal", subject, (start,), why, facts)


def _counted(key: str, memory: EngineMemory, note: str, now: float) -> EngineMemory:
    """With one failure more. What ended soon after its start counts as in a row with the one before, though that may have worked."""
    lived_s = max(0.0, now - memory.asked_at)
    flaps = recent(memory.flaps, now, FLAP_WINDOW_S)
    if lived_s < SOON_S:
        flaps = (*flaps, now)[-FLAPS_KEPT:]
    rung = Rung.RESTART if memory.attempts > 1 else None
    tried = Try(memory.asked_at, rung, key, f"{note}, {lived_s:.0f} s after its start")
    failures = failed(memory.failures, note, now, had_served=True, served_s=lived_s, flaps=len(flaps), tried=tried)
    if failures.gave_up and key.partition("/")[0] in RESTARTED:
        failures = replace(failures, next_start_at=now + ASKED_RETRY_S)
    return replace(memory, failures=failures, flaps=flaps)


def _differs(wanted: StartEngine, snapshot: Snapshot, memory: EngineMemory | None) -> bool:
    """Whether a primary that runs lets writes wait, or not, other than it should. One that was just told gets time to show it."""
    part = snapshot.replicas.get(f"{wanted.kind}/{wanted.region}")
    if part is None or part.role is not ReplicaRole.PRIMARY or wanted.follow:
        return False
    was_told = memory is not None and 0 <= snapshot.taken_at - memory.asked_at < ASKED_GRACE_S
    return part.is_synchronous != wanted.is_synchronous and not was_told
