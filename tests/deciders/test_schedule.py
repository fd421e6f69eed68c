"""Schedules as stories: due, missed, overlapping, and never twice."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.memory import ScheduleMemory
from tenfold.deciders.schedule import next_time, schedule
from tenfold.effects import RunTask
from tenfold.facts import Snapshot, TaskSeen, TaskState
from tenfold.model import Release, Service

START = 1_750_000_000.0 - 1_750_000_000.0 % 3600
JOB = Service("report", "make report", http=False, schedule="*/10 * * * *")
RELEASE = Release("r1", {"report": JOB}, "digest", 0.0)


def at(now: float, memory: ScheduleMemory, **tasks: TaskSeen) -> tuple[ScheduleMemory, list[Any]]:
    """What is decided at that moment."""
    memory, decisions = schedule(RELEASE, Snapshot(now, observed={"process": now}, tasks=tasks), memory)
    return memory, list(decisions)


def tasks_of(decisions: list[Any]) -> list[str]:
    """The ids of the tasks that are to run."""
    return [e.task for d in decisions for e in d.effects if isinstance(e, RunTask)]


def test_a_job_runs_when_it_is_due_and_its_id_names_the_minute() -> None:
    """A job of every ten minutes runs once at ten past, not before."""
    memory, none = at(START + 1, ScheduleMemory())
    memory, early = at(START + 599, memory)
    memory, due = at(START + 600.4, memory)
    _, again = at(START + 601, memory)
    assert (none, early, tasks_of(due), again) == ([], [], ["report-20250615T1510"], [])


def test_a_run_missed_for_minutes_is_made_good_once_and_older_ones_are_named() -> None:
    """After 25 minutes in which nothing was up only the last run is made, and the sentence says what was left out."""
    memory, _ = at(START + 1, ScheduleMemory())
    memory, decisions = at(START + 1500, memory)
    assert tasks_of(decisions) == ["report-20250615T1520"]
    assert decisions[0].why == (
        "report is due: */10 * * * * (15:20 UTC, 300 s late); 1 earlier runs were missed and are not made good"
    )
    assert at(START + 1501, memory)[1] == []


def test_a_run_missed_for_hours_is_left_out() -> None:
    """What was due more than an hour ago is not run at a surprising time: the next one is soon enough."""
    daily = Release("r1", {"report": Service("report", "x", http=False, schedule="0 3 * * *")}, "digest", 0.0)
    first = Snapshot(START, observed={"process": START})
    memory, _ = schedule(daily, first, ScheduleMemory())
    later = memory.next_at["report"] + 7200
    _, decisions = schedule(daily, Snapshot(later, observed={"process": later}), memory)
    assert tasks_of(list(decisions)) == []
    assert "more than an hour ago" in decisions[0].why


def test_two_runs_of_one_job_never_overlap() -> None:
    """While the last run has not ended the next one is left out, and said."""
    memory, _ = at(START + 1, ScheduleMemory())
    memory, first = at(START + 600, memory)
    [task] = tasks_of(first)
    running = TaskSeen(task, "schedule", "report", "r1", TaskState.RUNNING, START + 600, START + 1200)
    _, decisions = at(START + 1200, memory, **{task: running})
    assert tasks_of(decisions) == []
    assert "its last run has not ended" in decisions[0].why


@given(st.lists(st.floats(-7200, 7200), min_size=1, max_size=60))
def test_no_minute_runs_twice_however_the_clock_jumps(steps: list[float]) -> None:
    """Forwards or back, each task id is asked for at most once as long as memory lasts."""
    memory, now, asked = ScheduleMemory(), START, []
    for step in steps:
        now += step
        memory, decisions = at(now, memory)
        asked += tasks_of(decisions)
    assert len(asked) == len(set(asked))


def test_the_next_time_is_after_the_given_one() -> None:
    """Exactly on the minute means the next one: a job that has just run is not due again."""
    assert next_time("*/10 * * * *", START) == START + 600
