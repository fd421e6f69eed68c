"""Builds the real world of one project: its drivers, its stores, its surroundings. Stage: model -> drivers."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tenfold.cli.here import NEVER_RUN, Fail, Here
from tenfold.drivers.capacity import CapacityObserver
from tenfold.drivers.controlplane import ControlDriver
from tenfold.drivers.env import Surroundings
from tenfold.drivers.envoy import EntryDriver, EnvoyDriver, LinkProbes
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.harm import Harms, harm_of
from tenfold.drivers.network import Network, network_of
from tenfold.drivers.notify import Notifier
from tenfold.drivers.postgres import PostgresByUrl, PostgresDriver
from tenfold.drivers.process import ProcessDriver
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.drivers.valkey import ValkeyByUrl, ValkeyDriver
from tenfold.drivers.voter import VoterDriver
from tenfold.loop import JournalReader
from tenfold.model import Model, Release
from tenfold.ports import Actuator, DriverError, Observer
from tenfold.wire import environment

PROGRAM = (sys.executable, "-c", "from tenfold.cli import main; main()")
"""What runs `tenfold` again, wherever it is installed."""


class Driver(Observer, Actuator, Protocol):
    """What every driver is: something that sees, acts, and lets go at the end."""

    async def close(self) -> None: ...


class Store(Driver, Protocol):
    """A driver that tells where apps reach its engine."""

    def urls(self, region: str) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Drivers:
    """Every driver of one project."""

    process: ProcessDriver
    envoy: EnvoyDriver
    stores: tuple[Store, ...]
    notifier: Notifier
    capacity: CapacityObserver
    entry: EntryDriver | None = None
    links: LinkProbes | None = None
    voters: VoterDriver | None = None
    standby: ControlDriver | None = None

    @property
    def all(self) -> tuple[Driver, ...]:
        """Those that see and act."""
        spread = (driver for driver in (self.entry, self.voters, self.standby) if driver is not None)
        return (self.process, self.envoy, *self.stores, *spread)

    @property
    def actuators(self) -> tuple[Actuator, ...]:
        """Those that act."""
        return (*self.all, self.notifier)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Those that see."""
        seen: tuple[Observer, ...] = (*self.all, self.capacity)
        return seen if self.links is None else (*seen, self.links)

    async def close(self) -> None:
        """Let go of everything; it all goes on running."""
        if self.links is not None:
            await self.links.close()
        for driver in self.all:
            await driver.close()
        await self.notifier.close()


def build(
    project: Project,
    model: Model,
    release_of: Callable[[str], Release | None],
    ports: FreePorts,
    between: Network,
    console_url: str | None,
    led_from: str = "",
) -> Drivers:
    """The drivers for `model`, as a control plane in region `led_from` needs them; empty where there is one region.

    Raises `Fail` when a store's URL names something that is not set."""
    fence = Fence(project.run / "fence")
    secrets = Secrets(project.secrets(model.environment.name))
    within_ms = model.targets.latency.p95_ms
    envoy = EnvoyDriver(project, ports, fence, model.edge.port, between, model.is_spread, within_ms)
    # With several regions apps reach a store by the gateway of their region, which knows where its primary is.
    front = envoy.store_address if model.is_spread else None
    lookup = _lookup(secrets)
    stores = _stores(project, model, lookup, fence, ports, between, front)
    notifier = Notifier(project, model.name, model.environment.name, fence, lookup)
    capacity = CapacityObserver(project)

    def store_urls(region: str) -> Mapping[str, str]:
        return {name: url for store in stores for name, url in store.urls(region).items()}

    extra = {environment.ENVIRONMENT: model.environment.name}
    if console_url is not None:
        extra[environment.URL] = console_url
    process = ProcessDriver(
        project, release_of, secrets, fence, ports, store_urls, led_from or model.home, extra, between
    )
    if not model.is_spread:
        return Drivers(process, envoy, stores, notifier, capacity)
    command = (*PROGRAM, "-C", str(project.root), "standby", "--region")
    env = {name: value for name, value in os.environ.items() if not name.startswith(environment.PREFIX)}
    return Drivers(
        process,
        envoy,
        stores,
        notifier,
        capacity,
        EntryDriver(project, ports, fence, model.edge.port, between, within_ms),
        LinkProbes(envoy.probe_sockets),
        VoterDriver(project, ports, fence, between, led_from or model.home),
        ControlDriver(project, fence, command, env),
    )


def network(project: Project, model: Model, wan: bool | None = None) -> Network:
    """How the project's regions reach one another: with an emulated distance when `wan` says so, None: as they do already.

    Raises `Fail` when that is not possible."""
    try:
        return network_of(project, model, wan)
    except DriverError as error:
        raise Fail(str(error)) from None


def harm(project: Project, model: Model, between: Network) -> Harms:
    """Harm to what `project` runs, for drills. Raises `Fail` as `build` does."""
    envoy = build(project, model, lambda _: None, FreePorts(project), between, None).envoy
    return harm_of(project, between, model.regions, envoy.recipe.admin_socket)


def _lookup(secrets: Secrets) -> Callable[[str], str | None]:
    """What knows the value of a variable of the environment, or of a secret; None where it is neither."""

    def lookup(name: str) -> str | None:
        if name in os.environ:
            return os.environ[name]
        return secrets.values((name,))[name] if name in secrets.names() else None

    return lookup


def _stores(
    project: Project,
    model: Model,
    lookup: Callable[[str], str | None],
    fence: Fence,
    ports: FreePorts,
    between: Network,
    front: Callable[[str, str], str] | None,
) -> tuple[Store, ...]:
    if model.data is None:
        return ()
    home = model.home
    try:
        postgres: Store = (
            PostgresByUrl(model.data.url, home, lookup)
            if model.data.url
            else PostgresDriver(project, ports, fence, network=between, front=front)
        )
        valkey: Store = (
            ValkeyByUrl(model.data.valkey_url, home, lookup)
            if model.data.valkey_url
            else ValkeyDriver(project, ports, fence, network=between, front=front)
        )
    except DriverError as error:
        raise Fail(str(error)) from None
    return (postgres, valkey)


def surroundings(
    here: Here, service: str | None, release_id: str | None
) -> tuple[Surroundings, AbstractContextManager[None]]:
    """Environment and folder of a release's service, for a command of a person, and what enters the network of the region where
    the control plane stands. Raises `Fail` when there is no such thing."""
    with here.reader() as reader:
        release, model, led_from = _release(reader, release_id)
    if service is None:
        service = "web" if "web" in release.services else next(iter(release.services))
    project, region = here.project(), led_from or model.home
    between = network(project, model)
    drivers = build(
        project, model, lambda id_: release if id_ == release.id else None, FreePorts(project), between, None
    )
    try:
        return drivers.process.surroundings(release, service, region), between.inside(region)
    except DriverError as error:
        raise Fail(str(error)) from None


def _release(reader: JournalReader, release_id: str | None) -> tuple[Release, Model, str]:
    tick, releases = reader.latest(), reader.releases()
    model = reader.model(tick.model) if tick else None
    if tick is None or model is None:
        raise Fail(NEVER_RUN)
    wanted = release_id or tick.memory.release.serving
    if wanted is None:
        raise Fail(f"no release serves yet; name one with --release ({', '.join(releases) or 'there is none'})")
    if wanted not in releases:
        raise Fail(f"there is no release {wanted}; there are: {', '.join(releases) or 'none'}")
    return releases[wanted], model, tick.snapshot.led_from
