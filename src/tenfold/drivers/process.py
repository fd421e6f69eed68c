"""The process driver: instances, tasks and releases' files on this machine. Stage: effects -> world -> facts.

Everything it starts outlives it, and a new one takes over what runs (`look` in drivers.procs). It is an `Observer` (source `process`)
and an `Actuator`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import assert_never

from tenfold.drivers import logs, releases
from tenfold.drivers.env import Surroundings, environment_for, service_of, with_address
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import HOST, FreePorts, is_free
from tenfold.drivers.instances import Instance, Instances
from tenfold.drivers.limits import Limits
from tenfold.drivers.network import Loopback, Network
from tenfold.drivers.procs import Command, Processes, Tree, TreeKey, shell
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.drivers.tasks import Tasks
from tenfold.effects import (
    Effect,
    Order,
    Outcome,
    Receipt,
    RemoveRelease,
    RunTask,
    StartInstance,
    StopInstance,
    StopTask,
)
from tenfold.facts import Fact, InstanceState, ReleaseSeen
from tenfold.model import Release, Service
from tenfold.ports import DriverError, Permanent, Refused
from tenfold.wire import environment

ProcessEffect = StartInstance | StopInstance | RunTask | StopTask | RemoveRelease

_UPKEEP_EVERY_S = 0.25
_PRUNE_EVERY_S = 60.0
_STRAYS_GRACE_S = 1.0


class ProcessDriver:
    """Runs instances and tasks as processes of the invoking user.

    `release_of` gives a release by its id (None: unknown), `store_urls` the stores' variables for a region (`DATABASE_URL`, …),
    `fence` and `ports` are shared with the other drivers. Tasks run in `task_region`. `control_env` are `TENFOLD_*`
    variables that every program gets. Instances run in the `network` of their region.
    """

    source = "process"

    def __init__(
        self,
        project: Project,
        release_of: Callable[[str], Release | None],
        secrets: Secrets,
        fence: Fence,
        ports: FreePorts,
        store_urls: Callable[[str], Mapping[str, str]] = lambda _region: {},
        task_region: str = "local",
        control_env: Mapping[str, str] | None = None,
        network: Network | None = None,
    ) -> None:
        self._network = network if network is not None else Loopback()
        self._project = project
        self._release_of = release_of
        self._secrets = secrets
        self._fence = fence
        self._store_urls = store_urls
        self._task_region = task_region
        self._control_env = dict(control_env or {})
        self._wakes: list[Callable[[], None]] = []
        self._ports = ports
        self._upkeep: asyncio.Task[None] | None = None
        self._opened = False
        self.processes = Processes(project)
        self.limits = Limits(project)
        self.instances = Instances(project, self.processes, self.limits, self._network, self._changed)
        self.tasks = Tasks(project, self.processes, self._mask_of, self._changed, self._network, task_region)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should be told once, when this driver starts."""
        return (self.limits.why_not,) if self.limits.why_not else ()

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when an instance or task has changed its state, within milliseconds."""
        self._wakes.append(wake)

    async def open(self) -> None:
        """Take over everything of this project that runs. The first `observe` or `apply` does it where nobody has."""
        if self._opened:
            return
        self._project.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        trees = self.processes.look()
        living = frozenset(key.id for key in trees if key.kind == "instance")
        self.limits.sweep(living)
        self.instances.forget_all_but(living)
        self.tasks.adopt(trees)
        for key, tree in trees.items():
            if key.kind == "instance" and tree.leader is not None and key.id not in self.instances.all:
                release = tree.tags.get(environment.RELEASE, "")
                service = self._service(release, tree.tags.get(environment.SERVICE, ""))
                self.instances.adopt(tree, service, self._mask_of(release))
        if ports := self.instances.ports():
            self._ports.skip_past(max(ports))
        self._upkeep = asyncio.create_task(self._keep_up(_leaderless(trees)))
        # Only now: had any of this failed, what was not taken over yet would count as gone, and be started a second time.
        self._opened = True

    async def close(self) -> None:
        """Let go of everything; it all goes on running, for the next control plane to find."""
        self.instances.close()
        self.tasks.close()
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)

    async def observe(self) -> tuple[Fact, ...]:
        """Instances, tasks and releases as they are now: one pass over /proc."""
        await self.open()
        trees = self.processes.look()
        usage = self.processes.usage({key: tree for key, tree in trees.items() if key.kind == "instance"})
        now = time.time()
        found = [ReleaseSeen(release, now) for release in releases.release_ids(self._project)]
        return (*self.instances.seen(trees, usage, now), *self.tasks.seen(now), *found)

    def accepts(self, effect: Effect) -> bool:
        """True for instances, tasks and the removal of releases."""
        return isinstance(effect, ProcessEffect)

    async def apply(self, order: Order) -> Receipt:
        """Carry one order out; see `ports.Actuator`."""
        assert isinstance(order.effect, ProcessEffect), "the loop asks `accepts` first"
        await self.open()
        # Right before the deed: whoever waited meanwhile, or was frozen, may act no more.
        self._fence.check(order.epoch)
        note = await self._do(order.effect)
        return Receipt(order.key, Outcome.DONE, time.time(), note)

    def surroundings(
        self, release: Release, service: str, region: str, extra: Mapping[str, str] | None = None
    ) -> Surroundings:
        """What a program of this release runs in (also for `tenfold run`); raises `Permanent` for what is missing."""
        around = {**self._control_env, **(extra or {})}
        return environment_for(
            self._project, release, service, region, self._secrets, self._store_urls(region), extra=around
        )

    async def _do(self, effect: ProcessEffect) -> str:
        match effect:
            case StartInstance():
                return await self._start(effect)
            case StopInstance():
                return await self._stop(effect)
            case RunTask():
                return self._run(effect)
            case StopTask():
                await self.tasks.stop(effect.task, effect.grace_s, "told to end")
                return "nothing of it runs"
            case RemoveRelease():
                return await self._remove(effect)
            case _:
                assert_never(effect)

    async def _start(self, effect: StartInstance) -> str:
        known = self.instances.all.get(effect.instance)
        ended = None
        if effect.attempt > 1 and (known is None or effect.attempt > known.attempt):
            ended = self._ended(effect)
            await self.instances.stop(ended, _STRAYS_GRACE_S)
            # The same order may have come twice, and the other have been faster.
            known = self.instances.all.get(effect.instance)
        if known is not None:
            return f"started before, {known.state} now"
        release = self._release(effect.release)
        service = service_of(release, effect.service)
        tags = {
            environment.INSTANCE: effect.instance,
            environment.SERVICE: effect.service,
            environment.REGION: effect.region,
            environment.RELEASE: effect.release,
        }
        port = self._port_of(ended) if service.http else None
        address = {"PORT": str(port), "HOST": HOST} if port is not None else {}
        around = self.surroundings(release, effect.service, effect.region, address)
        if port is not None:
            tags[environment.PORT] = str(port)
        command = Command(
            argv=shell(with_address(service.command, port), around.env["PATH"]),
            env=around.env,
            cwd=around.cwd,
            log=self.instances.log_file(effect.instance),
            tags=tags,
            cgroups=self.limits.make(effect.instance, service.instance),
        )
        try:
            with self._network.inside(effect.region):
                process = self.processes.spawn(TreeKey("instance", effect.instance), command)
        except DriverError:
            self.limits.remove(effect.instance)
            raise
        self.instances.add(
            Instance(
                id=effect.instance,
                service=effect.service,
                region=effect.region,
                release=effect.release,
                port=port,
                health=service.health,
                memory_bytes=service.instance.memory_bytes,
                process=process,
                log=command.log,
                mask=self._mask_of(effect.release),
                generation=ended.generation + 1 if ended else 1,
                attempt=effect.attempt,
            )
        )
        return f"pid {process.pid}" + (f", port {port}" if port is not None else "")

    def _port_of(self, ended: Instance | None) -> int:
        """The port of what is restarted in its place (None: a new one), unless another program has taken it: that may be what ended it."""
        if ended is not None and ended.port is not None and is_free(ended.port):
            return ended.port
        return self._ports.take(self.instances.ports())

    def _ended(self, effect: StartInstance) -> Instance:
        """What is to be restarted in its place; raises `Refused` unless it has ended as it was seen to have."""
        known = self.instances.all.get(effect.instance)
        if known is None:
            raise Refused(f"{effect.instance} is not known any more, so it can't be restarted in its place")
        if known.state is not InstanceState.EXITED or effect.expected_generation not in (0, known.generation):
            raise Refused(f"{effect.instance} has changed since it was looked at: it is {known.state} now")
        return known

    async def _stop(self, effect: StopInstance) -> str:
        instance = self.instances.all.get(effect.instance)
        if instance is None:
            return "nothing of it runs"
        settled = instance.state in (InstanceState.EXITED, InstanceState.STOPPING)
        if not settled and effect.expected_generation not in (0, instance.generation):
            raise Refused(f"{effect.instance} has changed since it was looked at: it is {instance.state} now")
        await self.instances.stop(instance, effect.grace_s)
        return "nothing of it runs"

    def _run(self, effect: RunTask) -> str:
        if self.tasks.knows(effect.task):
            return "started before"
        around = self.surroundings(self._release(effect.release), effect.service, self._task_region)
        return f"pid {self.tasks.run(effect, around, time.time()).pid}"

    async def _remove(self, effect: RemoveRelease) -> str:
        users = [instance.id for instance in self.instances.all.values() if instance.release == effect.release]
        users += self.tasks.running(effect.release)
        if users:
            raise Refused(f"release {effect.release} is still run by {', '.join(users)}")
        await asyncio.to_thread(releases.remove, self._project, effect.release)
        return "its files are gone"

    def _release(self, release: str) -> Release:
        found = self._release_of(release)
        if found is None:
            raise Permanent(f"release {release} is not known here; run: tenfold deploy")
        return found

    def _service(self, release: str, service: str) -> Service | None:
        found = self._release_of(release)
        return found.services.get(service) if found else None

    def _mask_of(self, release: str) -> Callable[[str], str]:
        """What hides a release's secrets and the stores' passwords in text."""
        found = self._release_of(release)
        try:
            urls = self._store_urls(self._task_region).values()
            return self._secrets.mask(found.secrets if found else (), urls)
        except DriverError:
            # Without the secrets it can't be told what would have to be hidden.
            return lambda text: "(not shown: the secrets to hide in it can't be read)" if text else ""

    def _changed(self) -> None:
        for wake in self._wakes:
            wake()

    async def _keep_up(self, strays: list[TreeKey]) -> None:
        """End what leaders that died left behind, then watch over logs and overdue tasks for as long as this driver lives."""
        await asyncio.gather(*(self.processes.stop(key, _STRAYS_GRACE_S) for key in strays), return_exceptions=True)
        pruned_at = -_PRUNE_EVERY_S
        while True:
            instance_logs = [instance.log for instance in self.instances.all.values()]
            with contextlib.suppress(OSError):  # What can't be cut or deleted now is tried again with the next round.
                for log in (*instance_logs, *self.tasks.running_logs()):
                    if logs.is_large(log):
                        await asyncio.to_thread(logs.cut, log)
                if time.monotonic() - pruned_at > _PRUNE_EVERY_S:
                    pruned_at = time.monotonic()
                    logs.prune(self._project.logs, frozenset(instance_logs))
                    self.limits.remove_left()
            self.tasks.end_overdue()
            await asyncio.sleep(_UPKEEP_EVERY_S)


def _leaderless(trees: Mapping[TreeKey, Tree]) -> list[TreeKey]:
    return [key for key, tree in trees.items() if key.kind == "instance" and tree.leader is None]
