"""Several regions as stories in virtual time: a region is lost, frozen, cut off or slow, with the control plane or the primary in it."""

import pytest

from tenfold.effects import StartInstance
from tenfold.effects.faults import FillDisk, Freeze, Kill, Lose, Partition, SkewClock, Slow
from tenfold.facts import EngineState, LinkSeen, RegionSeen
from tenfold.model import Data, Model, Region
from tenfold.ports import Permanent
from tenfold.sim import ControlCrash, World
from tests.sim.spread import PER_S, Globe

SYNCHRONOUS = Data(replicas=1, is_synchronous=True, rpo_s=0.0)


def test_everyone_is_answered_where_they_are() -> None:
    """Without harm each origin's requests go to its own region, none fails and none waits."""
    globe = Globe(1)
    seen = globe.strike(Slow("region/a", 0.0, 1.0), 30)
    assert all(globe.goes_to(name) == {name: 1.0} for name in "abc")
    assert (seen["failed"], seen["refused"]) == (0.0, 0.0)
    assert seen["answered"] == pytest.approx(3 * PER_S * 30, rel=0.05)
    assert seen["extra_ms_max"] == 0.0


@pytest.mark.parametrize(
    "fault",
    [
        Kill("region/b"),
        Kill("region/b", 20.0),
        Freeze("region/b", 20.0),
        Partition("b", 20.0),
        Lose("b", 0.05, 20.0),
        Slow("region/b", 300.0, 20.0),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_whatever_happens_to_a_region_no_request_fails_and_it_returns(fault) -> None:
    """Its clients are answered elsewhere within seconds, and within a minute of the mend they are back, gradually."""
    globe = Globe(2)
    struck_s = globe.world.clock.elapsed_s
    seen = globe.strike(fault, 5)
    assert seen["failed"] == 0.0
    assert "b" not in globe.goes_to("b")
    assert any("clients near b go to" in why and "b is out" in why for why in globe.whys(struck_s))
    globe.run(15)
    failed = globe.entry.clients.failed
    globe.run_until(lambda: globe.goes_to("b").get("b", 0.0) > 0.95, 60)
    assert globe.entry.clients.failed == failed


def test_a_slow_network_moves_clients_only_while_elsewhere_is_nearer() -> None:
    """50 ms more to b is nearer than 80 ms to the others; 100 ms more is not, until it is mended."""
    globe = Globe(3)
    globe.strike(Slow("region/b", 50.0, 20.0), 20)
    assert globe.goes_to("b") == {"b": 1.0}
    globe.run(10)
    globe.strike(Slow("region/b", 100.0, 20.0), 10)
    assert "b" not in globe.goes_to("b")
    globe.run(20)
    assert globe.goes_to("b") == {"b": 1.0}


def test_residents_are_refused_rather_than_served_elsewhere() -> None:
    """While the only region of eu is dead its tenants get a clear answer, and nobody else is turned away; then they are served again."""
    globe = Globe(4, at_home="c")
    assert globe.goes_to("a", "eu") == {"c": 1.0}
    seen = globe.strike(Kill("region/c", 20.0), 20)
    assert seen["refused"] == pytest.approx(0.2 * 3 * PER_S * 19, rel=0.2)
    assert "eu" not in {law for _, law, _ in globe.entry.served}
    globe.run_until(lambda: globe.goes_to("a", "eu") == {"c": 1.0}, 60)


def test_the_last_region_is_never_taken_out() -> None:
    """When every region's instances are sick something still gets the traffic: a poor answer is better than none."""
    globe = Globe(5)
    for name in "abc":
        globe.world.inflict(Slow(f"region/{name}", 2000.0, 60.0))
    globe.run(30)
    assert any(str(region.state) == "serving" for region in globe.memory.regions.regions.values())
    table = globe.entry.table
    assert table is not None
    assert all(way.shares for way in table.ways)


def test_the_loss_of_the_region_that_leads_is_another_failover() -> None:
    """The control plane that stands by leads within seconds under the next epoch, adopts all, and none is started twice."""
    globe = Globe(6, data=Data(replicas=1))
    leader = globe.planes.leader
    assert leader is not None
    assert leader.region == "a"
    epoch = globe.world.epoch
    globe.world.inflict(Kill("region/a", 60.0))
    took_s = globe.run_until(lambda: globe.planes.leader is not None and globe.world.epoch > epoch, 10)
    assert took_s <= 4
    assert globe.snapshot.led_from != "a"
    globe.run(120)
    assert globe.world.counts["doubled"] == 0
    assert all(globe.goes_to(name) == {name: 1.0} for name in "abc")


def test_a_leader_that_was_frozen_is_refused_when_it_thaws() -> None:
    """It wakes up in the middle of acting, under an epoch that is over: its orders do nothing, and there is one leader."""
    globe = Globe(7)
    globe.world.inflict(Freeze("region/a", 20.0))
    globe.run(18)
    assert globe.snapshot.led_from != "a"
    globe.run(10)
    assert globe.world.counts["old_refused"] > 0
    assert globe.world.counts["old_obeyed"] == 0
    globe.run(90)
    assert globe.world.counts["doubled"] == 0


def test_a_leader_that_is_cut_off_stops_before_another_begins() -> None:
    """Without a majority of voters it acts on nothing; it comes back as one that stands by, not as a second leader."""
    globe = Globe(8)
    epoch = globe.world.epoch
    globe.world.inflict(Partition("a", 30.0))
    globe.run_until(lambda: globe.world.epoch > epoch, 10)
    globe.run(60)
    assert globe.world.epoch == epoch + 1
    assert globe.world.counts["old_obeyed"] == 0


def test_a_control_plane_that_crashes_is_followed_by_the_one_that_stands_by() -> None:
    """Nobody has to start it again, and one stands by again soon."""
    globe = Globe(9)
    globe.crash(600.0)
    globe.run_until(lambda: globe.planes.leader is not None, 10)
    globe.run(10)
    standing_by = [e for e in globe.world.engines.values() if e.kind == "control" and e.key != globe.world.led_by]
    assert any(engine.state is EngineState.READY for engine in standing_by)
    assert globe.planes.takeovers == 1


def test_without_any_voter_somebody_leads_again() -> None:
    """All voters killed with the leader: whoever stands by starts them, and leads."""
    globe = Globe(10)
    for name in "abc":
        globe.world.inflict(Kill(f"voter/{name}"))
    globe.crash(600.0)
    globe.run_until(lambda: globe.planes.leader is not None, 20)


@pytest.mark.parametrize(("data", "kept"), [(SYNCHRONOUS, True), (Data(replicas=1), False)], ids=["sync", "async"])
def test_the_loss_of_the_primary_promotes_the_standby(data: Data, kept: bool) -> None:
    """Writes go on within seconds; acknowledged ones are kept when each waits for the standby, else a moment's worth is lost."""
    globe = Globe(11, data=data)
    ledger = globe.spread.stores.ledger("postgres")
    assert ledger.acked > 0
    acked = ledger.acked
    globe.world.inflict(Kill("region/a", 30.0))
    globe.run_until(lambda: ledger.acked > acked, 10)
    globe.run(120)
    assert (ledger.lost == 0.0) if kept else (0.0 < ledger.lost < 10.0)
    assert ledger.split == 0.0
    primary = next(c for c in globe.spread.stores.of("postgres") if c.role == "primary")
    assert primary.region == "b"
    assert [standby.region for standby in globe.spread.stores.standbys(primary)] == ["a"]


def test_a_primary_without_disk_space_is_replaced_by_its_standby() -> None:
    """A database that can't write ends; the standby takes over, and the old one follows when it has space again."""
    globe = Globe(12, data=SYNCHRONOUS)
    ledger = globe.spread.stores.ledger("postgres")
    globe.world.inflict(FillDisk("postgres/a", 60.0))
    globe.run(5)
    acked = ledger.acked
    globe.run_until(lambda: ledger.acked > acked, 30)
    globe.run(150)
    assert ledger.lost == 0.0
    assert globe.spread.stores.copies["postgres/a"].follows == "b"


def test_nothing_is_started_where_nobody_can_look() -> None:
    """In the harder world a cut-off region's facts grow old and nothing is concluded from them; when it is back it is as it was."""
    globe = Globe(13, is_blind_across=True)
    started = globe.world.counts["started"]
    struck_s = globe.world.clock.elapsed_s
    globe.strike(Partition("b", 30.0), 30)
    starts = [e for at_s, d in globe.decided if at_s > struck_s for e in d.effects if isinstance(e, StartInstance)]
    assert not starts
    globe.run(60)
    assert globe.world.counts["started"] == started
    assert globe.goes_to("b") == {"b": 1.0}


def test_a_clock_that_is_wrong_where_it_is_led_from_moves_nothing() -> None:
    """The leader's clock is a minute ahead for a while and then right again: no region is taken out, nothing is started."""
    globe = Globe(14)
    started, ways = globe.world.counts["started"], globe.memory.regions.ways
    globe.strike(SkewClock("region/a", 60.0, 20.0), 60)
    assert globe.world.counts["started"] == started
    assert globe.memory.regions.ways == ways


def test_probes_and_tries_tell_of_a_bad_network() -> None:
    """A lossy region shows in the probes from everywhere; a cut-off one in its checks, its tries, and probes that do not come back."""
    globe = Globe(15)
    globe.strike(Lose("b", 0.2, 3.0), 3)
    links = [f for f in globe.world.facts("links") if isinstance(f, LinkSeen)]
    assert len(links) == 6
    assert all((link.late_ratio > 0) == ("b" in (link.origin, link.region)) for link in links)
    globe.run(20)
    globe.strike(Partition("b", 10.0), 4)
    links = [f for f in globe.world.facts("links") if isinstance(f, LinkSeen)]
    assert all((link.rtt_ms is None) == ("b" in (link.origin, link.region)) for link in links)
    regions = {f.region: f for f in globe.world.facts("entry") if isinstance(f, RegionSeen)}
    assert not regions["b"].is_well
    assert regions["a"].is_well


def test_undo_ends_every_harm_at_once() -> None:
    """What was to last for minutes is over when the drill ends; only the dead stay dead until they are started again."""
    globe = Globe(16)
    for fault in (Partition("b", 600.0), Freeze("region/c", 600.0), Kill("region/b", 600.0), Lose("c", 0.5, 600.0)):
        globe.world.inflict(fault)
    globe.run(5)
    globe.world.thaw()
    globe.run_until(lambda: all(globe.goes_to(name) == {name: 1.0} for name in "abc"), 120)


def test_harm_to_a_network_needs_one() -> None:
    """With one region there is no network between regions, and no harm is done to what is not there."""
    world = World(Model("shop", {}, {"local": Region("local")}, data=Data()), 1)
    faults = (Partition("local", 1.0), Lose("local", 0.1, 1.0), Slow("region/local", 1.0, 1.0), Kill("region/mars"))
    for fault in (*faults, FillDisk("postgres/local", 1.0), ControlCrash()):
        with pytest.raises(Permanent):
            world.inflict(fault)
