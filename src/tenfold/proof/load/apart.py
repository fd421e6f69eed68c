"""Runs the load engine in a process of its own, so that it neither disturbs the caller nor is disturbed by it.

Stage: the caller's `LoadPlan` goes as a line of JSON into `python -m tenfold.proof.load`, whose progress and result
come back as JSON lines. Closing its standard input stops the run, so it also ends when its caller dies. This module
holds both ends: `run_apart` for the caller, `main` for the process.
"""

import asyncio
import gc
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import uvloop

from tenfold.proof.load.engine import run
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import LoadPlan
from tenfold.proof.load.result import LoadResult, Progress

_LINE_BYTES_MAX = 64 * 1024 * 1024
"""A result carries a row for each second of the run: some 300 bytes, so this is enough for two days."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the process's output: exactly one of these."""

    progress: Progress | None = None
    result: LoadResult | None = None
    error: str | None = None


async def run_apart(
    plan: LoadPlan,
    on_progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """The same as `engine.run`, in a process of its own, on uvloop.

    The process is in a session of its own, so that a Ctrl-C at the terminal reaches the caller alone, who sets `stop`.
    Cancelling the caller ends it. Raises `LoadError`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # or a file of the person's own folder, say signal.py, would stand in for Python's
        "-m",
        "tenfold.proof.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None, "both were asked for as pipes"
    process.stdin.write(msgspec.json.encode(plan) + b"\n")
    stopping = asyncio.create_task(_close_later(process.stdin, stop)) if stop is not None else None
    try:
        async for text in process.stdout:
            line = msgspec.json.decode(text, type=Line)
            if line.error is not None:
                raise LoadError(line.error)
            if line.result is not None:
                return line.result
            if line.progress is not None and on_progress is not None:
                on_progress(line.progress)
        raise LoadError(f"the load process ended early with status {await process.wait()}: see its message above")
    finally:
        if stopping is not None:
            stopping.cancel()
        await _end(process)


async def _close_later(stdin: asyncio.StreamWriter, stop: asyncio.Event) -> None:
    """Tell the process to stop when `stop` is set."""
    await stop.wait()
    stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """See the process out, whether it has told its result or is no longer wanted."""
    with suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


def main() -> int:
    """Read a plan from standard input, carry it out, write JSON lines to standard output; 2 if it can't be done."""
    try:
        plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=LoadPlan)
    except msgspec.DecodeError as error:
        _write(Line(error=f"the plan of the load can't be read: {error}"))
        return 2
    _allow_descriptors()
    # What was imported stays; the collector has nothing to look at there.
    gc.freeze()
    return uvloop.run(_run(plan))


async def _run(plan: LoadPlan) -> int:
    stop = asyncio.Event()
    # Only the end of the input can follow the plan.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)

    def tell(progress: Progress) -> None:
        if not _write(Line(progress=progress)):
            stop.set()

    try:
        result = await run(plan, tell, stop)
    except LoadError as error:
        _write(Line(error=str(error)))
        return 2
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    _write(Line(result=result))
    return 0


def _write(line: Line) -> bool:
    """Write a line; False when nobody reads any more."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python would try to flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _allow_descriptors() -> None:
    """Raise this process's own limit of open descriptors to what the system allows it: one is a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
