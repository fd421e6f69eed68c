"""Instances as processes: started, found again, asked for their health, ended. Stage: effects -> world -> facts.

What an instance is can be read off its process (tags, port, start); what was learned about it (that it was ready, since when, that it
was told to end) is kept in a small file beside, so that a new control plane goes on where the old one stopped.
"""

import asyncio
import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.drivers import logs
from tenfold.drivers.freeport import HOST
from tenfold.drivers.health import unwell
from tenfold.drivers.limits import Limits
from tenfold.drivers.network import Network
from tenfold.drivers.procs import Process, Processes, Tree, TreeKey, Usage, killed_by
from tenfold.drivers.proctable import read_stat
from tenfold.drivers.project import Project
from tenfold.facts import InstanceSeen, InstanceState
from tenfold.model import Health, Service
from tenfold.ports import Retryable
from tenfold.wire import environment

STARTING_EVERY_S = 0.1
"""How often an instance that is not ready yet, or is in doubt, is asked."""

FROZEN_EVERY_S = 0.2
"""How often an instance is looked at for having been stopped: what it has at hand waits for that long and no longer."""

_SICK_EVERY_S = 1.0
_ALIVE_FOR_S = 1.0
"""A background service can't be asked; it counts as ready when it has lived this long, so one that fails at once never does."""

_STALL_S = 0.5
"""When a check took this much longer than it may, this process itself was held up, and the check says nothing."""

_STRAYS_GRACE_S = 1.0
_NOT_FOUND = re.compile(
    r"(?:.*: )?(?:exec: )?([^:]+): (?:not found|command not found|No such file or directory|Permission denied)"
)


@dataclass(slots=True)
class Instance:
    """One instance. `doubtful`: found again, and not asked yet. `frozen`: its process was stopped at the last look. `mask` hides
    its release's secrets."""

    id: str
    service: str
    region: str
    release: str
    port: int | None
    health: Health
    memory_bytes: int
    process: Process
    log: Path
    mask: Callable[[str], str]
    state: InstanceState = InstanceState.STARTING
    since: float = 0.0
    generation: int = 1
    attempt: int = 1
    note: str = ""
    doubtful: bool = False
    frozen: bool = False
    successes: int = 0
    failures: int = 0
    tending: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    grace_s: float = 0.0

    @property
    def key(self) -> TreeKey:
        return TreeKey("instance", self.id)


@dataclass(slots=True)
class Instances:
    """All instances of a project. `changed` is called whenever one enters another state."""

    project: Project
    processes: Processes
    limits: Limits
    network: Network
    changed: Callable[[], None]
    all: dict[str, Instance] = field(default_factory=dict)

    def log_file(self, instance: str) -> Path:
        """Where an instance's output is."""
        return self.project.logs / f"{instance}.log"

    def ports(self) -> frozenset[int]:
        """The ports given to instances, whether they listen yet or not."""
        return frozenset(instance.port for instance in self.all.values() if instance.port is not None)

    def add(self, instance: Instance) -> None:
        """Take care of an instance that was just started."""
        instance.since = instance.process.started_at
        self.all[instance.id] = instance
        self._remember(instance)
        self._tend(instance)

    def adopt(self, tree: Tree, service: Service | None, mask: Callable[[str], str]) -> None:
        """Take care of an instance that was found running; `service` is None when its release is not known any more."""
        process = self.processes.adopt(tree)
        assert process is not None, "a tree without a leader is ended, not adopted"
        tags = tree.tags
        port = tags.get(environment.PORT)
        instance = Instance(
            id=tree.key.id,
            service=tags.get(environment.SERVICE, ""),
            region=tags.get(environment.REGION, ""),
            release=tags.get(environment.RELEASE, ""),
            port=int(port) if port else None,
            health=service.health if service else Health(),
            memory_bytes=service.instance.memory_bytes if service else 0,
            process=process,
            log=self.log_file(tree.key.id),
            mask=mask,
            since=process.started_at,
            doubtful=True,
        )
        self._recall(instance)
        self.all[instance.id] = instance
        self._tend(instance)
        if instance.state is InstanceState.STOPPING:
            left_s = instance.since + instance.grace_s - time.time()
            # A clock that was set back meanwhile gives it no more time than it was told.
            instance.ending = asyncio.create_task(self._end(instance, min(max(0.0, left_s), instance.grace_s)))

    async def stop(self, instance: Instance, grace_s: float) -> None:
        """End an instance and all it started, and forget it. Asked again with a shorter grace, it is ended sooner."""
        if instance.state is InstanceState.EXITED:
            await self.processes.stop(instance.key, min(grace_s, _STRAYS_GRACE_S))
            self.forget(instance)
            return
        if instance.ending is None or instance.ending.done():
            instance.grace_s = grace_s
            self._enter(instance, InstanceState.STOPPING, "told to end")
            instance.ending = asyncio.create_task(self._end(instance, grace_s))
        elif grace_s < instance.grace_s:
            await self.processes.stop(instance.key, grace_s)
        await asyncio.shield(instance.ending)

    def forget(self, instance: Instance) -> None:
        """Drop an instance of which nothing runs any more."""
        if instance.tending is not None:
            instance.tending.cancel()
        instance.process.close()
        self.limits.remove(instance.id)
        self._state_file(instance).unlink(missing_ok=True)
        self.processes.table.tag_file(instance.log).unlink(missing_ok=True)
        self.all.pop(instance.id, None)
        self.changed()

    def forget_all_but(self, living: Collection[str]) -> None:
        """Drop what is kept of instances that ended while no control plane was there."""
        for path in (self.project.run / "states").glob("*.json"):
            if path.stem not in living:
                path.unlink(missing_ok=True)
                self.processes.table.tag_file(self.log_file(path.stem)).unlink(missing_ok=True)

    def seen(self, trees: Mapping[TreeKey, Tree], usage: Mapping[TreeKey, Usage], now: float) -> list[InstanceSeen]:
        """Every instance, as it is now."""
        return [
            self._see(instance, trees.get(instance.key), usage.get(instance.key), now) for instance in self.all.values()
        ]

    def close(self) -> None:
        """Let go of all instances; they go on."""
        for instance in self.all.values():
            instance.process.close()
            for task in (instance.tending, instance.ending):
                if task is not None:
                    task.cancel()

    def _see(self, instance: Instance, tree: Tree | None, usage: Usage | None, now: float) -> InstanceSeen:
        gone = instance.state is InstanceState.EXITED
        return InstanceSeen(
            id=instance.id,
            service=instance.service,
            region=instance.region,
            release=instance.release,
            state=instance.state,
            since=instance.since,
            started_at=instance.process.started_at,
            seen_at=now,
            generation=instance.generation,
            pid=None if gone else instance.process.pid,
            host=None if instance.port is None else HOST,
            port=instance.port,
            cpu_cores=usage.cpu_cores if usage and not gone else None,
            memory_bytes=usage.memory_bytes if usage and not gone else None,
            frozen=tree is not None and tree.frozen and not gone,
            note=instance.note,
        )

    def _tend(self, instance: Instance) -> None:
        instance.process.watch(lambda _process: self._gone(instance))
        instance.tending = asyncio.create_task(self._ask_again_and_again(instance))

    async def _ask_again_and_again(self, instance: Instance) -> None:
        while instance.state in (InstanceState.STARTING, InstanceState.READY, InstanceState.UNHEALTHY):
            began_at = time.monotonic()
            why = await self._ask(instance)
            if why is not None and time.monotonic() - began_at < instance.health.timeout_s + _STALL_S:
                self._judge(instance, why)
            if instance.state is InstanceState.STARTING or instance.doubtful:
                pause_s = STARTING_EVERY_S
            elif instance.state is InstanceState.UNHEALTHY:
                pause_s = min(_SICK_EVERY_S, instance.health.every_s)
            else:
                pause_s = instance.health.every_s
            await self._rest(instance, pause_s)

    async def _rest(self, instance: Instance, pause_s: float) -> None:
        """Wait until it is asked again. Nothing tells by itself that a process was stopped (SIGSTOP), so that is looked for meanwhile."""
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, FROZEN_EVERY_S))
            stat = read_stat(instance.process.pid)
            frozen = stat is not None and stat.frozen
            if frozen is not instance.frozen:
                instance.frozen = frozen
                self.changed()

    async def _ask(self, instance: Instance) -> str | None:
        """Why it is not well, empty when it is; None when it could not be asked."""
        if instance.port is not None:
            health = instance.health
            try:
                return await unwell(
                    HOST, instance.port, health.path, health.timeout_s, lambda: self._socket(instance.region)
                )
            except Retryable:
                return None  # The region's network is being made ready.
        return "it was started only just now" if instance.process.identity.age_s < _ALIVE_FOR_S else ""

    def _socket(self, region: str) -> socket.socket:
        """A socket in the network of `region`."""
        with self.network.inside(region):
            return socket.socket()

    def _judge(self, instance: Instance, why: str) -> None:
        """Count one answer, and change state when there were enough of them."""
        state, health = instance.state, instance.health
        instance.successes = 0 if why else instance.successes + 1
        instance.failures = instance.failures + 1 if why else 0
        if state is InstanceState.READY:
            if instance.failures >= health.unhealthy_after:
                instance.doubtful = False
                self._enter(instance, InstanceState.UNHEALTHY, why)
            elif not why:
                instance.doubtful = False
        elif state in (InstanceState.STARTING, InstanceState.UNHEALTHY):
            if instance.successes >= health.healthy_after:
                instance.doubtful = False
                self._enter(instance, InstanceState.READY, "")
            elif why:
                instance.note = why

    def _enter(self, instance: Instance, state: InstanceState, note: str) -> None:
        instance.state, instance.note = state, note
        instance.since = time.time()
        instance.generation += 1
        instance.successes = instance.failures = 0
        if state is not InstanceState.EXITED:
            self._remember(instance)
        self.changed()

    def _gone(self, instance: Instance) -> None:
        """Its process has ended: say how, and end what it left running."""
        if instance.state in (InstanceState.STOPPING, InstanceState.EXITED):
            return
        self._enter(instance, InstanceState.EXITED, self._how_it_ended(instance))
        instance.ending = asyncio.create_task(self._end_strays(instance))

    async def _end(self, instance: Instance, grace_s: float) -> None:
        await self.processes.stop(instance.key, grace_s)
        self.forget(instance)

    async def _end_strays(self, instance: Instance) -> None:
        await self.processes.stop(instance.key, _STRAYS_GRACE_S)

    def _how_it_ended(self, instance: Instance) -> str:
        code = instance.process.exit_code
        said = logs.last_line(instance.log, instance.mask)
        last = f": {said}" if said else ""
        if self.limits.was_out_of_memory(instance.id):
            size = f"{instance.memory_bytes / 1024**2:.0f} MiB"
            return f"ended by the kernel: it used more than its {size} of memory; raise instance.memory"
        if code is None:
            return f"ended, its exit code unknown because an earlier control plane had started it{last}"
        if code < 0:
            return killed_by(-code)
        if code == 127 and (found := _NOT_FOUND.fullmatch(said)):
            return f"command not found: {found[1]}"
        if code == 0 and instance.key in self.processes.look():
            return "exit code 0: it went into the background; run it in the foreground"
        # A shell that ran the program tells its death by a signal this way.
        by_signal = f" ({signal.strsignal(code - 128)})" if code > 128 and signal.strsignal(code - 128) else ""
        return f"exit code {code}{by_signal}{last}"

    def _state_file(self, instance: Instance) -> Path:
        return self.project.run / "states" / f"{instance.id}.json"

    def _remember(self, instance: Instance) -> None:
        """Keep what a new control plane could not see."""
        path = self._state_file(instance)
        fresh = path.with_suffix(".new")
        known = {
            "state": instance.state.value,
            "since": instance.since,
            "grace_s": instance.grace_s,
            "note": instance.note,
            "attempt": instance.attempt,
        }
        with contextlib.suppress(OSError):  # On a full disk a new control plane asks anew, which costs it a moment.
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"started_at": instance.process.started_at, **known}))
            fresh.replace(path)

    def _recall(self, instance: Instance) -> None:
        """Take over what an earlier control plane knew of this very process."""
        try:
            known = json.loads(self._state_file(instance).read_text())
            if known["started_at"] != instance.process.started_at:
                return
            instance.state, instance.since = InstanceState(known["state"]), known["since"]
            instance.grace_s, instance.note = known["grace_s"], known["note"]
            instance.attempt = known.get("attempt", 1)
        except (OSError, ValueError, KeyError):
            return
