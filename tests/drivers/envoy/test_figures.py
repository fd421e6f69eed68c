"""What is made of counters, of probes and of log lines, without an Envoy."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.drivers.envoy.accesslog import Line, published
from tenfold.drivers.envoy.links import COUNTED_S, Link
from tenfold.drivers.envoy.protos import Builder, load
from tenfold.drivers.envoy.requests import join
from tenfold.drivers.envoy.stats import HostReading, PoolReading, Reading
from tenfold.drivers.envoy.tellers import regions_seen
from tenfold.facts import RegionSeen
from tenfold.model import Endpoint, EndpointState, EntryTable, GatewayEnd, RouteTable, ServiceRoutes, Share, Way
from tenfold.render.envoy import ENDPOINT_TYPE, ROUTE_TYPE, gateway
from tenfold.render.envoy_entry import entry


def seen(before: PoolReading, after: PoolReading) -> dict[str, RegionSeen]:
    """What a second between two readings of the one pool `from~us` tells."""
    readings = [Reading(at_s, "", {"from~us": pool}) for at_s, pool in enumerate((before, after))]
    facts = regions_seen(*readings, {}, lambda pool: pool.removeprefix("from~"), 9.0)
    return {fact.region: fact for fact in facts}


def test_tries_that_were_given_up() -> None:
    """Of 100 tries 70 were answered, 10 failed, 5 wait yet: 15 were given up, and with the failed ones had no answer."""
    after = PoolReading(attempts=100, retries=25, hosts={"eu": HostReading(100, 70, 10, active=5)})
    found = seen(PoolReading(hosts={"eu": HostReading()}), after)
    assert (found["eu"].tries_per_s, found["eu"].unanswered_per_s, found["eu"].in_flight) == (100, 25, 5)
    assert (found["us"].demand_per_s, found["eu"].demand_per_s) == (75, 0)


def test_long_answers_that_end_are_not_given_up() -> None:
    """A thousand WebSockets that close at once were all answered long ago."""
    before = PoolReading(hosts={"eu": HostReading(1000, 1000, 0, active=1000)})
    found = seen(before, PoolReading(hosts={"eu": HostReading(1000, 1000, 0, active=0)}))
    assert (found["eu"].unanswered_per_s, found["eu"].tries_per_s) == (0, 0)


def test_a_region_that_nothing_can_be_sent_to() -> None:
    """Connections that fail place no try, and are tries without an answer all the same."""
    found = seen(PoolReading(), PoolReading(hosts={"eu": HostReading(0, 0, 40, is_well=False)}))
    assert (found["eu"].tries_per_s, found["eu"].unanswered_per_s, found["eu"].is_well) == (40, 40, False)


def test_a_gateway_that_moved_counts_from_nothing() -> None:
    """An endpoint that was replaced makes no negative rates."""
    before = PoolReading(attempts=500, hosts={"eu": HostReading(500, 480, 20)})
    found = seen(before, PoolReading(attempts=510, hosts={"eu": HostReading(10, 10, 0)}))
    assert (found["eu"].tries_per_s, found["eu"].unanswered_per_s) == (10, 0)


def told(link: Link, at_s: float) -> Any:
    """The link's fact at `at_s`."""
    return link.seen("us", "eu", at_s, 1000.0 + at_s)


def test_a_link_that_becomes_slow() -> None:
    """A probe is late against what was usual for minutes, so that a region stays slow for longer than its slowness is news."""
    link = Link()
    for number in range(80):
        link.take(number / 4, 80.0)
    assert (told(link, 20.0).rtt_ms, told(link, 20.0).late_ratio) == (80.0, 0.0)
    for number in range(80, 240):
        link.take(number / 4, 380.0)
        assert number < 90 or told(link, number / 4).late_ratio == 1.0
    assert told(link, 60.0).rtt_ms == 380.0
    for number in range(240, 260):
        link.take(number / 4, 90.0)
    assert (told(link, 65.0).rtt_ms, told(link, 65.0).late_ratio) == (90.0, 0.0)


def test_a_link_that_loses_probes_and_then_is_not_asked() -> None:
    """Each lost probe counts; once nothing is asked, what was measured ages and is then not told any more."""
    link = Link()
    for number in range(10):
        link.take(number / 4, None if number % 2 else 5.0)
    assert (told(link, 2.5).late_ratio, told(link, 2.5).probes, told(link, 2.5).rtt_ms) == (0.5, 10, 5.0)
    assert told(link, 5.0).seen_at == 1000.0 + 9 / 4
    assert told(link, 6.0).rtt_ms is None
    assert told(link, 9 / 4 + COUNTED_S + 0.1) is None


@given(st.lists(st.one_of(st.none(), st.floats(0.1, 999.0)), min_size=1, max_size=60))
def test_any_probes_make_a_sane_fact(rtts_ms: list[float | None]) -> None:
    """Whatever is measured, ratios are ratios, and nothing is told that was not measured."""
    link = Link()
    for number, rtt_ms in enumerate(rtts_ms):
        link.take(number / 4, rtt_ms)
    fact = told(link, (len(rtts_ms) - 1) / 4)
    assert 1 <= fact.probes <= 10
    assert 0 <= fact.late_ratio <= 1
    assert fact.rtt_ms is None or min(filter(None, rtts_ms)) <= fact.rtt_ms <= max(filter(None, rtts_ms))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"flags": "UH", "pool": "from~eu~eu"}, "no region was well that may serve it"),
        ({"flags": "UF,URX", "attempts": 3, "region": "us"}, "no region could be reached in 3 tries"),
        ({"flags": "DC", "attempts": 1, "region": "us"}, "the client left before it was answered"),
        ({"attempts": 2, "region": "us", "asked": 120_000, "answered": 130_000}, "asked us after 120 ms"),
        ({"attempts": 2, "region": "us", "asked": 9_000, "answered": 20_000}, "could not take it, asked us after 9 ms"),
        ({"attempts": 2, "region": "us", "asked": 1_000, "answered": 400_000}, "us took so long"),
        ({"attempts": 1, "region": "us", "asked": 1_000, "answered": 400_000}, ""),
    ],
)
def test_the_way_in_words(line: dict[str, Any], words: str) -> None:
    """What held a request up on its way is told, also of one that no gateway logged."""
    trace = join(Line(at="1.0", **{"pool": "from~eu", **line}), None)
    assert trace.origin == "eu"
    assert (words in trace.limited_by) if words else not trace.limited_by


def test_the_newest_mark_counts() -> None:
    """A mark tells its number and its decision; one without a number is of an older Tenfold, and any other is newer."""
    assert published("12.d7") == (12, "d7")
    assert published("d7") == (0, "d7")
    assert published("") == (0, "")


async def test_what_is_built_by_hand_is_what_the_slow_way_builds() -> None:
    """Endpoints and routes put together from kept parts are the very messages that JSON means, the first time and again."""
    await load()
    from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
    from envoy.config.route.v3.route_pb2 import RouteConfiguration
    from google.protobuf.json_format import ParseDict

    endpoints = tuple(Endpoint(state.name, "127.0.0.1", 1 + n, 3, state) for n, state in enumerate(EndpointState))
    services = tuple(ServiceRoutes(f"s{n}", (f"/{n}", f"/{n}/x/"), endpoints, is_sticky=n > 1) for n in range(3))
    ends = (GatewayEnd("us", "127.0.0.1", 1), GatewayEnd("eu", "127.0.0.1", 2))
    way = Way("us", "", (Share("us", 0.7), Share("eu", 0.3)))
    builder = Builder()
    for decision in ("1.d1", "2.d2"):
        for config in (
            gateway(RouteTable("us", services, ("a.example",)), port=1, access_log="log", decision=decision),
            gateway(RouteTable("us", services, gateways=ends, behind_entry=True), port=1, access_log="log"),
            entry(EntryTable("us", ends, (way,), services), port=1, access_log="log", decision=decision),
        ):
            for type_url, kind, resources in (
                (ENDPOINT_TYPE, ClusterLoadAssignment, config.endpoints),
                (ROUTE_TYPE, RouteConfiguration, config.routes),
            ):
                for resource in resources:
                    (built,) = builder.build(type_url, [resource])
                    assert kind.FromString(built.value) == ParseDict(json.loads(json.dumps(resource)), kind())
