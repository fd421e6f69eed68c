"""Each origin has a source address of its own, by which the network knows how far its requests travel."""

from pathlib import Path

from tenfold.drivers.envoy import EntryDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.network import Loopback
from tenfold.drivers.project import Project
from tenfold.model import EntryTable, GatewayEnd, Share, Way


class Presences(Loopback):
    """A network with an address near each origin."""

    def entry_source(self, origin: str) -> str:
        """127.0.2.1 near a, 127.0.2.2 near b."""
        return f"127.0.2.{'ab'.index(origin) + 1}"


def test_pools_are_the_same_before_and_after_there_are_ways(tmp_path: Path) -> None:
    """A pool that changes begins anew, and over a distance that takes a while: the first ways bring endpoints alone."""
    project = Project(tmp_path, "shop")
    driver = EntryDriver(project, FreePorts(project), Fence(tmp_path / "fence"), 0, Presences())
    places = {"a": (0.0, 0.0), "b": (0.0, 47.4)}
    ends = tuple(GatewayEnd(name, "127.0.0.1", port) for port, name in enumerate(places, 1))

    def table(*ways: Way) -> EntryTable:
        return EntryTable("a", gateways=ends, ways=ways, places=places, trust=("127.0.0.0/8",))

    nowhere = driver.render("a", table(), 8080, "d1")
    somewhere = driver.render("a", table(*(Way(name, "", (Share(name, 1.0),)) for name in places)), 8080, "d2")
    assert nowhere.clusters == somewhere.clusters
    sources = {pool["upstream_bind_config"]["source_address"]["address"] for pool in nowhere.clusters}
    assert sources == {"127.0.2.1", "127.0.2.2"}
