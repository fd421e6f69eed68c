"""Routes as stories: who gets requests, who only finishes them, and when a table is published."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.memory import Member, MemberState
from tenfold.deciders.route import build_table, digest_of, routable
from tenfold.effects import PublishRoutes
from tenfold.facts import GatewaySeen, InstanceSeen, InstanceState, RouteSeen, Snapshot
from tenfold.model import Model, Region, Release, Service

Story = Any
NOW = 1000.0
WEB = Service("web", "x {port}", paths=("/",))
MODEL = Model("demo", {"web": WEB}, {"local": Region("local")})
RELEASE = Release("r1", {"web": WEB}, "digest", 0.0)


def published(decided: Any) -> list[PublishRoutes]:
    """The tables that this tick sends."""
    return [e for d in decided.decisions for e in d.effects if isinstance(e, PublishRoutes)]


def test_a_table_is_published_only_when_it_changed(serving: Story) -> None:
    """A quiet minute publishes nothing; an instance that turns sick does, at once."""
    assert not [t for _ in range(60) for t in published(serving.tick())]
    serving.ready("web-1", state=InstanceState.UNHEALTHY, note="503")
    [effect] = published(serving.tick())
    assert [e.instance for e in effect.table.services[0].endpoints] == ["web-2"]


def test_a_table_the_gateway_did_not_take_up_is_sent_again_later(serving: Story) -> None:
    """When the gateway still runs an older table seconds later, the newest one is sent again."""
    old = serving.gateways["local"]
    serving.ready("web-1", state=InstanceState.UNHEALTHY, note="503")
    assert published(serving.tick())
    sent = []
    for _ in range(8):
        serving.gateways["local"] = GatewaySeen("local", old.table_digest, serving.now)
        sent.append(len(published(serving.tick())))
    assert sum(sent) == 1


def test_a_table_follows_at_once_on_one_that_is_under_way(serving: Story) -> None:
    """While one table is under way no other is sent, and the newest goes out with the first look after it arrived."""
    serving.ready("web-1", state=InstanceState.UNHEALTHY, note="503")
    [first] = published(serving.tick())
    serving.ready("web-3")
    serving.extra["pending"] = {first.key: serving.now}
    assert not published(serving.tick())
    serving.gateways["local"] = GatewaySeen("local", first.table_digest, serving.now)
    del serving.extra["pending"]
    [second] = published(serving.tick())
    assert [e.instance for e in second.table.services[0].endpoints] == ["web-2", "web-3"]


def test_slow_routes_are_hedged_later_than_quick_ones(serving: Story) -> None:
    """A route whose answers honestly take 1.5 s is tried elsewhere only when it is late for itself; quick ones keep the default."""
    seen = [
        RouteSeen("web", "local", "/api/report", 100, 1500.0, 1560.0, serving.now),
        RouteSeen("web", "local", "/api/wait", 100, 20.0, 31.0, serving.now),
    ]
    serving.extra["routes"] = {r.key: r for r in seen}
    [effect] = published(serving.tick())
    assert [(r.prefix, r.hedge_after_ms) for r in effect.table.services[0].rules] == [("/api/report", 3200.0)]


def test_a_quick_route_below_a_slow_one_keeps_its_quick_second_try(serving: Story) -> None:
    """A rule is a prefix: where `/api` is slow, a known quick `/api/wait` gets a rule of its own."""
    seen = [
        RouteSeen("web", "local", "/api", 100, 900.0, 950.0, serving.now),
        RouteSeen("web", "local", "/api/wait", 100, 20.0, 31.0, serving.now),
    ]
    serving.extra["routes"] = {r.key: r for r in seen}
    [effect] = published(serving.tick())
    rules = [(r.prefix, r.hedge_after_ms) for r in effect.table.services[0].rules]
    assert rules == [("/api", 1600.0), ("/api/wait", 400.0)]


def test_a_pool_under_pressure_gets_no_second_tries_until_it_is_well_below(serving: Story) -> None:
    """Hedging an app that has more at hand than it is sized for only adds to it; at half of that it is hedged again."""
    serving.traffic(in_flight=170.0)
    [effect] = published(serving.tick())
    assert effect.table.services[0].hedge_after_ms is None
    serving.traffic(in_flight=100.0)
    assert not published(serving.tick())
    serving.traffic(in_flight=70.0)
    [effect] = published(serving.tick())
    assert effect.table.services[0].hedge_after_ms == 400.0


@given(st.data())
def test_every_table_is_well_formed(data: st.DataObject) -> None:
    """Whatever the instances are up to: nobody appears twice, the wanted and well ones serve, and if any can answer somebody serves."""
    instances, members = {}, {}
    for n in range(data.draw(st.integers(0, 8))):
        state = data.draw(st.sampled_from(list(InstanceState)))
        frozen, id_ = data.draw(st.booleans()), f"web-{n}"
        release = data.draw(st.sampled_from(["r0", "r1"]))
        instances[id_] = InstanceSeen(
            id_, "web", "local", release, state, NOW - 9, NOW - 9, NOW, port=20_000 + n, frozen=frozen
        )
        meant = data.draw(st.sampled_from(list(MemberState)))
        members[id_] = Member("web", "local", release, meant, NOW - 9, NOW - 9)
    shot = Snapshot(NOW, observed={"process": NOW}, instances=instances)
    table = build_table(MODEL, RELEASE, "local", routable(shot, members), {}, ("r0",))
    [routes] = table.services
    names = [e.instance for e in routes.endpoints]
    assert len(names) == len(set(names))
    serving = {e.instance for e in routes.endpoints if e.state == "serving"}
    well = {
        i.id
        for i in instances.values()
        if i.state is InstanceState.READY
        and not i.frozen
        and i.release == "r1"
        and members[i.id].state is MemberState.WANTED
    }
    assert well <= serving
    assert not well or serving == well
    assert not any(instances[i].state in (InstanceState.EXITED, InstanceState.STARTING) for i in names)
    assert digest_of(table) == digest_of(build_table(MODEL, RELEASE, "local", routable(shot, members), {}, ("r0",)))


def test_who_has_not_seen_the_instances_takes_none_out_of_the_traffic(serving: Story) -> None:
    """A control plane that came back and can't see processes yet leaves the gateway as it is."""
    serving.tick()
    serving.instances.clear()
    serving.extra["observed"] = {"gateway": serving.now + 1}
    assert not published(serving.tick())
