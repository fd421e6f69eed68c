"""`tenfold scaler` beside a real Prometheus (Debian's), which scrapes a small app: the load becomes the number that KEDA is told."""

import asyncio
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from tenfold.console.keda import protocol
from tenfold.drivers.prometheus import Prometheus

Place = Any
PATIENCE_S = 90.0
LOAD = 'sum(rate(http_requests_total{job="shop"}[10s]))'


@dataclass
class App:
    """Counts requests as if so many came each second, on two paths, and tells Prometheus."""

    per_s: float = 325.0
    counted: float = 0.0
    at: float = field(default_factory=time.monotonic)
    port: int = 0

    def now(self) -> float:
        """The counter."""
        before, self.at = self.at, time.monotonic()
        self.counted += self.per_s * (self.at - before)
        return self.counted


@pytest.fixture
def app() -> Iterator[App]:
    """It listens on loopback."""
    made = App()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count = made.now() / 2
            lines = "".join(f'http_requests_total{{path="{path}"}} {count}\n' for path in ("/", "/api"))
            body = f"# TYPE http_requests_total counter\n{lines}http_ready_instances 10\n".encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def prometheus(app: App, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Debian's, scraping the app each second; its process and its address."""
    program = shutil.which("prometheus")
    assert program is not None, "Prometheus is missing: apt-get install prometheus (.ci/run does)"
    jobs = [{"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{app.port}"]}]}]
    config = tmp_path / "prometheus.json"
    # JSON is YAML too.
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=tmp_path
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is None and is_ready(url))
        yield process, url
    finally:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until(condition: Any) -> None:
    """Poll until `condition` holds."""
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, "it never came"
        time.sleep(0.2)


def ask(port: int, metadata: dict[str, str]) -> int | str:
    """As KEDA does: the number, or the code and sentence of the refusal."""
    asked = protocol._message("GetMetricsRequest")()
    ref = {"name": "web", "namespace": "shop", "scalerMetadata": metadata}
    json_format.ParseDict({"scaledObjectRef": ref}, asked)

    async def call() -> int | str:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_unary(
                f"/{protocol.SERVICE}/GetMetrics",
                request_serializer=type(asked).SerializeToString,
                response_deserializer=protocol.GetMetricsResponse.FromString,
            )
            try:
                answer = await method(asked, timeout=30, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
            return int(answer.metricValues[0].metricValue)

    return asyncio.run(call())


def test_the_load_that_prometheus_sees_becomes_the_number(
    place: Place, app: App, prometheus: tuple["subprocess.Popen[bytes]", str]
) -> None:
    """325 requests/s, 50 each, are 10 instances; three times as many are more within three looks; mistakes in the query come back in
    Prometheus' own words; once Prometheus is gone that is said, and its last number is not called zero."""
    process, url = prometheus
    asyncio.run(settled(url))
    scaler = place.popen("scaler", "--prometheus", url, "--listen", "127.0.0.1:0")
    port = int(place.say_until(scaler, "Ctrl-C ends it").partition("127.0.0.1:")[2].partition(";")[0])
    metadata = {"query": LOAD, "holds": "50", "max": "60"}
    assert ask(port, metadata) in (10, 11)
    assert ask(port, {**metadata, "replicas_query": "http_ready_instances"}) == 10
    several = str(ask(port, {**metadata, "query": "rate(http_requests_total[10s])"}))
    assert several.startswith("UNAVAILABLE: the query gives 2 series, not one number: wrap it in sum(...)")
    wrong = str(ask(port, {**metadata, "query": "sum(rate("}))
    assert "Prometheus refuses the query: " in wrong
    assert "parse error" in wrong
    assert str(ask(port, {**metadata, "query": "no_such_metric"})).startswith(
        "UNAVAILABLE: metadata query gives no number now"
    )
    app.per_s = 975.0
    wait_until(lambda: isinstance(found := ask(port, metadata), int) and found >= 25)
    process.kill()
    process.wait()
    said = place.say_until(scaler, "can't be reached")
    assert f"Prometheus ({url}) can't be reached" in said
    last = ask(port, metadata)
    assert last != 0
    scaler.terminate()
    assert place.end_of(scaler).code == 0


async def settled(url: str) -> None:
    """Wait until the rate is the app's, and a row over time can be read as well."""
    reader = Prometheus(url)
    until_s = time.monotonic() + PATIENCE_S
    while not 318.0 <= (await reader.value(LOAD, time.time()) or 0.0) <= 332.0:
        assert time.monotonic() < until_s, "the rate never came"
        await asyncio.sleep(0.5)
    now = time.time()
    row = await reader.values(LOAD, now - 10.0, now, 1.0)
    assert row
    assert all(now - 10.5 <= at <= now + 0.5 and load > 0 for at, load in row)
    await reader.close()
