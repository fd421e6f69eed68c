"""The brain beside a cluster: a Prometheus that says what the story needs, KEDA's client, and everything between."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
import pytest_asyncio

from tenfold.console.keda import beside
from tenfold.console.keda.asked import Ref, asked_of
from tenfold.console.keda.beside import HISTORY_S, Beside
from tenfold.console.keda.watched import Missing, Pool
from tenfold.drivers.prometheus import Prometheus
from tests.console.keda.conftest import FakePrometheus, Protocol, Serve, refused, until

NOW = 1_700_000_000.0
Open = Callable[[Ref], Pool]


UNHURRIED_S = 600.0


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look has time for all of the history, however slow the machine is."""
    monkeypatch.setattr(beside, "A_LOOK_S", UNHURRIED_S)


@pytest_asyncio.fixture
async def reader(prometheus: FakePrometheus) -> AsyncIterator[Prometheus]:
    """The driver, told of the fake one."""
    driver = Prometheus(prometheus.url)
    yield driver
    await driver.close()


def opener(reader: Prometheus, every_s: float = 0.05, said: list[str] | None = None) -> Open:
    """As `tenfold scaler` opens pools, but looked at more often."""
    turns = asyncio.Semaphore(4)

    def open_pool(ref: Ref) -> Pool:
        pool = Beside(asked_of(ref, {}, {}), ref.namespace, reader, turns, (said if said is not None else []).append)
        pool.every_s = every_s  # type: ignore[misc]
        return pool

    return open_pool


async def test_a_load_becomes_a_number(
    serve: Serve, protocol: Protocol, prometheus: FakePrometheus, reader: Prometheus
) -> None:
    """One ScaledObject, from its query to the autoscaler's figure: 325 requests/s, 50 each, filled to 65% are 10."""
    prometheus.load["load"] = lambda at: 325.0
    served = await serve(opener(reader))
    ref = protocol.ref(query="load", holds="50", max="40")
    (value,) = (await served.stub.GetMetrics(protocol.metrics(ref))).metricValues
    assert value.metricValue == 10
    prometheus.load["load"] = lambda at: 1000.0
    await until(lambda: any(answer is not None and answer.wanted >= 25 for _, answer, _ in served.lines.said))
    (value,) = (await served.stub.GetMetrics(protocol.metrics(ref))).metricValues
    assert 25 <= value.metricValue <= 40


async def test_all_of_the_history_is_read_once(prometheus: FakePrometheus, reader: Prometheus) -> None:
    """First two weeks, a day at a time; then each minute once it has ended, also those that were missed."""
    prometheus.load["load"] = lambda at: 100.0
    pool = opener(reader)(Ref("shop", "web", (("holds", "50"), ("query", "load"))))
    minute = NOW // 60 * 60
    await pool.look(minute + 30)
    recent, *ranges = [form for what, form in prometheus.asked if what == "query_range"]
    assert (float(recent["start"]), float(recent["end"])) == (minute - 240, minute)
    assert len(ranges) == HISTORY_S / 86400
    assert float(ranges[0]["start"]) == minute - HISTORY_S + 60
    assert float(ranges[-1]["end"]) == minute
    prometheus.asked.clear()
    await pool.look(minute + 45)
    assert [what for what, _ in prometheus.asked] == ["query"]
    prometheus.asked.clear()
    await pool.look(minute + 5 * 60 + 30)
    (caught_up,) = (form for what, form in prometheus.asked if what == "query_range")
    assert (float(caught_up["start"]), float(caught_up["end"])) == (minute + 60, minute + 300)


async def test_an_answer_does_not_wait_for_the_history(
    prometheus: FakePrometheus, reader: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that has no more time for history goes on with the load of now; the next ones read the rest."""
    prometheus.load["load"] = lambda at: 650.0 if at < NOW - 60 else 325.0
    pool = opener(reader)(Ref("shop", "web", (("holds", "50"), ("query", "load"))))
    monkeypatch.setattr(beside, "A_LOOK_S", 0.0)
    assert (await pool.look(NOW)).wanted == 20
    assert [what for what, _ in prometheus.asked] == ["query_range", "query"]
    monkeypatch.setattr(beside, "A_LOOK_S", UNHURRIED_S)
    prometheus.asked.clear()
    await pool.look(NOW + 1)
    assert [what for what, _ in prometheus.asked].count("query_range") >= 15


async def test_a_clock_that_was_set_back_asks_for_nothing_twice(prometheus: FakePrometheus, reader: Prometheus) -> None:
    """The minutes that come again are known; the load of now is read all the same."""
    prometheus.load["load"] = lambda at: 100.0
    pool = opener(reader)(Ref("shop", "web", (("holds", "50"), ("query", "load"))))
    await pool.look(NOW)
    prometheus.asked.clear()
    answer = await pool.look(NOW - 7200)
    assert [what for what, _ in prometheus.asked] == ["query"]
    assert answer.wanted >= 1


async def test_a_prometheus_that_is_gone_holds(
    serve: Serve, protocol: Protocol, prometheus: FakePrometheus, reader: Prometheus
) -> None:
    """From the start there is no number but an error with the reason; once it answers, there is one."""
    prometheus.status, prometheus.error = 503, "starting up"
    prometheus.load["load"] = lambda at: 325.0
    served = await serve(opener(reader))
    ask = protocol.metrics(protocol.ref(query="load", holds="50"))
    code, why = await refused(served.stub.GetMetrics(ask))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert why == f"Prometheus ({prometheus.url}) could not answer: starting up"
    prometheus.status = 200
    await until(lambda: any(answer is not None for _, answer, _ in served.lines.said))
    (value,) = (await served.stub.GetMetrics(ask)).metricValues
    assert value.metricValue == 10


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        (None, "metadata query gives no number now: load"),
        (float("nan"), "metadata query gives no number now: load"),
        (-3.0, "metadata query gives -3, and less than nothing says nothing: load"),
    ],
)
async def test_no_number_is_no_zero(
    prometheus: FakePrometheus, reader: Prometheus, load: float | None, sentence: str
) -> None:
    """A query that gives nothing, or no number, says nothing about the load."""
    prometheus.load["load"] = lambda at: load
    pool = opener(reader)(Ref("shop", "web", (("holds", "50"), ("query", "load"))))
    with pytest.raises(Missing, match=sentence):
        await pool.look(NOW)


async def test_what_runs_counts_where_it_is_told(prometheus: FakePrometheus, reader: Prometheus) -> None:
    """With a query of replicas the pool begins with those; when that query gives nothing, it holds."""
    prometheus.load |= {"load": lambda at: 325.0, "ready": lambda at: 14.0}
    metadata = (("holds", "50"), ("query", "load"), ("replicas_query", "ready"))
    assert (await opener(reader)(Ref("shop", "web", metadata)).look(NOW)).wanted == 14
    for gives, sentence in ((None, "gives no number now: ready"), (1e9, "gives 1e\\+09, and no workload has so many")):
        prometheus.load["ready"] = lambda at, gives=gives: gives  # type: ignore[misc]
        with pytest.raises(Missing, match=f"metadata replicas_query {sentence}"):
            await opener(reader)(Ref("shop", "web", metadata)).look(NOW)


async def test_a_history_that_is_refused_is_done_without(prometheus: FakePrometheus, reader: Prometheus) -> None:
    """Where weeks are too much for it, Prometheus says so, so does the scaler, once; the load of now is enough to begin."""
    prometheus.load["load"] = lambda at: 325.0
    said: list[str] = []
    pool = opener(reader, said=said)(Ref("shop", "web", (("holds", "50"), ("query", "load"))))

    calls = reader.values

    async def refusing(query: str, start: float, end: float, step_s: float) -> tuple[tuple[float, float], ...]:
        prometheus.status, prometheus.error = 422, "query processing would load too many samples into memory"
        try:
            return await calls(query, start, end, step_s)
        finally:
            prometheus.status = 200

    reader.values = refusing  # type: ignore[method-assign]
    assert (await pool.look(NOW)).wanted == 10
    assert len(said) == 1
    assert "web@shop has no history to forecast from: Prometheus refuses the query: query processing" in said[0]


async def test_a_refused_query_is_told_in_prometheus_own_words(prometheus: FakePrometheus, reader: Prometheus) -> None:
    """A mistake in the query reaches whoever wrote it."""
    prometheus.status, prometheus.error = 400, 'invalid parameter "query": 1:9: parse error: unclosed left parenthesis'
    pool = opener(reader)(Ref("shop", "web", (("holds", "50"), ("query", "sum(rate("))))
    with pytest.raises(Missing, match="parse error: unclosed left parenthesis"):
        await pool.look(NOW)


async def test_many_objects_share_a_few_questions(
    serve: Serve, protocol: Protocol, prometheus: FakePrometheus, reader: Prometheus
) -> None:
    """Twenty ScaledObjects that begin at once are all served, each by its own load."""
    for n in range(20):
        prometheus.load[f"load{n}"] = lambda at, n=n: 32.5 * (n + 1)  # type: ignore[misc]
    served = await serve(opener(reader, every_s=5.0))
    began_s = time.monotonic()
    asks = [protocol.metrics(protocol.ref(f"web{n}", query=f"load{n}", holds="50", max="40")) for n in range(20)]
    answers = await asyncio.gather(*(served.stub.GetMetrics(ask) for ask in asks), return_exceptions=True)
    while any(isinstance(answer, BaseException) for answer in answers) and time.monotonic() - began_s < 60:
        answers = await asyncio.gather(*(served.stub.GetMetrics(ask) for ask in asks), return_exceptions=True)
    assert [answer.metricValues[0].metricValue for answer in answers] == [n + 1 for n in range(20)]
