"""`Wan`: a network per region, made by root, with a router process between them. Stage: effects -> world, below the drivers.

The router outlives the control plane and is started again when it dies: by a shell around it, which needs no control plane for
that, and should both die, by whoever leads.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tenfold.drivers.enginehome import only_one
from tenfold.drivers.logs import cut
from tenfold.drivers.procs import Command, Process, Processes, TreeKey
from tenfold.drivers.project import Project
from tenfold.drivers.wan import namespace, setup
from tenfold.drivers.wan.desk import RouterDesk
from tenfold.drivers.wan.plan import MACHINE, REGIONS_MAX, Plan, make_plan, presence, read_plan, write_plan
from tenfold.model import Region
from tenfold.ports import DriverError, Permanent, Retryable

ROUTER = TreeKey("network", "router")

_AGAIN = 'while :; do "$@"; sleep 0.1; done'
_READY_WITHIN_S = 15.0
_POLL_S = 0.02
_LOOK_EVERY_S = 0.5
_PLAN = "wan.json"


class Wan:
    """Network namespaces with an emulated distance between them; see docs/design/0010-userspace-wan.md."""

    notice = (
        "each region has a network of its own: what runs there reaches the other regions, the stores and the console, "
        "not the internet (builds do)"
    )

    def __init__(self, project: Project, regions: Mapping[str, Region]) -> None:
        """`regions` are the model's; those that an earlier run knew keep their addresses."""
        self.project = project
        self._regions = regions
        self._processes = Processes(project)
        self._plan_file = project.run / _PLAN
        self._log = project.logs / "router.log"
        self._plan: Plan | None = None
        self._router: Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def plan(self) -> Plan:
        """Who has which address. Raises `Retryable` before the network was made."""
        if self._plan is None:
            self._plan = read_plan(self._plan_file)
        if self._plan is None:
            raise Retryable("the network between the regions is not made yet; `tenfold up --wan` makes it")
        return self._plan

    @property
    def console_host(self) -> str:
        """This machine as the regions see it."""
        return self._address(MACHINE)

    async def open(self) -> None:
        """Make namespaces, devices and router, or take over those that are there; look after them until `close`.

        Raises `Permanent` when this machine can't, `Retryable` when the router does not start.
        """
        if why := setup.why_not():
            raise Permanent(why)
        if len(self._regions) > REGIONS_MAX:
            raise Permanent(f"networks for {len(self._regions)} regions can't be made, only for {REGIONS_MAX}")
        async with only_one(self.project.run / "wan.lock", "the network between the regions"):
            await self._make()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Let go; networks and router stay."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        if self._router is not None:
            self._router.close()

    def host(self, region: str) -> str:
        """The region's own address."""
        return self._address(region)

    def command(self, region: str, argv: Sequence[str]) -> tuple[str, ...]:
        """By `nsenter`, which keeps everything but the network."""
        return (shutil.which("nsenter") or "nsenter", f"--net={namespace.FOLDER / self._name(region)}", "--", *argv)

    def inside(self, region: str) -> AbstractContextManager[None]:
        """This thread is in the region's namespace meanwhile."""
        return namespace.inside(self._name(region))

    def delay_ms(self, origin: str, region: str) -> float:
        """None: the packets are late themselves."""
        return 0.0

    def entry_source(self, origin: str) -> str:
        """The address of the point of presence near `origin`."""
        return self._address(presence(origin))

    async def desk(self) -> RouterDesk:
        """A connection to the router."""
        return await RouterDesk.open(self.project.run)

    def _address(self, node: str) -> str:
        address = self.plan.address(node)
        if address is None:
            raise Permanent(
                f"there is no region {node} in this network: `tenfold down`, then `tenfold up --wan` makes it"
            )
        return address

    def _name(self, region: str) -> str:
        self._address(region)
        return next(node.namespace for node in self.plan.regions if node.name == region)

    async def _make(self) -> None:
        before = read_plan(self._plan_file)
        known = [node.name for node in before.regions] if before else []
        # A region that is gone from the blueprint keeps its number until `down`: something may still run there.
        gone = {name: Region(name) for name in known}
        order = [*known, *(name for name in self._regions if name not in known)]
        self._plan = await asyncio.to_thread(self._make_networks, before, order, {**gone, **self._regions})
        router = self._processes.look().get(ROUTER)
        if router is not None and router.leader is None:
            await self._processes.stop(ROUTER, 0.0)
            router = None
        if router is None:
            self._router = self._start()
        else:
            self._router = self._processes.adopt(router)
        await self._until_it_answers()

    def _make_networks(self, before: Plan | None, order: Sequence[str], regions: Mapping[str, Region]) -> Plan:
        with setup.alone():
            block = setup.free_block(self.project.id, before.block if before else None)
            plan = make_plan(self.project.id, block, order, regions)
            write_plan(self._plan_file, plan)
            setup.make(plan)
        return plan

    def _start(self) -> Process:
        program = (sys.executable, "-m", "tenfold.drivers.wan.router", str(self._plan_file))
        # The router finds this program's modules where we found them, and nothing else of our environment matters to it.
        env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = Command(
            argv=("/bin/sh", "-c", _AGAIN, "sh", *program),
            env=env,
            cwd=self.project.run,
            log=self._log,
        )
        return self._processes.spawn(ROUTER, command)

    async def _until_it_answers(self) -> None:
        """Until the router carries packets by the newest plan."""
        until_s = time.monotonic() + _READY_WITHIN_S
        while True:
            try:
                desk = await self.desk()
                try:
                    await desk.reload()
                    return
                finally:
                    await desk.close()
            except DriverError as error:
                if time.monotonic() > until_s:
                    raise Retryable(f"{error}; its words are in {self._log}") from error
            await asyncio.sleep(_POLL_S)

    async def _keep(self) -> None:
        """Make anew what was taken away, for as long as this control plane lives."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            with contextlib.suppress(OSError):
                cut(self._log)
            if self._router is not None and not self._router.poll() and setup.is_whole(self.plan):
                continue
            # What fails now is tried again with the next look; the regions tell by themselves that they don't reach one another.
            with contextlib.suppress(DriverError, OSError):
                async with only_one(self.project.run / "wan.lock", "the network between the regions"):
                    await self._make()


def remove(project: Project) -> None:
    """End the router and remove all networks of `project`, whoever made them; nothing happens when there are none."""
    processes = Processes(project)
    until_s = time.monotonic() + _READY_WITHIN_S
    while processes.send(ROUTER, signal.SIGKILL) and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    if os.geteuid() == 0:
        setup.remove(project.id)
    for name in (_PLAN, "wan.sock"):
        Path(project.run / name).unlink(missing_ok=True)
