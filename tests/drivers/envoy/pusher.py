"""A control plane that publishes without pause until it is killed: `pusher.py FOLDER PORT EPOCH ADDRESS...`, an address is NAME=PORT."""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from tenfold.drivers.envoy import EnvoyDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.effects import Order, PublishRoutes
from tenfold.model import Endpoint, RouteTable, ServiceRoutes


async def push(folder: str, port: str, epoch: str, *addresses: str) -> None:
    """Publish each instance alone in turn, under other paths each time, for ever."""
    project = Project(Path(folder), "test")
    driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), int(port))
    known = [address.split("=") for address in addresses]
    for number in itertools.count(1):
        name, instance_port = known[number % len(known)]
        service = f"web{number % 3}"
        table = RouteTable(
            "local", (ServiceRoutes(service, ("/",), (Endpoint(name, "127.0.0.1", int(instance_port)),)),)
        )
        effect = PublishRoutes(table, f"pushed{number}", number)
        await driver.apply(Order(effect, int(epoch), "pushing", time.time()))
        sys.stdout.write(".")
        sys.stdout.flush()


asyncio.run(push(*sys.argv[1:]))
