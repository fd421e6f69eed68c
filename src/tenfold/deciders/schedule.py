"""When scheduled jobs run: once for each time they are due, also over a restart, never two of one job at a time.

The task's id holds the minute it was due for, and a driver runs an id at most once:
whatever is forgotten, nothing runs twice.
"""

from dataclasses import replace
from datetime import UTC, datetime

from cronsim import CronSim

from tenfold.deciders.memory import ScheduleMemory
from tenfold.effects import Decision, RunTask
from tenfold.facts import Snapshot, TaskState
from tenfold.model import Release, Service

LATE_S_MAX = 3600.0
"""A run that was missed (nothing was up) is made good within this long, and then only the last one."""


def schedule(
    serving: Release, snapshot: Snapshot, memory: ScheduleMemory
) -> tuple[ScheduleMemory, tuple[Decision, ...]]:
    """The jobs that are due now."""
    decisions: list[Decision] = []
    for service in serving.services.values():
        if service.schedule is None:
            continue
        known = memory.next_at.get(service.name)
        if known is None or memory.cron.get(service.name) != service.schedule:
            memory = _set(memory, service, next_time(service.schedule, snapshot.taken_at))
            continue
        if snapshot.taken_at < known or not snapshot.fresh("process", 5.0):
            continue
        memory, decision = _due(service, serving.id, known, snapshot, memory)
        decisions.append(decision)
    return memory, tuple(decisions)


def _due(
    service: Service, release: str, due_at: float, snapshot: Snapshot, memory: ScheduleMemory
) -> tuple[ScheduleMemory, Decision]:
    assert service.schedule is not None
    now, missed = snapshot.taken_at, 0
    upcoming = next_time(service.schedule, due_at)
    while upcoming <= now and missed < 100_000:
        due_at, missed = upcoming, missed + 1
        upcoming = next_time(service.schedule, due_at)
    memory = _set(memory, service, upcoming)
    name, minute = service.name, datetime.fromtimestamp(due_at, UTC)
    skipped = f"; {missed} earlier runs were missed and are not made good" if missed else ""
    last = snapshot.tasks.get(memory.last_task.get(name, ""))
    if last is not None and last.state is TaskState.RUNNING:
        why = f"{name} is due ({minute:%H:%M} UTC) but its last run has not ended: this one is left out{skipped}"
        return memory, Decision("", "schedule", name, (), why)
    if now - due_at > LATE_S_MAX:
        why = f"{name} was due at {minute:%Y-%m-%d %H:%M} UTC, more than an hour ago, while nothing was up: left out{skipped}"
        return memory, Decision("", "schedule", name, (), why)
    task = RunTask(f"{name}-{minute:%Y%m%dT%H%M}", "schedule", name, release, service.command, timeout_s=86400.0)
    memory = replace(memory, last_task={**memory.last_task, name: task.task})
    late = f", {now - due_at:.0f} s late" if now - due_at > 60 else ""
    why = f"{name} is due: {service.schedule} ({minute:%H:%M} UTC{late}){skipped}"
    return memory, Decision("", "schedule", name, (task,), why)


def _set(memory: ScheduleMemory, service: Service, next_at: float) -> ScheduleMemory:
    assert service.schedule is not None
    return ScheduleMemory(
        {**memory.next_at, service.name: next_at},
        {**memory.cron, service.name: service.schedule},
        memory.last_task,
    )


def next_time(cron: str, after: float) -> float:
    """The first time after `after` (seconds since the epoch) that `cron` names, in UTC."""
    return float(next(CronSim(cron, datetime.fromtimestamp(after, UTC))).timestamp())
