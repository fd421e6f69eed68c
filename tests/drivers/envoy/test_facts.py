"""What the gateway tells of its traffic, and of single requests."""

import asyncio
import json
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.drivers.envoy import accesslog
from tenfold.drivers.envoy.routetimes import LoggedTimes
from tenfold.drivers.envoy.stats import PoolReading, Reading, percentile, pools_seen
from tenfold.estimators import prefix_of
from tenfold.facts import PoolSeen, RouteSeen
from tenfold.model import RouteTable, ServiceRoutes


async def a_second_of(edge: Any, right: Callable[[PoolSeen], bool], slow: int = 0) -> PoolSeen:
    """What a second's traffic looks like, once `right`: on a busy machine not every second is even. `slow` requests are under way in it."""
    for _ in range(12):
        await edge.facts()
        under_way = [asyncio.create_task(edge.ask("POST", "/slow")) for _ in range(slow)]
        await asyncio.sleep(1.0)
        pool = await edge.pool()
        await asyncio.gather(*under_way)
        if right(pool):
            return pool
    raise AssertionError(f"no second was right: {pool}")


async def test_the_traffic_of_a_pool(edge: Any, instances: Any) -> None:
    """Rate, times, errors and requests at hand come out as they were put in."""
    web = await instances(2, BROKEN="1")
    await edge.publish(*(instance.endpoint() for instance in web))

    def as_put_in(pool: PoolSeen) -> bool:
        return (
            80 < pool.requests_per_s < 160
            and 5 < pool.errors_per_s < 35
            and 2 < pool.in_flight < 16
            and sum(pool.in_flight_by_instance.values()) >= 6
            and 8 < (pool.response_ms_p95 or 0) < 100
            and pool.retries_per_s == 0
        )

    async with edge.load("GET", rps=100.0), edge.load("GET", path="/broken", rps=20.0):
        pool = await a_second_of(edge, as_put_in, slow=6)
    assert set(pool.in_flight_by_instance) == {instance.name for instance in web}
    assert pool.response_ms_p50 <= pool.response_ms_p95 <= pool.response_ms_p99
    await a_second_of(
        edge,
        lambda idle: (idle.requests_per_s, idle.in_flight, idle.response_ms_mean, idle.errors_per_s) == (0, 0, None, 0),
    )


async def test_requests_that_find_nobody_count(edge: Any) -> None:
    """Requests that got 503 because no instance was left are requests and errors of their pool."""
    await edge.publish()
    await edge.facts()
    for _ in range(30):
        assert (await edge.ask("GET", "/")).status == 503
    await asyncio.sleep(1.0)
    pool = await edge.pool()
    assert pool.requests_per_s == pool.errors_per_s > 5


async def test_no_figures_before_there_are_any(edge: Any, instances: Any) -> None:
    """After the first look there is no traffic to tell of, so none is told: not zero."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    await edge.restart_control_plane()
    assert await edge.pool() is None


async def test_a_request_is_found(edge: Any, instances: Any) -> None:
    """By its id a request tells where it went, why, and where its time went, also after the log was put aside."""
    web = await instances(2)
    await edge.publish(web[0].endpoint(), decision="d42")
    answer = await edge.ask("GET", "/wait/some%20where?x=1")
    id_ = answer.headers["x-request-id"]

    async def trace_of(request_id: str) -> Any:
        found: list[Any] = []

        async def is_found() -> bool:
            found[:] = [await edge.driver.request(request_id)]
            return found[0] is not None

        await edge.until("the request is logged", is_found)
        return found[0]

    trace = await trace_of(id_)
    assert (trace.id, trace.method, trace.path, trace.status) == (id_, "GET", "/wait/some%20where?x=1", 200)
    assert (trace.service, trace.instance, trace.region, trace.route) == ("web", web[0].name, "local", "/")
    assert (trace.attempts, trace.decision, trace.limited_by, trace.flags) == (1, "d42", "", "")
    # The app waits for 10 ms, and a timer may fire a hair early.
    assert 9 < trace.upstream_ms <= trace.total_ms < 1000
    accesslog.put_aside(edge.project.logs / "access-local.jsonl")
    await edge.driver.recipe.reopen_logs("local")
    assert (await trace_of(id_)).id == id_
    await edge.publish(*(instance.endpoint() for instance in web), decision="d43")
    web[0].kill(signal.SIGSTOP)
    hedged = [await edge.ask("GET", "/wait") for _ in range(8)]
    late = max(hedged, key=lambda answer: answer.took_s)
    trace = await trace_of(late.headers["x-request-id"])
    assert (trace.attempts, trace.instance, trace.decision) == (2, web[1].name, "d43")
    assert "first try did not answer: try 2, begun after " in trace.limited_by
    assert await edge.driver.request("never-seen") is None


async def test_a_request_names_who_published_what_it_went_by(edge: Any, instances: Any) -> None:
    """A table that changes another service's endpoints sends nothing of this one's; one that changes its own is named at once."""
    web = await instances(2)

    async def decision_of(*of_web: Any, decision: str, of_api: tuple[Any, ...], path: str = "/wait") -> str:
        services = (ServiceRoutes("web", ("/",), of_web), ServiceRoutes("api", ("/api",), of_api))
        await edge.publish_table(RouteTable("local", services), decision)
        assert (await edge.gateway()).table_digest == f"digest{edge.published}"
        answer = await edge.ask("GET", path)
        found: list[Any] = []

        async def is_found() -> bool:
            found[:] = [await edge.driver.request(answer.headers["x-request-id"])]
            return found[0] is not None

        await edge.until("the request is logged", is_found)
        return str(found[0].decision)

    one, two = (instance.endpoint() for instance in web)
    assert await decision_of(one, decision="d1", of_api=(one,)) == "d1"
    assert await decision_of(one, decision="d2", of_api=(one, two)) == "d1"
    assert await decision_of(two, decision="d3", of_api=(one, two)) == "d3"
    assert await decision_of(two, decision="d4", of_api=(one,), path="/api/wait") == "d4"


async def test_the_log_is_kept_small(edge: Any, instances: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has grown is put aside at a look, Envoy goes on in a new one, and the oldest goes away."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    monkeypatch.setattr(accesslog, "SIZE_BYTES_MAX", 2000)
    monkeypatch.setattr(accesslog, "KEPT", 2)
    log = edge.project.logs / "access-local.jsonl"
    for _ in range(accesslog.KEPT + 2):
        for _ in range(10):
            await edge.ask("GET", "/")

        async def is_written() -> bool:
            return log.exists() and log.stat().st_size > 2000

        await edge.until("the log has grown", is_written)
        await edge.facts()
        assert not log.exists() or log.stat().st_size < 2000
    assert len(accesslog.parts(log)) <= accesslog.KEPT + 1


async def test_a_log_that_was_only_put_aside_is_gone_on_with(
    edge: Any, instances: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control plane that died, or got no answer, between renaming the log and saying so leaves no log that grows unseen."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    log = edge.project.logs / "access-local.jsonl"
    await edge.ask("GET", "/")
    await edge.until("the log is there", lambda: _exists(log))
    accesslog.put_aside(log)
    await edge.facts()
    await edge.ask("GET", "/")
    await edge.until("Envoy writes to a log of that name again", lambda: _exists(log))


async def _exists(log: Path) -> bool:
    return log.exists()


async def test_what_routes_take(edge: Any, instances: Any) -> None:
    """Each path prefix has its own times: an honest page is slow, and a frozen instance is not the page's fault."""
    web = await instances(3)
    # Far longer than what a busy machine may take for an answer: whose fault a wait was is to be seen by its length.
    await edge.publish(*(instance.endpoint() for instance in web), hedge_after_ms=2500.0)
    await edge.facts()
    web[0].kill(signal.SIGSTOP)
    answers = [edge.ask("GET", f"/wait/{number}") for number in range(40)] + [
        edge.ask("GET", "/slow") for _ in range(20)
    ]
    assert all(answer.status == 200 for answer in await asyncio.gather(*answers))

    async def routes() -> dict[str, RouteSeen]:
        return {fact.prefix: fact for fact in await edge.facts() if isinstance(fact, RouteSeen)}

    async def are_known() -> bool:
        return {"/wait", "/slow"} <= set(await routes())

    await edge.until("both routes are known", are_known)
    seen = await routes()
    assert 10 <= seen["/wait"].response_ms_p50 <= seen["/wait"].response_ms_p99 < 1400
    assert 1400 < seen["/slow"].response_ms_p50 <= seen["/slow"].response_ms_p99 < 2500
    assert (seen["/slow"].service, seen["/slow"].region) == ("web", "local")


@pytest.mark.parametrize(
    ("path", "route", "prefix"),
    [
        ("/", "/", "/"),
        ("/api/report?id=7", "/", "/api/report"),
        ("/api/projects/17/tasks", "/", "/api/projects"),
        ("/api/v1/users/5f2b8c1e-aaaa-bbbb-cccc-1234567890ab", "/", "/api/v1/users"),
        ("/a/b/c/d/e", "/", "/a/b/c"),
        ("/api/7", "/api/", "/api/"),
        ("/blog/a-very-long-title-of-an-article-that-names-one", "/", "/blog"),
    ],
)
def test_prefixes(path: str, route: str, prefix: str) -> None:
    """A route's name is what many of its requests share."""
    assert prefix_of(path, route) == prefix


@given(st.text(), st.sampled_from(["/", "/api"]))
def test_any_path_has_a_prefix(path: str, route: str) -> None:
    """Whatever a client asks for, its prefix is no longer than what was asked, or the route's own."""
    prefix = prefix_of(path, route)
    assert prefix.startswith("/")
    assert prefix == route or len(prefix) <= len(path) + 1


@given(st.dictionaries(st.floats(0, 1e6), st.integers(1, 1000), min_size=1), st.floats(0.01, 1.0))
def test_percentiles_stay_within_their_bins(counts: dict[float, int], ratio: float) -> None:
    """A percentile lies in the bin that holds it, and none is found where nothing was counted."""
    bins = {(low, 1.0): counts[low] for low in sorted(counts)}
    found = percentile(bins, ratio)
    assert found is not None
    below = sum(count for (low, width), count in bins.items() if low + width <= found)
    upto = sum(count for (low, _), count in bins.items() if low <= found)
    assert below <= ratio * sum(bins.values()) + 1e-6 * sum(bins.values()) or below == upto
    assert percentile({}, ratio) is None


def test_counters_that_begin_again() -> None:
    """A pool that was taken away and came back counts from nothing, and makes no negative rates."""
    before = Reading(0.0, "", {"web": PoolReading(attempts=1000, retries=5, errors=3)})
    (seen,) = pools_seen(before, Reading(1.0, "", {"web": PoolReading(attempts=10)}), "local", 0.0)
    assert (seen.requests_per_s, seen.errors_per_s, seen.retries_per_s) == (10, 0, 0)


def test_times_that_are_gathered_late_do_not_double_what_is_at_hand() -> None:
    """A look whose times arrive with the next one tells of no more requests at hand than there are: 100/s of 500 ms each are 50."""

    def reading(at_s: float, attempts: int, answered: int) -> Reading:
        return Reading(
            at_s, "", {"web": PoolReading(attempts, bins={(490.0, 20.0): answered}, active_by_instance={"web-1": 50})}
        )

    looks = [reading(0.0, 1000, 950), reading(1.0, 1100, 950), reading(2.0, 1200, 1150)]
    for before, now in pairwise(looks):
        (seen,) = pools_seen(before, now, "local", 0.0)
        assert seen.in_flight == pytest.approx(50)


def test_second_tries_are_no_arrivals() -> None:
    """100 requests of 500 ms each second are 50 at hand, though each was tried a second time after 400 ms."""
    before = Reading(0.0, "", {"web": PoolReading(1000, retries=500, bins={(490.0, 20.0): 500})})
    now = Reading(1.0, "", {"web": PoolReading(1200, retries=600, bins={(490.0, 20.0): 600})})
    (seen,) = pools_seen(before, now, "local", 0.0)
    assert seen.in_flight == pytest.approx(50)
    assert seen.requests_per_s == 100


def test_a_cut_line_is_passed_over(tmp_path: Path) -> None:
    """A half-written line, one that only mentions the id, and one of another request are not taken for the request."""
    log = tmp_path / "access-local.jsonl"
    line = {"at": "1.5", "id": "wanted", "code": 200, "method": "GET", "path": "/"}
    other = {**line, "id": "other", "path": '/"wanted"'}
    log.write_text("\n".join([json.dumps(line), '{"at":"2","id":"wan', json.dumps(other), ""]))
    found = accesslog.find(log, "wanted")
    assert found is not None
    assert (found.id, found.at) == ("wanted", "1.5")
    times = LoggedTimes("local", log)
    assert times.look(10.0) == ()


@given(
    st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30), unique=True),
    st.integers(1, 200),
)
def test_every_line_is_found_whatever_the_blocks(tmp_path_factory: Any, ids: list[str], block_bytes: int) -> None:
    """However the log is cut into blocks to be read from its end, each line of it is found, and nothing else."""
    log = tmp_path_factory.mktemp("log") / "access-local.jsonl"
    log.write_bytes(b"".join(json.dumps({"at": "1", "id": id_}).encode() + b"\n" for id_ in ids))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accesslog, "_BLOCK_BYTES", block_bytes)
        for id_ in ids:
            found = accesslog.find(log, id_)
            assert found is not None
            assert found.id == id_
        assert accesslog.find(log, "not" + "".join(ids)) is None
