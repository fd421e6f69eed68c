"""Carries out a plan in processes of their own, which neither disturb the caller nor are disturbed by it, and merges what they
measured.

Stage: `UserPlan` or `LoadPlan` in, `Progress` each second, `LoadResult` out. Each process (`worker`) gets its share, says that it is
ready, and begins at the same moment of the clock that all share.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

import msgspec

from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.merge import Merger
from tenfold.proof.load.plan import LoadPlan, UserPlan
from tenfold.proof.load.result import LoadResult, Progress
from tenfold.proof.load.shares import Plan, outline_of, processes_for
from tenfold.proof.load.tally import Tally
from tenfold.proof.load.worker import Assignment, Line

_LINE_BYTES_MAX = 64 * 1024 * 1024
"""A tally carries two histograms for each action and step: some kilobytes each."""
_HEAD_START_S = 0.02
"""For the word to begin to reach everybody."""


async def run_users(
    plan: UserPlan,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """Play the plan's scenario, and wait for the last answers.

    `on_progress` is called each second. When `stop` is set the run ends at once and returns what it has, marked
    `interrupted`; cancelling ends its processes. Raises `LoadError`, also when one of the processes died: its users' figures died
    with it.
    """
    return await _run(plan, on_progress, stop)


async def run_apart(
    plan: LoadPlan,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """The same as `engine.run`, in a process of its own, on uvloop. Raises `LoadError`."""
    return await _run(plan, on_progress, stop)


async def _run(plan: Plan, on_progress: Callable[[Progress], None] | None, stop: asyncio.Event | None) -> LoadResult:
    count = processes_for(plan)
    merger = Merger(outline_of(plan, count), on_progress)
    processes: list[Process] = []
    tasks: list[asyncio.Task[Tally]] = []
    stopping: asyncio.Task[None] | None = None
    try:
        for _ in range(count):
            processes.append(await _started())
        for index, process in enumerate(processes):
            assert process.stdin is not None, "it was asked for as a pipe"
            process.stdin.write(msgspec.json.encode(Assignment.of_plan(plan, index, count)) + b"\n")
        for process in processes:
            await _line(process)
        begin_s = perf_counter() + _HEAD_START_S
        for process in processes:
            assert process.stdin is not None, "it was asked for as a pipe"
            process.stdin.write(f"{begin_s!r}\n".encode())
        if stop is not None:
            stopping = asyncio.create_task(_stop_later(processes, stop))
        tasks = [asyncio.create_task(_heard(index, each, merger)) for index, each in enumerate(processes)]
        tallies = await asyncio.gather(*tasks)
        return merger.result(tallies, interrupted=stop is not None and stop.is_set())
    finally:
        for task in (*tasks, *((stopping,) if stopping else ())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in processes:
            await process.wait()


async def _started() -> Process:
    """A process in a session of its own, so that a Ctrl-C at the terminal reaches the caller alone, who sets `stop`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # or a file of the person's own folder, say signal.py, would stand in for Python's
        "-m",
        "tenfold.proof.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
        start_new_session=True,
    )


async def _heard(index: int, process: Process, merger: Merger) -> Tally:
    """Listen to a process until it has told its tally."""
    while True:
        line = await _line(process)
        if line.tally is not None:
            merger.ended(index)
            return line.tally
        if line.piece is not None:
            merger.take(index, line.piece)


async def _line(process: Process) -> Line:
    """The next line of a process. Raises `LoadError` for an error that it tells, and when it is gone."""
    assert process.stdout is not None, "it was asked for as a pipe"
    text = await process.stdout.readline()
    if not text.endswith(b"\n"):
        status = await process.wait()
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise LoadError(
            f"a load process {how} before the run was over, and its figures are gone with it: "
            "see its message above, or the kernel's (memory?), and run it again"
        )
    line = msgspec.json.decode(text, type=Line)
    if line.error is not None:
        raise LoadError(line.error)
    return line


async def _stop_later(processes: list[Process], stop: asyncio.Event) -> None:
    """Tell all processes to stop when `stop` is set."""
    await stop.wait()
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
