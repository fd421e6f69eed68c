"""The reader of a Prometheus: numbers, the lack of them, and a sentence for each way in which it fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold.drivers import prometheus
from tenfold.drivers.prometheus import Prometheus
from tenfold.ports import DriverError, Permanent, Retryable

NOW = 1_700_000_000.0


@dataclass
class Fake:
    """Answers everything with `body` (bytes, or data of a success) and `status`."""

    url: str = ""
    status: int = 200
    body: Any = None
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """What it was told to."""
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append((request.path, form, request.headers.get("authorization", "")))
        text = (
            self.body if isinstance(self.body, bytes) else json.dumps({"status": "success", "data": self.body}).encode()
        )
        headers = {"location": "/login"} if self.status in (301, 302) else {}
        return web.Response(status=self.status, body=text, content_type="application/json", headers=headers)


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Fake]:
    """It listens on loopback."""
    made = Fake()
    app = web.Application()
    app.router.add_post("/{tail:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def reader(fake: Fake) -> AsyncIterator[Prometheus]:
    """The driver of the fake one."""
    made = Prometheus(fake.url)
    yield made
    await made.close()


def vector(*values: str) -> dict[str, Any]:
    return {"resultType": "vector", "result": [{"metric": {}, "value": [NOW, value]} for value in values]}


async def test_a_number_is_read(fake: Fake, reader: Prometheus) -> None:
    """The query and the moment go out as a form, so that no query is too long for an address."""
    fake.body = vector("12.5")
    assert await reader.value("sum(x)" + " " * 10_000, NOW) == 12.5
    ((path, form, _),) = fake.asked
    assert path == "/api/v1/query"
    assert (form["query"].strip(), form["time"]) == ("sum(x)", "1700000000.000")


@pytest.mark.parametrize(
    "body", [vector(), vector("NaN"), vector("+Inf"), {"resultType": "scalar", "result": [NOW, "NaN"]}]
)
async def test_no_number_is_none(fake: Fake, reader: Prometheus, body: Any) -> None:
    """Nothing, and what is not finite, is no number; it is not zero."""
    fake.body = body
    assert await reader.value("x", NOW) is None


async def test_a_scalar_is_a_number_too(fake: Fake, reader: Prometheus) -> None:
    """As `scalar(...)` or a plain figure gives it."""
    fake.body = {"resultType": "scalar", "result": [NOW, "3"]}
    assert await reader.value("3", NOW) == 3.0


async def test_a_row_of_numbers_is_read(fake: Fake, reader: Prometheus) -> None:
    """Each with its moment; what is not finite is left out."""
    fake.body = {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[60, "1"], [120, "NaN"], [180, "3.5"]]}],
    }
    assert await reader.values("x", 60.0, 180.0, 60.0) == ((60.0, 1.0), (180.0, 3.5))
    assert fake.asked[0][:2] == (
        "/api/v1/query_range",
        {"query": "x", "start": "60.000", "end": "180.000", "step": "60.000"},
    )
    fake.body = {"resultType": "matrix", "result": []}
    assert await reader.values("x", 60.0, 180.0, 60.0) == ()


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (200, vector("1", "2", "3"), Permanent, "the query gives 3 series, not one number: wrap it in sum"),
        (200, {"resultType": "string", "result": [NOW, "x"]}, Permanent, "the query gives a string, not a number"),
        (400, b'{"status":"error","error":"1:4: parse error"}', Permanent, "refuses the query: 1:4: parse error"),
        (422, b'{"status":"error","error":"too many samples"}', Permanent, "refuses the query: too many samples"),
        (401, b"", Permanent, "does not let us read"),
        (302, b"", Permanent, "there is no Prometheus at"),
        (404, b"not here", Permanent, "there is no Prometheus at"),
        (503, b'{"status":"error","error":"starting"}', Retryable, "could not answer: starting"),
        (503, b"<html>", Retryable, "could not answer: status 503"),
        (429, b"", Retryable, "could not answer: status 429"),
        (200, b"<html>", Retryable, "could not answer: status 200"),
        (200, b'{"status":"success","data":{"resultType":"vec', Retryable, "could not answer: status 200"),
    ],
)
async def test_each_failure_has_its_sentence(
    fake: Fake, reader: Prometheus, status: int, body: Any, kind: type[DriverError], sentence: str
) -> None:
    """What can't help to ask again is told apart from what may."""
    fake.status, fake.body = status, body
    with pytest.raises(kind) as found:
        await reader.value("x", NOW)
    assert sentence in str(found.value)


async def test_one_that_is_gone_is_told(fake: Fake) -> None:
    """Nobody at that port: it may come back."""
    reader = Prometheus("http://127.0.0.1:1")
    with pytest.raises(Retryable, match="can't be reached: Connection refused"):
        await reader.value("x", NOW)
    await reader.close()


async def test_one_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is not answered in time ends."""
    monkeypatch.setattr(prometheus, "ANSWER_WITHIN_S", 0.05)
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    reader = Prometheus(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(Retryable, match="did not answer within"):
        await reader.value("x", NOW)
    await reader.close()
    for writer in held:
        writer.close()
    server.close()


async def test_too_much_is_not_read(monkeypatch: pytest.MonkeyPatch, fake: Fake, reader: Prometheus) -> None:
    """An answer without end does not fill the memory."""
    monkeypatch.setattr(prometheus, "ANSWER_BYTES_MAX", 1024)
    fake.body = b" " * 100_000
    with pytest.raises(Permanent, match="let it sum up to one number"):
        await reader.value("x", NOW)


async def test_a_password_goes_along_and_is_never_told(fake: Fake) -> None:
    """It is part of the address; sentences name the address without it."""
    reader = Prometheus(fake.url.replace("http://", "http://me:hush@"))
    fake.status, fake.body = 500, b""
    with pytest.raises(Retryable) as found:
        await reader.value("x", NOW)
    await reader.close()
    assert fake.asked[0][2].startswith("Basic ")
    assert "hush" not in str(found.value) + reader.name
    assert fake.url in str(found.value)


async def test_a_path_before_the_api_is_kept(fake: Fake) -> None:
    """As a Prometheus behind a prefix, or one tenant of many, has it."""
    reader = Prometheus(fake.url + "/prom/")
    fake.body = vector("1")
    await reader.value("x", NOW)
    await reader.close()
    assert fake.asked[0][0] == "/prom/api/v1/query"


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://x", "http://", "http://x:port", "http://x:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """With how to write it."""
    with pytest.raises(Permanent, match="write it as http://HOST:9090"):
        Prometheus(url)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "values", "x"]), inner),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.fixed_dictionaries({"resultType": st.sampled_from(["vector", "matrix", "scalar", "x"]), "result": JSON}),
    ask=st.sampled_from(["value", "values"]),
)
async def test_any_answer_is_read_or_refused(body: Any, ask: str) -> None:
    """Whatever an answer holds, it gives numbers or one of the driver's own errors."""
    reader = Prometheus("http://127.0.0.1:9")
    answer: Callable[..., Any] = reader._data

    async def answered(what: str, form: object) -> Any:
        return answer(200, json.dumps({"status": "success", "data": body}).encode())

    reader._ask = answered  # type: ignore[method-assign]
    try:
        if ask == "value":
            found = await reader.value("x", NOW)
            assert found is None or isinstance(found, float)
        else:
            assert all(isinstance(value, float) for _, value in await reader.values("x", 0.0, 60.0, 60.0))
    except DriverError:
        pass
