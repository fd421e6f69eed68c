"""What every world promises of tasks: they run once, to their end, and their end is known."""

import asyncio

import pytest

from tenfold.effects import Outcome, RunTask, StopTask
from tenfold.effects.faults import Kill
from tenfold.facts import TaskSeen, TaskState
from tenfold.ports import Permanent, Refused


def ended(seen: TaskSeen | None) -> bool:
    """True for a task that has come to its end."""
    return seen is not None and seen.state is not TaskState.RUNNING


@pytest.fixture
def task(commands):
    """The effect that runs what a service's tasks run."""

    def make(service: str, id_: str = "", timeout_s: float = 900.0) -> RunTask:
        return RunTask(id_ or f"{service}-1", "schedule", service, "r1", commands[service], timeout_s)

    return make


def test_a_task_runs_to_its_end_and_tells_of_it(play, task) -> None:
    """It is seen running, then succeeded with exit code 0 and the end of its output, and the loop is woken."""

    async def story(stage) -> None:
        receipt = await stage.do(task("tool"))
        assert (receipt.key, receipt.outcome) == ("run:tool-1", Outcome.DONE)
        first = await stage.see(TaskSeen, "tool-1")
        assert (first.kind, first.service, first.release) == ("schedule", "tool", "r1")
        woken = stage.wakes
        seen = await stage.until(TaskSeen, "tool-1", ended)
        assert (seen.state, seen.exit_code) == (TaskState.SUCCEEDED, 0)
        assert seen.tail.strip() == "done"
        assert seen.started_at <= seen.ended_at <= seen.seen_at
        assert stage.wakes > woken
        assert stage.runs("tool") == 1

    play(story)


def test_a_task_that_fails_says_so(play, task) -> None:
    """A command that ends by an error is FAILED, with its exit code and what it said."""

    async def story(stage) -> None:
        await stage.do(task("broken"))
        seen = await stage.until(TaskSeen, "broken-1", ended)
        assert seen.state is TaskState.FAILED
        assert seen.exit_code not in (0, None)
        assert seen.tail.strip()

    play(story)


def test_a_task_runs_once_however_often_it_is_ordered(play, task) -> None:
    """Twice at once, again while it runs, after its end, and after a restart: it ran once."""

    async def story(stage) -> None:
        await asyncio.gather(stage.do(task("tool")), stage.do(task("tool")))
        await stage.do(task("tool"))
        await stage.until(TaskSeen, "tool-1", ended)
        await stage.do(task("tool"))
        await stage.restart()
        assert (await stage.do(task("tool"), epoch=2)).outcome is Outcome.DONE
        assert (await stage.see(TaskSeen, "tool-1")).state is TaskState.SUCCEEDED
        assert stage.runs("tool") == 1

    play(story)


def test_a_task_outlives_the_control_plane(play, task) -> None:
    """It goes on while nobody is there, and whoever comes back learns how it ended."""

    async def story(stage) -> None:
        await stage.do(task("tool"))
        await stage.restart()
        seen = await stage.until(TaskSeen, "tool-1", ended)
        assert (seen.state, seen.exit_code) == (TaskState.SUCCEEDED, 0)
        assert stage.runs("tool") == 1

    play(story)


def test_a_running_task_can_be_ended(play, task) -> None:
    """A stop ends it, and it counts as failed; a stop of one that has ended, or never ran, is done at once."""

    async def story(stage) -> None:
        await stage.do(task("slow"))
        assert (await stage.see(TaskSeen, "slow-1")).state is TaskState.RUNNING
        await stage.do(StopTask("slow-1", 2.0))
        assert (await stage.until(TaskSeen, "slow-1", ended)).state is TaskState.FAILED
        assert (await stage.do(StopTask("slow-1", 2.0))).outcome is Outcome.DONE
        assert (await stage.do(StopTask("never", 2.0))).outcome is Outcome.DONE
        assert not stage.leftovers()

    play(story)


def test_a_task_that_takes_too_long_is_ended(play, task) -> None:
    """After `timeout_s` it is ended and has failed."""

    async def story(stage) -> None:
        await stage.do(task("slow", timeout_s=0.5))
        assert (await stage.until(TaskSeen, "slow-1", ended)).state is TaskState.FAILED
        assert not stage.leftovers()

    play(story)


def test_a_task_killed_from_outside_never_runs_again(play, task) -> None:
    """Nobody can tell whether it took effect: it is UNKNOWN or failed, and an order for it starts nothing."""

    async def story(stage) -> None:
        await stage.do(task("slow"))
        await stage.until(TaskSeen, "slow-1", lambda seen: seen is not None)
        await stage.until(TaskSeen, "slow-1", lambda _: stage.runs("slow") == 1)
        await stage.harm.inflict(Kill("slow-1"))
        seen = await stage.until(TaskSeen, "slow-1", ended)
        assert seen.state in (TaskState.UNKNOWN, TaskState.FAILED)
        await stage.do(task("slow"))
        await stage.restart()
        await stage.do(task("slow"), epoch=2)
        assert (await stage.see(TaskSeen, "slow-1")).state is seen.state
        assert stage.runs("slow") == 1

    play(story)


def test_old_epochs_and_unknown_releases_run_nothing(play, task) -> None:
    """A task of an old control plane is refused, one of a release that was never shipped is a permanent failure."""

    async def story(stage) -> None:
        await stage.do(StopTask("never"), epoch=5)
        with pytest.raises(Refused):
            await stage.do(task("tool"), epoch=4)
        with pytest.raises(Permanent, match="r9"):
            await stage.do(RunTask("tool-2", "schedule", "tool", "r9", "true"), epoch=5)
        assert await stage.see(TaskSeen, "tool-1") is None
        assert stage.runs("tool") == 0

    play(story)
