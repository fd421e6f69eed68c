"""Which network a project's regions get, without being root: chosen once, remembered, told apart."""

import os
import sys
from pathlib import Path

import pytest

from tenfold.drivers import network as networks
from tenfold.drivers.network import Delayed, Loopback, clear, network_of
from tenfold.drivers.procs import Command, Processes, TreeKey
from tenfold.drivers.project import Project
from tenfold.drivers.wan.plan import MACHINE, make_plan, presence, read_plan, write_plan
from tenfold.drivers.wan.wan import Wan
from tenfold.model import Model, Region
from tenfold.model.places import rtt_ms_between
from tenfold.ports import Permanent, Retryable

HERE, THERE = (50.4, 3.8), (41.3, -95.9)
REGIONS = {"eu": Region("eu", at=HERE), "us": Region("us", at=THERE), "nowhere": Region("nowhere")}
SPREAD = Model("shop", {}, REGIONS)


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Project:
    return Project(tmp_path, "shop")


@pytest.fixture(name="as_user")
def _as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_regions_share_loopback_until_a_distance_is_asked_for(project: Project) -> None:
    """Without --wan, and always with one region, there is nothing between the regions."""
    assert type(network_of(project, SPREAD)) is Loopback
    assert type(network_of(project, Model("shop", {}, {"eu": Region("eu")}), wan=True)) is Loopback
    assert not (project.run / "network").exists()


@pytest.mark.usefixtures("as_user")
def test_without_root_the_gateways_add_the_way_between_the_places(project: Project) -> None:
    """Delays are round trips by the places, 80 ms where a place is not known, and about nothing within a region."""
    delayed = network_of(project, SPREAD, wan=True)
    assert isinstance(delayed, Delayed)
    assert "root" in delayed.notice
    assert delayed.delay_ms("eu", "us") == delayed.delay_ms("us", "eu") == rtt_ms_between(HERE, THERE)
    assert delayed.delay_ms("eu", "nowhere") == 80.0
    assert delayed.delay_ms("eu", "eu") == 1.0
    assert delayed.host("eu") == delayed.console_host == "127.0.0.1"


@pytest.mark.usefixtures("as_user")
def test_the_choice_is_remembered_until_it_is_cleared(project: Project) -> None:
    """Other commands and control planes find the network that `up --wan` chose, and none after `down`."""
    network_of(project, SPREAD, wan=True)
    assert isinstance(network_of(project, SPREAD), Delayed)
    clear(project)
    clear(project)
    assert type(network_of(project, SPREAD)) is Loopback


@pytest.mark.usefixtures("as_user")
def test_the_network_is_not_changed_under_what_runs(project: Project) -> None:
    """While something of the project runs, another network is refused, and the same one is not."""
    processes = Processes(project)
    sleeper = Command((sys.executable, "-c", "import time; time.sleep(60)"), {}, project.root, project.logs / "web.log")
    process = processes.spawn(TreeKey("instance", "web-1"), sleeper)
    try:
        with pytest.raises(Permanent, match="runs without --wan: `tenfold down` first"):
            network_of(project, SPREAD, wan=True)
        assert type(network_of(project, SPREAD, wan=False)) is Loopback
    finally:
        process.send(9)
        process.close()


@pytest.mark.usefixtures("as_user")
def test_a_network_of_root_is_not_for_others(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root has begun with networks of their own, another user can't go on with."""
    monkeypatch.setattr(networks, "_remembered", lambda _project: "wan")
    with pytest.raises(Permanent, match="run this as root"):
        network_of(project, SPREAD)


@pytest.mark.usefixtures("as_user")
async def test_networks_are_for_root(project: Project) -> None:
    """Before it is made no address is known, and somebody who is not root can't make it."""
    wan = Wan(project, REGIONS)
    with pytest.raises(Retryable, match="not made yet"):
        wan.host("eu")
    with pytest.raises(Permanent, match="run this as root"):
        await wan.open()


async def test_a_machine_without_tun_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence tells what is missing, and how to go on without."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tenfold.drivers.wan.setup.TUN", project.root / "tun")
    with pytest.raises(Permanent, match="load the module tun, or start without --wan"):
        await Wan(project, REGIONS).open()


def test_a_plan_gives_every_node_one_address(project: Project) -> None:
    """Regions, whatever they are called, their points of presence and this machine have addresses of one block, kept over a restart; a
    damaged plan is none."""
    regions = {**REGIONS, "machine": Region("machine")}
    plan = make_plan(project.id, "198.18.7", tuple(regions), regions)
    names = [*regions, *map(presence, regions), MACHINE]
    assert [node.name for node in plan.nodes] == names
    addresses = [plan.address(name) for name in names]
    assert len(set(addresses)) == len(names) and all(str(a).startswith("198.18.7.") for a in addresses)
    ways = {(way.source, way.target): way.delay_ms for way in plan.ways}
    assert ways["eu", "us"] == ways["us", presence("eu")] == rtt_ms_between(HERE, THERE) / 2
    path = project.run / "wan.json"
    write_plan(path, plan)
    assert read_plan(path) == plan
    path.write_text(path.read_text()[:100])
    assert read_plan(path) is None
