"""Tasks run to their end and at most once, whatever dies when."""

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.project import Project
from tenfold.effects import RunTask, StopTask
from tenfold.ports import Permanent, Retryable


def task(command: str, id_: str = "r1-build-web", timeout_s: float = 60.0) -> RunTask:
    return RunTask(id_, "build", "web", "r1", command, timeout_s)


async def is_there(path: Path) -> bool:
    return path.exists()


@pytest.mark.parametrize(("command", "state", "code"), [("true", "succeeded", 0), ("echo no; exit 7", "failed", 7)])
async def test_a_task_runs_in_its_release_and_tells_how_it_ended(
    bench: Any, habit: Any, command: str, state: str, code: int
) -> None:
    """A task's exit code, times and the end of its output are told; its folder is the release's."""
    bench.release(web=habit("good"))
    assert (await bench.send(task(f"pwd; echo $TENFOLD_RELEASE; {command}"))).outcome == "done"
    seen = await bench.finished("r1-build-web")
    assert (seen.state, seen.exit_code, seen.kind, seen.service) == (state, code, "build", "web")
    assert seen.tail.splitlines()[:2] == [str(bench.project.releases / "r1"), "r1"]
    assert seen.started_at <= seen.ended_at <= seen.seen_at + 1


async def test_a_task_sent_again_does_not_run_again(bench: Any, habit: Any) -> None:
    """The same task id runs once: while it runs, after it ended, and after a restart."""
    bench.release(web=habit("good"))
    counter = bench.project.root / "counter"
    again = task(f"echo ran >> {counter}; sleep 0.3")
    await bench.send(again)
    await bench.send(again)
    await bench.finished("r1-build-web")
    await bench.send(again)
    await bench.driver.close()
    bench.driver = bench.new_driver()
    await bench.send(again)
    assert (await bench.finished("r1-build-web")).state == "succeeded"
    assert counter.read_text() == "ran\n"


async def test_a_task_that_takes_too_long_is_ended(bench: Any, habit: Any) -> None:
    """A task past its time is ended with all it started, and says so, deaf or not."""
    bench.release(web=habit("good"))
    await bench.send(task("sleep 1000 & sleep 1000", timeout_s=0.2))
    seen = await bench.finished("r1-build-web")
    assert seen.state == "failed" and seen.tail.endswith("ended after 0.2 s, the most it may take")
    assert not bench.driver.processes.look()


async def test_a_clock_that_is_set_ahead_ends_no_task(bench: Any, habit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that has run for a moment is not overdue because the clock was put right by an hour."""
    bench.release(web=habit("good"))
    await bench.send(task("sleep 0.7; exit 0"))
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 3600)
    assert (await bench.finished("r1-build-web")).state == "succeeded"


async def test_a_task_can_be_stopped(bench: Any, habit: Any, until: Any) -> None:
    """A stopped task is a failed one, also when it had to be killed; stopping it again changes nothing."""
    bench.release(web=habit("good"))
    deaf = bench.project.root / "deaf"
    await bench.send(task(f"trap '' TERM; echo > {deaf}; sleep 1000; sleep 1000"))
    await until(lambda: is_there(deaf))
    assert (await bench.send(StopTask("r1-build-web", 0.3))).outcome == "done"
    seen = await bench.task("r1-build-web")
    assert (seen.state, seen.exit_code) == ("failed", 137) and "told to end" in seen.tail
    assert (await bench.send(StopTask("r1-build-web", 0.3))).outcome == "done"


async def test_what_a_task_left_in_the_background_is_ended(bench: Any, habit: Any, until: Any) -> None:
    """A task that has ended leaves nothing running behind it."""
    bench.release(web=habit("good"))
    await bench.send(task("setsid sleep 1000 & exit 0"))
    assert (await bench.finished("r1-build-web")).state == "succeeded"

    async def empty() -> bool:
        return not bench.driver.processes.look()

    await until(empty)


async def test_a_task_killed_from_outside_is_unknown_and_stays_so(bench: Any, habit: Any) -> None:
    """A task whose processes were all killed left no exit code: it is unknown, also to the next control plane."""
    bench.release(web=habit("good"))
    await bench.send(task("sleep 1000"))
    (key,) = bench.driver.processes.look()
    bench.driver.processes.send(key, signal.SIGKILL)
    assert (await bench.finished("r1-build-web")).state == "unknown"
    await bench.driver.close()
    bench.driver = bench.new_driver()
    assert (await bench.task("r1-build-web")).state == "unknown"
    assert (await bench.send(task("sleep 1000"))).note == "started before"


async def test_a_tail_hides_secrets_and_stores_passwords(bench: Any, habit: Any) -> None:
    """What a task prints of a secret or of a store's password is not in its tail, nor on any command line."""
    bench.secrets.set("SESSION_KEY", "line one\nline two")
    bench.urls = {"DATABASE_URL": "postgres://app:pass%2Fword@127.0.0.1:1/app"}
    bench.release(web=habit("good"), secrets=("SESSION_KEY",))
    # It waits without a child of its own, until it was looked at.
    seen = bench.project.root / "seen"
    os.mkfifo(seen)
    await bench.send(task(f'echo "$SESSION_KEY"; echo $DATABASE_URL; read line < {seen}'))
    (tree,) = bench.driver.processes.look().values()
    lines = [Path(f"/proc/{member.pid}/cmdline").read_bytes() for member in tree.members]
    assert lines and not any(b"line one" in line or b"word" in line for line in lines)
    await asyncio.to_thread(seen.write_text, "\n")
    tail = (await bench.finished("r1-build-web")).tail
    assert tail == "***\n***\npostgres://app:***@127.0.0.1:1/app"


async def test_a_task_that_can_not_be_noted_does_not_run(bench: Any, habit: Any) -> None:
    """On a full disk a task is not started, and may be tried again later."""
    bench.release(web=habit("good"))
    counter = bench.project.root / "counter"
    await bench.driver.open()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        with pytest.raises(Retryable):
            await bench.send(task(f"echo ran >> {counter}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not counter.exists() and await bench.task("r1-build-web") is None
    await bench.send(task(f"echo ran >> {counter}"))
    assert (await bench.finished("r1-build-web")).state == "succeeded"


async def test_a_task_of_an_unknown_release_is_refused_for_good(bench: Any, habit: Any) -> None:
    """A release that is not known, or whose files are gone, is named with what to do."""
    bench.release(web=habit("good"))
    with pytest.raises(Permanent, match="release r9 is not known here"):
        await bench.send(RunTask("t", "build", "web", "r9", "true"))
    with pytest.raises(Permanent, match="release r1 has no service api; it has web"):
        await bench.send(RunTask("t", "build", "api", "r1", "true"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root alone")
async def test_a_task_that_fills_the_disk_still_tells_its_exit_code(
    small_disk: Path, habit: Any, bench: Any, until: Any
) -> None:
    """The room for the exit code is taken before the task starts, so a full disk does not make its end unknown."""
    full = type(bench)(Project(small_disk, "shop"))
    try:
        full.release(web=habit("good"))
        await full.send(task(f"cat /dev/zero > {small_disk}/hog; exit 5"))
        seen = await full.finished("r1-build-web")
        assert (seen.state, seen.exit_code) == ("failed", 5)
        with pytest.raises(Retryable, match="No space left"):
            await full.send(task("true", "another"))
    finally:
        await full.driver.close()


CONTROLLER = """
import asyncio, os, signal, sys, time
from pathlib import Path
from tenfold.drivers import tasks
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.process import ProcessDriver
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.effects import Order, RunTask
from tenfold.model import Release, Service

async def main():
    project, when = Project(Path(sys.argv[1]), "shop"), sys.argv[2]
    die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    spawn, note = Processes.spawn, tasks._write_through
    if when == "before the note":
        tasks._write_through = die
    if when == "before the start":
        Processes.spawn = die
    if when == "after the start":
        Processes.spawn = lambda *all: (spawn(*all), die())
    release = Release("r1", {"web": Service("web", "true")}, "digest", 1.0)
    driver = ProcessDriver(project, {"r1": release}.get, Secrets(project.secrets("x")), Fence(project.run / "fence"), FreePorts(project))
    await driver.open()
    print("up", flush=True)
    command = f"echo ran >> {project.root}/counter; sleep 0.2"
    await driver.apply(Order(RunTask("job", "schedule", "web", "r1", command), 1, "d", time.time()))
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("when", "state", "runs"),
    [
        ("before the note", "succeeded", 1),
        ("before the start", "unknown", 0),
        ("after the start", "succeeded", 1),
        *[(f"{random.Random(seed).uniform(0, 0.3):.2f} s later", "succeeded", 1) for seed in (1, 2, 3)],
    ],
)
async def test_a_task_runs_at_most_once_over_a_killed_control_plane(
    bench: Any, habit: Any, until: Any, when: str, state: str, runs: int
) -> None:
    """Wherever kill -9 strikes, the next control plane, told to run the task again, lets it have run at most once."""
    bench.release(web=habit("good"))
    command = [sys.executable, "-c", CONTROLLER, str(bench.project.root), when]
    old = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert old.stdout is not None
    assert await old.stdout.readline() == b"up\n"
    counter = bench.project.root / "counter"
    if when.endswith("later"):
        # A kill before it runs is one of those above, and which one would be the machine's choice.
        await until(lambda: is_there(counter))
        await asyncio.sleep(float(when.split()[0]))
        old.kill()
    await asyncio.wait_for(old.wait(), 60)
    started_before = (bench.project.tasks / "job.started").exists()
    again = RunTask("job", "schedule", "web", "r1", f"echo ran >> {counter}")
    note = (await bench.send(again)).note
    assert (note == "started before") == started_before
    assert (await bench.finished("job")).state == state
    time.sleep(0.1)  # noqa: ASYNC251 - nothing may still be on its way
    assert (counter.read_text() if counter.exists() else "") == "ran\n" * runs
