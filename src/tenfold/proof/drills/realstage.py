"""A drill on the project that runs here: its journal, its edge, the harm that drivers can do. Stage: real engines -> what came of it."""

import asyncio
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from tenfold.drivers.project import Project
from tenfold.drivers.releases import capture
from tenfold.effects.faults import Kill
from tenfold.facts import DeployRequest, RollbackRequest
from tenfold.loop import Desk, FileLease, JournalError, JournalReader, Tick
from tenfold.model import Model, Release, Service
from tenfold.ports import DriverError, Harm
from tenfold.proof.drills import reviver, sick
from tenfold.proof.drills.aim import CONTROL
from tenfold.proof.drills.beside import Beside, Demand
from tenfold.proof.drills.drill import Act, Ship, Sickness, Strike, Surge
from tenfold.proof.drills.result import Traffic
from tenfold.proof.drills.slow import later_than, slow_beyond_ms
from tenfold.proof.drills.stage import DrillRefused, Look, Made
from tenfold.proof.drills.traffic import traffic_of
from tenfold.proof.drills.writers import Writers, writers_of
from tenfold.proof.history import Operation
from tenfold.proof.load import LoadResult, Target

NORMAL_S = 8.0
PROBE_EVERY_S = 0.5
PROBE_WITHIN_S = 2.0
POLL_S = 0.1
STARTS_WITHIN_S = 10.0
"""So long a broken release may take to get healthy: the drill need not last the minute that a real one is given."""
BEGINS_WITHIN_S = 30.0
TAKEN_BACK_WITHIN_S = 60.0
REVIVED_WITHIN_S = 90.0


@dataclass(frozen=True, slots=True)
class Around:
    """What a drill finds around it: the project, the address of its edge, the command that starts its control plane behind a terminal."""

    project: Project
    model: Model
    target: Target
    harm: Harm
    revive: tuple[str, ...]


class RealStage:
    """The project that runs here, under `demand`. `normal_s` is how long is looked at what is normal."""

    world = "real"

    def __init__(self, around: Around, demand: Demand, seed: int = 1, normal_s: float = NORMAL_S) -> None:
        """Nothing is done until `open`."""
        self._around, self._demand, self._seed, self._normal_s = around, demand, seed, normal_s
        self._reader: JournalReader | None = None
        self._writers: Writers | None = None
        self._load: Beside | None = None
        self._surge: Beside | None = None
        self._surged: list[LoadResult] = []
        self._normal_ms: float | None = None
        self._status: int | None = None
        self._probing: asyncio.Task[None] | None = None
        self._reviver: subprocess.Popen[bytes] | None = None
        self._shipped: list[tuple[str, str]] = []

    @property
    def seed(self) -> int:
        """What chooses the subject and the load's moments."""
        return self._seed

    def now(self) -> float:
        """Wall clock."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """As long as it takes."""
        await asyncio.sleep(seconds)

    async def open(self) -> None:
        """Look at the edge, and begin to write."""
        self._reader = JournalReader(self._around.project.journal)
        self._probing = asyncio.create_task(self._probe())
        self._writers = writers_of(self._around.target, self._demand.scenario)
        if self._writers is not None:
            await self._writers.open()

    async def normal(self) -> None:
        """A load for a while to know what is usual, and then one that stays."""
        warm_up_s, target = self._demand.warm_up_s, self._around.target
        first = self._load = Beside(target, self._demand, self._seed + 1000, warm_up_s + self._normal_s)
        await first.begin()
        p999_ms = (result.response.p999_ms for result in await first.whole())
        self._normal_ms = max((ms for ms in p999_ms if ms is not None), default=None)
        self._load = Beside(target, self._demand, self._seed)
        await self._load.begin()
        await asyncio.sleep(warm_up_s)

    async def look(self) -> Look:
        """The newest tick, the last probe, the last second of the load."""
        tick = self._latest()
        load, writers = self._load, self._writers
        return Look(
            at=time.time(),
            model=self._around.model,
            snapshot=tick.snapshot,
            memory=tick.memory,
            epoch=tick.epoch,
            seen_at=tick.at,
            edge_status=self._status,
            failed=load.failed if load is not None else None,
            late_ms=later_than(load.p99_ms, self._normal_ms) if load is not None else None,
            write_fails=writers.fails if writers is not None else None,
        )

    def decisions(self, since: float) -> Sequence[Made]:
        """Of the journal."""
        assert self._reader is not None, "it is open"
        return [Made(row.at, row.decision) for row in self._reader.decisions() if row.at >= since]

    async def act(self, act: Act) -> None:
        """Do it. Raises `DrillRefused` when it can't be done here."""
        try:
            match act:
                case Strike(fault):
                    if fault == Kill(CONTROL) and not self._around.model.is_spread:
                        self._reviver = await asyncio.to_thread(_start_reviver, self._around)
                    await self._around.harm.inflict(fault)
                case Surge(times):
                    self._surge = Beside(self._around.target, self._demand.times(times - 1), self._seed + 2000)
                    await self._surge.begin()
                case Ship(sickness):
                    await self._ship(sickness)
        except (DriverError, JournalError) as error:
            raise DrillRefused(str(error)) from None

    async def undo(self) -> None:
        """Mend what is harmed, end the surge, take back what was shipped and is still on its way, see that a control plane runs."""
        try:
            await self._around.harm.undo()
        finally:
            surge, self._surge = self._surge, None
            if surge is not None:
                self._surged += await surge.end()
            await self._take_back()
            await self.revive()

    async def revive(self) -> None:
        """Let the control plane be started again, if we killed it. Raises `DrillRefused` with what it said when it does not start."""
        process, self._reviver = self._reviver, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None, "it was made with pipes"
        if FileLease(self._around.project.run / "lease").holder() is not None:
            # Somebody was quicker.
            with suppress(BrokenPipeError):
                process.stdin.write(reviver.NOT_NEEDED)
        output, _ = await asyncio.to_thread(process.communicate)
        if process.returncode:
            said = output.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise DrillRefused(f"the control plane does not start again: {said[-1]}")

    async def end(self) -> Traffic:
        """End the load, read back what was written."""
        assert self._load is not None, "it was begun"
        results = [*await self._load.end(), *self._surged]
        if self._writers is not None:
            await self._writers.end()
        return traffic_of(results, slow_beyond_ms(self._around.model, self._normal_ms), self._normal_ms)

    def history(self) -> Sequence[Operation]:
        """What the writers did."""
        return self._writers.history if self._writers is not None else ()

    async def close(self) -> None:
        """End the load and the writers, let go of the journal."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        for beside in (self._load, self._surge, self._writers):
            if beside is not None:
                await beside.close()
        if self._reader is not None:
            self._reader.close()

    def _latest(self) -> Tick:
        assert self._reader is not None, "it is open"
        try:
            tick = self._reader.latest()
        except JournalError as error:
            raise DrillRefused(str(error)) from None
        if tick is None:
            raise DrillRefused("nothing has run here yet: start this project with `tenfold up`")
        return tick

    async def _probe(self) -> None:
        """Ask the edge for a page, each time over a connection of its own, as somebody who comes for the first time."""
        url = f"http://{self._around.target.authority}{self._demand.path}"
        connector, within = aiohttp.TCPConnector(force_close=True), aiohttp.ClientTimeout(total=PROBE_WITHIN_S)
        async with aiohttp.ClientSession(connector=connector, timeout=within) as session:
            while True:
                try:
                    async with session.get(url, allow_redirects=False) as answer:
                        self._status = answer.status
                except (aiohttp.ClientError, OSError, TimeoutError):
                    self._status = 0
                await asyncio.sleep(PROBE_EVERY_S)

    async def _ship(self, sickness: Sickness) -> None:
        """Hand in a broken release; returns once it is under way, or was refused."""
        around, tick = self._around, self._latest()
        assert self._reader is not None, "it is open"
        releases = self._reader.releases()
        serving = releases.get(tick.memory.release.serving or "")
        if serving is None:
            raise DrillRefused("no release serves, so there is nothing to serve on: `tenfold up` first")
        highest = max((release.number for release in releases.values()), default=0)
        captured = await asyncio.to_thread(capture, around.project, around.model.keep, False, highest)
        services = {name: broken(service, sickness) for name, service in serving.services.items()}
        release = Release(captured.id, services, captured.digest, time.time(), serving.env, serving.secrets)
        request = f"drill-{time.time_ns()}"
        Desk(around.project.journal).append(DeployRequest(request, time.time(), release))
        self._shipped.append((request, captured.id))
        until_s = time.monotonic() + BEGINS_WITHIN_S
        while self._reader.answer(request) is None:
            operation = self._latest().memory.release.operation
            if operation is not None and operation.release == captured.id:
                return
            if time.monotonic() > until_s:
                raise DrillRefused(f"{captured.id} was not begun within {BEGINS_WITHIN_S:g} s: see `tenfold status`")
            await asyncio.sleep(POLL_S)

    async def _take_back(self) -> None:
        """Stop and undo what is still on its way of what was shipped."""
        assert self._reader is not None or not self._shipped, "who has shipped has read"
        for request, release in self._shipped:
            assert self._reader is not None
            operation = self._latest().memory.release.operation
            if self._reader.answer(request) is not None or operation is None or operation.release != release:
                continue
            ours = f"drill-{time.time_ns()}"
            Desk(self._around.project.journal).append(RollbackRequest(ours, time.time()))
            for _ in range(round(TAKEN_BACK_WITHIN_S / POLL_S)):
                if self._reader.answer(ours) is not None:
                    break
                await asyncio.sleep(POLL_S)


def broken(service: Service, sickness: Sickness) -> Service:
    """A service of a release that is broken on purpose. Nothing of it is built, and no release hook runs: it touches no data."""
    service = replace(service, build=None, release_hook=None)
    if not (service.http and service.runs_always):
        return service
    health = replace(service.health, starts_within_s=min(STARTS_WITHIN_S, service.health.starts_within_s))
    command = "exec sleep 86400"
    if sickness is Sickness.ERRORS:
        program = Path(sick.__file__)
        command = f"exec {shlex.quote(sys.executable)} {shlex.quote(str(program))} {{host}} {{port}}"
    return replace(service, command=command, health=health)


def _start_reviver(around: Around) -> "subprocess.Popen[bytes]":
    """A process that starts the control plane when we say so, and when we are gone."""
    process = subprocess.Popen(
        [sys.executable, "-m", reviver.PROGRAM, *around.revive],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None, "it was made with a pipe"
    if process.stdout.readline() != b"ready\n":
        process.kill()
        raise DrillRefused("what starts the control plane again could not be started, so it was not killed")
    return process
