"""KEDA's four questions over gRPC, by a client of the protocol's own definition."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from tenfold.console.keda import server, service, watched
from tenfold.console.keda.asked import BadMetadata, Ref
from tenfold.console.keda.brain import Answer
from tenfold.console.keda.watched import Missing
from tests.console.keda.conftest import Protocol, Serve, Told, refused, until

SIX = Answer(6, True, "web@shop needs 6 instances: 300 requests/s × 50 each", 0.0)
ASLEEP = Answer(0, False, "web@shop sleeps", 0.0)


async def test_the_metric_is_the_number_of_replicas(serve: Serve, protocol: Protocol) -> None:
    """A target of 1 and a value of 6, as whole numbers and as floats: the autoscaler's ceil(6 / 1) is what is wanted."""
    served = await serve(lambda ref: Told(SIX))
    ref = protocol.ref()
    (spec,) = (await served.stub.GetMetricSpec(ref)).metricSpecs
    (value,) = (await served.stub.GetMetrics(protocol.metrics(ref, spec.metricName))).metricValues
    assert (spec.targetSize, spec.targetSizeFloat) == (1, 1.0)
    assert (value.metricName, value.metricValue, value.metricValueFloat) == (spec.metricName, 6, 6.0)
    assert (await served.stub.IsActive(ref)).result is True


async def test_the_reason_goes_with_the_answer(serve: Serve, protocol: Protocol) -> None:
    """Who asks can read why in the trailing metadata, and it was said once, however often KEDA asks."""
    served = await serve(lambda ref: Told(SIX))
    for _ in range(3):
        call = served.stub.GetMetrics(protocol.metrics(protocol.ref()))
        await call
        assert dict(await call.trailing_metadata())["tenfold-why"].startswith("web@shop needs 6 instances: 300")
    assert served.lines.said == [("shop/web", SIX, SIX.why)]


async def test_what_is_not_known_is_an_error_and_never_zero(serve: Serve, protocol: Protocol) -> None:
    """Without a load there is no figure, also not for IsActive; what the autoscaler aims for is told all the same."""
    served = await serve(lambda ref: Told(Missing("Prometheus can't be reached")))
    ref = protocol.ref()
    for call in (served.stub.GetMetrics(protocol.metrics(ref)), served.stub.IsActive(ref)):
        assert await refused(call) == (grpc.StatusCode.UNAVAILABLE, "Prometheus can't be reached")
    assert len((await served.stub.GetMetricSpec(ref)).metricSpecs) == 1


async def test_a_pool_that_may_not_sleep_is_active_whatever_is_unknown(serve: Serve, protocol: Protocol) -> None:
    """No load is needed to know that it is to have an instance; an older KEDA would take an error for a wish to sleep."""
    served = await serve(lambda ref: Told(Missing("Prometheus can't be reached"), may_sleep=False))
    assert (await served.stub.IsActive(protocol.ref())).result is True
    stream = served.stub.StreamIsActive(protocol.ref())
    assert (await stream.read()).result is True
    stream.cancel()
    code, _ = await refused(served.stub.GetMetrics(protocol.metrics(protocol.ref())))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_an_answer_that_grew_old_is_none(
    serve: Serve, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failed look changes nothing; once the last good one is older than a minute, its number is not given any more."""
    pool = Told(SIX)
    served = await serve(lambda ref: pool)
    ask = protocol.metrics(protocol.ref())
    await served.stub.GetMetrics(ask)
    pool.says = Missing("Prometheus can't be reached")
    await until(lambda: len(served.lines.said) == 2)
    (value,) = (await served.stub.GetMetrics(ask)).metricValues
    assert value.metricValue == 6
    monkeypatch.setattr(watched, "STALE_S", -1.0)
    code, why = await refused(served.stub.GetMetrics(ask))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert why.startswith("Prometheus can't be reached (the last answer is 0 s old)")
    monkeypatch.undo()
    pool.says = Answer(7, True, "well again", 0.0)
    await until(lambda: len(served.lines.said) == 3)
    (value,) = (await served.stub.GetMetrics(ask)).metricValues
    assert value.metricValue == 7


async def test_bad_metadata_is_told_at_once(serve: Serve, protocol: Protocol) -> None:
    """Every question is refused with the sentence, and nothing is looked at."""

    def bad(ref: Ref) -> Told:
        raise BadMetadata("metadata hold: there is no such key; did you mean holds?")

    served = await serve(bad)
    ref = protocol.ref(hold="5")
    stub = served.stub
    for call in (stub.GetMetricSpec(ref), stub.GetMetrics(protocol.metrics(ref)), stub.IsActive(ref)):
        assert await refused(call) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "metadata hold: there is no such key; did you mean holds?",
        )
    assert len(served.objects) == 0


async def test_another_metric_is_none(serve: Serve, protocol: Protocol) -> None:
    """A question for a metric that is not ours is refused, and says what ours is called."""
    served = await serve(lambda ref: Told(SIX))
    code, why = await refused(served.stub.GetMetrics(protocol.metrics(protocol.ref(), "queue_length")))
    assert (code, "tenfold-wanted" in why) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_two_objects_are_two_pools(serve: Serve, protocol: Protocol) -> None:
    """Each ScaledObject has its own pool, also two triggers of one; the same asked again has the same."""
    pools: dict[Ref, Told] = {}

    def open_pool(ref: Ref) -> Told:
        number = int(dict(ref.metadata)["min"])
        pools[ref] = Told(Answer(number, True, f"{number}", 0.0))
        return pools[ref]

    served = await serve(open_pool)
    asks = [protocol.ref(min="3"), protocol.ref(min="4"), protocol.ref("api", min="5"), protocol.ref(min="3")]
    answers = await asyncio.gather(*(served.stub.GetMetrics(protocol.metrics(ref)) for ref in asks))
    assert [answer.metricValues[0].metricValue for answer in answers] == [3, 4, 5, 3]
    assert len(pools) == len(served.objects) == 3


async def test_there_is_a_most(serve: Serve, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """More ScaledObjects than are served are refused; those that are served go on."""
    monkeypatch.setattr(watched, "OBJECTS_MAX", 2)
    served = await serve(lambda ref: Told(SIX))
    for name in ("a", "b"):
        await served.stub.IsActive(protocol.ref(name))
    code, why = await refused(served.stub.IsActive(protocol.ref("c")))
    assert (code, "at most 2 ScaledObjects" in why) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    assert (await served.stub.IsActive(protocol.ref("a"))).result


async def test_what_nobody_asks_for_is_forgotten(
    serve: Serve, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is gone, or whose metadata changed, is looked at no longer and makes room."""
    pool = Told(SIX)
    served = await serve(lambda ref: pool)
    await served.stub.IsActive(protocol.ref())
    monkeypatch.setattr(watched, "FORGET_S", -1.0)
    await until(lambda: len(served.objects) == 0)
    looks = pool.looks
    await asyncio.sleep(0.1)
    assert pool.looks == looks


async def test_the_stream_tells_each_change(serve: Serve, protocol: Protocol) -> None:
    """At once what is, then only what changes; while nothing is known nothing is sent."""
    pool = Told(ASLEEP)
    served = await serve(lambda ref: pool)
    stream = served.stub.StreamIsActive(protocol.ref())
    assert (await stream.read()).result is False
    pool.says = Missing("nothing to read")
    await until(lambda: len(served.lines.said) == 2)
    pool.says = Answer(0, False, "asleep again", 0.0)
    await until(lambda: len(served.lines.said) == 3)
    pool.says = SIX
    assert (await stream.read()).result is True
    pool.says = ASLEEP
    assert (await stream.read()).result is False
    stream.cancel()


async def test_a_stream_that_is_left_is_given_back(serve: Serve, protocol: Protocol) -> None:
    """Streams are bounded, and one whose listener went away makes room."""
    served = await serve(lambda ref: Told(SIX))
    ref = protocol.ref()
    streams = [served.stub.StreamIsActive(ref) for _ in range(service.STREAMS_MAX)]
    for stream in streams:
        assert (await stream.read()).result
    more = served.stub.StreamIsActive(ref)
    code, why = await refused(more.read())
    assert (code, f"{service.STREAMS_MAX} streams" in why) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    object_ = served.objects.of(_ref(ref))
    for stream in streams:
        stream.cancel()
    await until(lambda: object_.streams == 0)
    assert (await served.stub.StreamIsActive(ref).read()).result


async def test_a_listener_that_vanished_is_let_go(
    serve: Serve, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose machine died sends no goodbye: it is missed, and its stream makes room."""
    monkeypatch.setattr(server, "PING_EVERY_S", 0.1)
    # Until the cable is cut every ping must be answered within it, however busy the machine is.
    monkeypatch.setattr(server, "PING_WITHIN_S", 3.0)
    served = await serve(lambda ref: Told(SIX, every_s=600.0))
    is_dead = asyncio.Event()
    held: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.read(4096):
            if is_dead.is_set():
                # The cable is cut: nothing comes through, and neither end is told.
                await asyncio.Event().wait()
            writer.write(text)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, back = await asyncio.open_connection("127.0.0.1", served.port)
        held.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(beyond, writer))

    cable = await asyncio.start_server(carry, "127.0.0.1", 0)
    port = cable.sockets[0].getsockname()[1]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = protocol.grpc.ExternalScalerStub(channel).StreamIsActive(protocol.ref())
        assert (await stream.read()).result
        object_ = served.objects.of(_ref(protocol.ref()))
        assert object_.streams == 1
        is_dead.set()
        await until(lambda: object_.streams == 0)
    for writer in held:
        writer.close()
    cable.close()


async def test_a_stop_ends_streams_well(serve: Serve, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens sees the stream's end, not an error, and the stop does not wait for them."""
    served = await serve(lambda ref: Told(SIX))
    stream = served.stub.StreamIsActive(protocol.ref())
    assert (await stream.read()).result
    monkeypatch.setattr(server, "STOP_WITHIN_S", 600.0)
    async with asyncio.timeout(60):
        await served.server.stop()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_waiting_stream_does_no_work(serve: Serve, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes a stream is woken by looks alone: no loop turns beside them."""
    asked: list[float] = []
    answer = watched.Watched.answer

    def counted(self: watched.Watched) -> Answer:
        asked.append(time.monotonic())
        return answer(self)

    monkeypatch.setattr(watched.Watched, "answer", counted)
    pool = Told(SIX, every_s=600.0)
    served = await serve(lambda ref: pool)
    stream = served.stub.StreamIsActive(protocol.ref())
    assert (await stream.read()).result
    await asyncio.sleep(0.3)
    assert pool.looks == 1
    assert len(asked) <= 3
    stream.cancel()


async def test_a_bug_ends_one_object_and_not_the_scaler(serve: Serve, protocol: Protocol) -> None:
    """It is said, that object's answer is an error, the others go on, and the next question begins it anew."""
    pools = {"web": Told(ZeroDivisionError("by zero")), "api": Told(SIX)}
    served = await serve(lambda ref: pools[ref.name])
    code, why = await refused(served.stub.IsActive(protocol.ref("web")))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "a bug in Tenfold (ZeroDivisionError: by zero)" in why
    assert (await served.stub.IsActive(protocol.ref("api"))).result
    pools["web"] = Told(SIX)
    assert (await served.stub.IsActive(protocol.ref("web"))).result


async def test_the_optional_method_is_not_there(serve: Serve, protocol: Protocol) -> None:
    """StreamMetricSpec answers UNIMPLEMENTED, by which KEDA knows that targets never change."""
    served = await serve(lambda ref: Told(SIX))
    code, _ = await refused(served.stub.StreamMetricSpec(protocol.ref()).read())
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "ref",
    [{"name": "n" * 300}, {"scalerMetadata": {f"k{n}": "" for n in range(60)}}],
    ids=["a long name", "many keys"],
)
async def test_what_no_object_can_be_is_refused(serve: Serve, protocol: Protocol, ref: dict[str, Any]) -> None:
    """Names and metadata are bounded, so that what is kept is."""
    served = await serve(lambda ref: Told(SIX))
    code, _ = await refused(served.stub.IsActive(protocol.pb2.ScaledObjectRef(**ref)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def _ref(message: Any) -> Ref:
    return Ref(message.namespace, message.name, tuple(sorted(message.scalerMetadata.items())))
