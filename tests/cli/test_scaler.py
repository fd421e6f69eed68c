"""`tenfold scaler` at a terminal: what it refuses, what it says while it serves, how it ends."""

import asyncio
import http.server
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf import json_format

from tenfold.cli.app import cli
from tenfold.console.keda import protocol
from tenfold.console.keda.protocol import GetMetricsResponse

Place = Any


class Prometheus(http.server.BaseHTTPRequestHandler):
    """Gives 325 for every question of now, and no history."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        rows: list[Any] = [] if "range" in self.path else [{"metric": {}, "value": [time.time(), "325"]}]
        kind = "matrix" if "range" in self.path else "vector"
        body = json.dumps({"status": "success", "data": {"resultType": kind, "result": rows}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    """Its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def wanted(port: int, metadata: dict[str, str], name: str = "web") -> int:
    """Ask as KEDA does."""
    asked = protocol._message("GetMetricsRequest")()
    json_format.ParseDict({"scaledObjectRef": {"name": name, "namespace": "shop", "scalerMetadata": metadata}}, asked)

    async def ask() -> int:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(
                f"/{protocol.SERVICE}/GetMetrics",
                request_serializer=type(asked).SerializeToString,
                response_deserializer=GetMetricsResponse.FromString,
            )
            answer = await call(asked, timeout=30, wait_for_ready=True)
            return int(answer.metricValues[0].metricValue)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give one of --prometheus URL"),
        (("--prometheus", "http://x:9090", "--project"), "give one of --prometheus URL"),
        (("--prometheus", "x:9090"), "--prometheus: this is no address of a Prometheus: write it as http://HOST:9090"),
        (("--project", "--listen", "9095"), "--listen 9095: give it as HOST:PORT, such as 127.0.0.1:9095"),
        (("--project", "--listen", "0.0.0.0:9095"), "at 0.0.0.0 others could ask without TLS"),
        (("--project", "--tls-cert", "tls.crt"), "TLS takes --tls-cert and --tls-key"),
        (("--project", "--client-ca", "ca.crt"), "TLS takes --tls-cert and --tls-key"),
    ],
)
def test_a_wrong_call_says_what_to_give(words: tuple[str, ...], sentence: str) -> None:
    """Exit code 2, and a sentence."""
    ended = CliRunner().invoke(cli, ["scaler", *words])
    assert ended.exit_code == 2
    assert f"Error: {sentence}" in ended.output


def test_what_is_missing_or_taken_is_named(place: Place) -> None:
    """A certificate that is not there, and a port that another has: exit code 1."""
    place.run("scaler", "--project", "--tls-cert", "tls.crt", "--tls-key", "tls.key").failed(1, "tls.crt can't be read")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        place.run("scaler", "--project", "--listen", f"127.0.0.1:{port}").failed(1, f"can't listen at 127.0.0.1:{port}")


def test_it_serves_until_it_is_told_to_end(place: Place, prometheus: str) -> None:
    """It says where it listens, answers, prints the number with its reason and nothing that moves the cursor, and ends with 0."""
    process = place.popen("scaler", "--prometheus", prometheus, "--listen", "127.0.0.1:0")
    said = place.say_until(process, "Ctrl-C ends it")
    found = re.search(r"serving KEDA at 127\.0\.0\.1:(\d+); the load comes from (\S+);", said)
    assert found is not None
    assert found[2] == prometheus
    assert wanted(int(found[1]), {"query": "load", "holds": "50"}) == 10
    assert "shop/web  10  it begins with what the last 5 minutes needed" in place.say_until(process, "shop/web")
    assert wanted(int(found[1]), {"query": "load", "holds": "50"}, "we\x1b[2Jb") == 10
    assert "\x1b" not in place.say_until(process, "shop/we?[2Jb  10")
    process.send_signal(signal.SIGINT)
    ended = place.end_of(process)
    assert ended.code == 0
    ended.plain()


def test_programs_read_json_lines(place: Place, prometheus: str) -> None:
    """With --json each change is an object; a service of the blueprint here may be named."""
    place.blueprint("scaling: {instances: {min: 3, max: 7}}")
    process = place.popen("scaler", "--prometheus", prometheus, "--listen", "127.0.0.1:0", "--json")
    first = json.loads(place.say_until(process, "\n"))
    port = int(re.search(r":(\d+);", first["why"])[1])  # type: ignore[index]
    assert wanted(port, {"query": "load", "holds": "50", "service": "web"}) == 7
    line = json.loads(place.say_until(process, "\n"))
    assert (line["object"], line["wanted"], line["is_active"]) == ("shop/web", 7, True)
    process.send_signal(signal.SIGTERM)
    assert place.end_of(process).code == 0


def test_a_broken_blueprint_is_told_before_anything_is_served(place: Place) -> None:
    """A blueprint that lies here counts, so its problems do."""
    place.blueprint("scaling: {instances: {min: lots}}")
    place.run("scaler", "--prometheus", "http://127.0.0.1:9").failed(2, "the blueprint has one problem")
