"""One process of a run: `python -m tenfold.proof.load`.

Stage: a line of JSON with an `Assignment` on standard input, then a line with the moment of the start; out come `Line`s of
JSON. The end of standard input stops the run, so it also ends when its caller dies.
"""

import asyncio
import gc
import os
import sys
from dataclasses import dataclass
from typing import Self

import msgspec
import uvloop

from tenfold.proof.load.crowd import Crowd
from tenfold.proof.load.engine import collector_off
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import LoadPlan, UserPlan
from tenfold.proof.load.shares import Plan, address_of, allow_descriptors, share_of
from tenfold.proof.load.tally import Slice, Tally


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process is to do: its share of exactly one of both kinds of plan."""

    index: int
    of: int
    load: LoadPlan | None = None
    users: UserPlan | None = None

    @classmethod
    def of_plan(cls, plan: Plan, index: int, of: int) -> Self:
        """A process's share of a plan."""
        return cls(index, of, load=plan) if isinstance(plan, LoadPlan) else cls(index, of, users=plan)

    @property
    def plan(self) -> Plan:
        """The one that is given. Raises `LoadError` if none is."""
        plan = self.load or self.users
        if plan is None:
            raise LoadError("the assignment holds no plan: give one")
        return plan


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the process's output: exactly one of these."""

    ready: bool | None = None
    piece: Slice | None = None
    tally: Tally | None = None
    error: str | None = None


def main() -> int:
    """Read an assignment from standard input, carry it out, write JSON lines to standard output; 2 if it can't be done."""
    try:
        assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=Assignment)
    except msgspec.DecodeError as error:
        _write(Line(error=f"the plan of the load can't be read: {error}"))
        return 2
    allow_descriptors()
    # What was imported stays; the collector has nothing to look at there.
    gc.freeze()
    return uvloop.run(_run(assignment))


async def _run(assignment: Assignment) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(piece: Slice) -> None:
        if not _write(Line(piece=piece)):
            stop.set()

    try:
        address = await address_of(assignment.plan.target)
        _write(Line(ready=True))
        # Nothing else goes on here yet, so that this may block.
        begin = sys.stdin.buffer.readline()
        if not begin:
            return 0
        share = share_of(assignment.plan, address, float(begin), assignment.index, assignment.of)
        # Only the end of the input can follow.
        loop.add_reader(sys.stdin.fileno(), stop.set)
        with collector_off():
            tally = await Crowd(share).run(tell, stop)
    except LoadError as error:
        _write(Line(error=str(error)))
        return 2
    finally:
        loop.remove_reader(sys.stdin.fileno())
    _write(Line(tally=tally))
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
