"""The steps of an operation: each says how far it is, from facts alone, and what to do now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tenfold.deciders.memory import HealMemory, ReleaseMemory, RouteMemory
from tenfold.effects import (
    Effect,
    Operation,
    RunTask,
    Step,
    StepState,
)
from tenfold.facts import (
    InstanceState,
    Snapshot,
    TaskState,
)
from tenfold.model import Model, Release, Service

STEPS = {
    "up": ("build", "hook", "start", "shift", "watch", "retire"),
    "deploy": ("build", "hook", "start", "shift", "watch", "retire"),
    "rollback": ("start", "shift", "retire"),
}
KEPT_RELEASES = 5
"""How many releases that served are kept on disk to go back to."""
START_FAILURES = 2
"""A release whose service failed to start this often does not start: once may be chance."""
WATCH_REQUESTS_MIN = 20
"""Fewer watched requests than this say nothing about errors."""
WATCH_ERROR_RATIO = 0.05
"""A new release may answer this share of requests with 5xx more than the old one did."""
ASK_AGAIN_S = 5.0
"""A task that was asked for and not seen for this long is asked for again (a driver runs one id once)."""
LOOK_S_MAX = 5.0
"""Between looks further apart than this, rates say nothing about what happened."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is: `state`, what it waits for or why it failed (`note`), and what to do now."""

    state: StepState
    note: str = ""
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """What the step functions look at."""

    model: Model
    snapshot: Snapshot
    heal: HealMemory
    routes: RouteMemory
    wanted: Mapping[str, int]
    waiting_for: str


def _run_once(
    kind: str, command_of: Callable[[Service], str | None], operation: Operation, step: Step, sight: Sight
) -> Progress:
    """A command of each service that has one, once per release."""
    release_ = sight.model.releases[operation.release]
    commands = {f"{release_.id}-{kind}-{s.name}": (s, c) for s in release_.services.values() if (c := command_of(s))}
    if not commands:
        return Progress(StepState.SKIPPED)
    snapshot, effects, open_ = sight.snapshot, [], []
    label = "release hook" if kind == "release" else kind
    was_asked = step.note.startswith(label)
    for id_, (service, command) in commands.items():
        task = snapshot.tasks.get(id_)
        if task is None:
            receipt = snapshot.receipts.get(f"run:{id_}")
            if receipt is not None and receipt.outcome == "failed":
                return Progress(StepState.FAILED, f"`{command}` could not be run: {receipt.note}")
            open_.append(command)
            asked_s = snapshot.taken_at - (step.started_at or 0.0)
            if f"run:{id_}" not in snapshot.pending and (not was_asked or asked_s > ASK_AGAIN_S):
                effects.append(RunTask(id_, kind, service.name, release_.id, command))
        elif task.state is TaskState.RUNNING:
            open_.append(command)
        elif task.state is not TaskState.SUCCEEDED:
            ended = (
                "was interrupted, and whether it took effect is not known; it is not run twice"
                if task.state is TaskState.UNKNOWN
                else f"ended with exit code {task.exit_code}"
            )
            tail = f": {task.tail.strip().splitlines()[-1]}" if task.tail.strip() else ""
            return Progress(StepState.FAILED, f"`{command}` {ended}{tail}")
    if open_:
        return Progress(StepState.RUNNING, f"{label}: {', '.join(f'`{c}`' for c in open_)}", tuple(effects))
    return Progress(StepState.DONE)


def _build(operation: Operation, step: Step, memory: ReleaseMemory, sight: Sight) -> Progress:
    return _run_once("build", lambda s: s.build, operation, step, sight)


def _hook(operation: Operation, step: Step, memory: ReleaseMemory, sight: Sight) -> Progress:
    services = sight.model.releases[operation.release].services.values()
    lacking = sight.waiting_for or _closed_ways(sight)
    if lacking and any(s.release_hook for s in services):
        return Progress(StepState.RUNNING, f"waits for {lacking}")
    return _run_once("release", lambda s: s.release_hook, operation, step, sight)


def way_to(kind: str, region: str) -> str:
    """The way that apps of `region` take to the store `kind`, in words."""
    return f"the way from {region} to {kind}"


def _closed_ways(sight: Sight) -> str:
    """The ways to stores that a task would find closed now, in words. An instance is started again, a hook has one try: it is not enough
    that a way was there once."""
    snapshot, region = sight.snapshot, sight.snapshot.led_from or sight.model.home
    gateway = snapshot.gateways.get(region)
    answering: set[str] = set()
    if gateway is not None and abs(snapshot.taken_at - gateway.seen_at) <= LOOK_S_MAX:
        # While a table is being taken up, connections made by the one before may be cut.
        is_settled = gateway.table_digest == sight.routes.digests.get(region)
        answering = {end.kind for end in gateway.stores if is_settled}
    return ", ".join(way_to(kind, region) for kind in sight.routes.stores.get(region, ()) if kind not in answering)


def _start(operation: Operation, step: Step, memory: ReleaseMemory, sight: Sight) -> Progress:
    release_, began = sight.model.releases[operation.release], step.started_at or 0.0
    failed = _failures(operation.release, began, sight)
    if failed and max(count for count, _ in failed.values()) >= START_FAILURES:
        line, (_, note) = max(failed.items(), key=lambda item: item[1][0])
        return Progress(StepState.FAILED, f"{line.partition('@')[0]} does not start: {note}")
    # Also of what sleeps one is started: it shows that the release can be woken.
    lacking = not_ready(release_, sight.model, sight.snapshot, sight.wanted, least=1)
    if not lacking:
        return Progress(StepState.DONE)
    slowest_s = max((s.health.starts_within_s for s in release_.services.values()), default=60.0)
    if not sight.waiting_for and sight.snapshot.taken_at - began > 2 * slowest_s + 60.0:
        return Progress(StepState.FAILED, f"{lacking} not ready after {sight.snapshot.taken_at - began:.0f} s")
    return Progress(StepState.RUNNING, f"{lacking} not ready yet")


def _shift(operation: Operation, step: Step, memory: ReleaseMemory, sight: Sight) -> Progress:
    if not any(s.runs_always and s.http for s in sight.model.releases[operation.release].services.values()):
        return Progress(StepState.SKIPPED)
    began = step.started_at or 0.0
    for region in sight.model.regions:
        gateway = sight.snapshot.gateways.get(region)
        # The table of this release was published after the step began; taken up when the gateway runs that digest.
        wanted, at = sight.routes.digests.get(region), sight.routes.published_at.get(region, 0.0)
        # A refusal that was seen before is another table's.
        if gateway is not None and gateway.refused and began <= at < gateway.seen_at:
            return Progress(StepState.FAILED, f"the gateway of {region} refused the routes: {gateway.refused}")
        if gateway is None or gateway.table_digest != wanted or at < began:
            return Progress(StepState.RUNNING, f"the gateway of {region} has not taken up the routes yet")
    if sight.model.is_spread:
        entry = sight.snapshot.gateways.get("entry")
        if entry is None or entry.table_digest != sight.routes.digests.get("entry"):
            return Progress(StepState.RUNNING, "the global entry has not taken up the ways yet")
    return Progress(StepState.DONE)


def _watch(operation: Operation, step: Step, memory: ReleaseMemory, sight: Sight) -> Progress:
    """Healthy for its first minute, or back to the old one."""
    if not memory.served:
        return Progress(StepState.SKIPPED)
    began = step.started_at or 0.0
    for line, (count, note) in _failures(operation.release, began, sight).items():
        release_ = sight.model.releases[operation.release]
        ready = _ready(line, sight.snapshot)
        if count >= START_FAILURES or not ready:
            return Progress(
                StepState.FAILED, f"{release_.services[line.partition('@')[0]].name} did not stay well: {note}"
            )
    limit = memory.error_ratio + WATCH_ERROR_RATIO
    if memory.watched_requests >= WATCH_REQUESTS_MIN and memory.watched_errors > limit * memory.watched_requests:
        ratio = memory.watched_errors / memory.watched_requests
        return Progress(
            StepState.FAILED,
            f"{ratio:.0%} of its {memory.watched_requests:.0f} answers were errors (before: {memory.error_ratio:.1%})",
        )
    watch_s = sight.model.rollout.watch_s
    if memory.watched_well_s >= watch_s:
        return Progress(StepState.DONE)
    if memory.watched_ailing_s > watch_s:
        return Progress(StepState.FAILED, f"it was not well for {memory.watched_ailing_s:.0f} s of its watch")
    return Progress(
        StepState.RUNNING, f"watched until it was well for {watch_s:.0f} s; {memory.served[-1]} stays ready meanwhile"
    )


def _retire(operation: Operation, step: Step, memory: ReleaseMemory, sight: Sight) -> Progress:
    old = sorted({m.release for m in sight.heal.members.values() if m.release != operation.release})
    return Progress(StepState.RUNNING, f"{', '.join(old)} finishes its requests") if old else Progress(StepState.DONE)


HANDLERS: Mapping[str, Callable[[Operation, Step, ReleaseMemory, Sight], Progress]] = {
    "build": _build,
    "hook": _hook,
    "start": _start,
    "shift": _shift,
    "watch": _watch,
    "retire": _retire,
}


def _failures(release_id: str, since: float, sight: Sight) -> Mapping[str, tuple[int, str]]:
    """Failures of a release's lines since then: how many in a row, and the last one in words."""
    found = {}
    for line, failures in sight.heal.failures.items():
        if line.endswith(f"/{release_id}") and failures.last_at >= since:
            found[line] = (failures.count, failures.last_note)
    return found


def _ready(line: str, snapshot: Snapshot) -> int:
    return sum(
        seen.state is InstanceState.READY
        for seen in snapshot.instances.values()
        if f"{seen.service}@{seen.region}/{seen.release}" == line
    )


def without_ready(release_: Release, sight: Sight) -> str:
    """Which services have no ready instance at all, in words; empty when each has one."""
    lacking = []
    for service in release_.services.values():
        for region in sight.model.regions if service.runs_always else ():
            if not _ready(f"{service.name}@{region}/{release_.id}", sight.snapshot):
                lacking.append(service.name)
    return ", ".join(lacking)


def not_ready(release_: Release, model: Model, snapshot: Snapshot, wanted: Mapping[str, int], *, least: int = 0) -> str:
    """Which services lack ready instances, in words; empty when none does. Each needs `least` at the least."""
    lacking = []
    for service in release_.services.values():
        for region in model.regions if service.runs_always else ():
            pool = f"{service.name}@{region}"
            count = max(least, service.scaling.clamp(wanted.get(pool, service.scaling.instances_min)))
            ready = _ready(f"{pool}/{release_.id}", snapshot)
            if ready < count:
                lacking.append(f"{ready} of {count} {service.name}")
    return ", ".join(lacking)


def watch_traffic(memory: ReleaseMemory, sight: Sight) -> ReleaseMemory:
    """Count requests, errors and the time that the new release was seen well: by looks that lie close together, so that neither a
    control plane that was away nor a clock that was set makes a watch shorter than it says."""
    operation = memory.operation
    if memory.watched_at is None or operation is None:
        return memory
    now = sight.snapshot.taken_at
    elapsed_s = now - memory.watched_at
    if not 0 < elapsed_s <= LOOK_S_MAX:
        return replace(memory, watched_at=now)
    pools = [p for p in sight.snapshot.pools.values() if now - p.seen_at <= LOOK_S_MAX]
    ailing = without_ready(sight.model.releases[operation.release], sight)
    return replace(
        memory,
        watched_at=now,
        watched_requests=memory.watched_requests + elapsed_s * sum(p.requests_per_s for p in pools),
        watched_errors=memory.watched_errors + elapsed_s * sum(p.errors_per_s for p in pools),
        watched_well_s=0.0 if ailing else memory.watched_well_s + elapsed_s,
        watched_ailing_s=memory.watched_ailing_s + (elapsed_s if ailing else 0.0),
    )


def learn_error_ratio(memory: ReleaseMemory, sight: Sight) -> ReleaseMemory:
    """The usual share of errors: an exponential mean with weight 0.02 a look."""
    requests = sum(p.requests_per_s for p in sight.snapshot.pools.values())
    if requests <= 0:
        return memory
    ratio = sum(p.errors_per_s for p in sight.snapshot.pools.values()) / requests
    return replace(memory, error_ratio=round(memory.error_ratio + 0.02 * (ratio - memory.error_ratio), 6))
