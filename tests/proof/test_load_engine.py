"""The load engine against a server of every kind of trouble."""

import asyncio
import gc
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from tenfold.proof.load import (
    LoadError,
    LoadPlan,
    LoadResult,
    Mix,
    Progress,
    RateCurve,
    Request,
    Spacing,
    Target,
    run,
    run_apart,
)
from tenfold.proof.load.worker import Assignment, Line
from tests.processes import children


def plan(target: Target, mix: str, *, rps: float = 200, s: float = 0.2, **more: float) -> LoadPlan:
    """An even load, so that its number is known."""
    return LoadPlan(
        target,
        RateCurve.steps((s, rps)),
        Mix.parse(mix),
        Spacing.EVEN,
        timeout_s=more.get("timeout_s", 10.0),
        in_flight_max=int(more.get("in_flight_max", 8000)),
    )


def kinds(result: LoadResult) -> dict[str, int]:
    """How the requests ended."""
    return {outcome.kind: outcome.count for outcome in result.outcomes}


def assert_nothing_is_dropped(result: LoadResult) -> None:
    """Every request that was due has exactly one fate."""
    counts = kinds(result)
    lost = sum(counts.get(kind, 0) for kind in ("connect", "timeout", "reset", "protocol"))
    assert result.due == result.sent + result.unsent
    assert result.sent == result.answered + lost + result.unfinished
    assert result.failed == lost + counts.get("5xx", 0)
    assert result.refused == counts.get("4xx", 0)
    assert sum(second.due for second in result.seconds) == result.due
    assert sum(second.answered for second in result.seconds) == result.answered
    assert sum(second.failed for second in result.seconds) == result.failed


@pytest.mark.parametrize(
    ("path", "kind", "failed"),
    [
        ("/ok", "2xx", False),
        ("/ok?ms=30", "2xx", False),
        ("/empty", "2xx", False),
        ("/chunked", "2xx", False),
        ("/drip", "2xx", False),
        ("/close", "2xx", False),
        ("/close-silently", "2xx", False),
        ("/until-closed", "2xx", False),
        ("/twice", "2xx", False),
        ("/moved", "3xx", False),
        ("/missing", "4xx", False),
        ("/fails", "5xx", True),
        ("/half", "reset", True),
        ("/reset", "reset", True),
        ("/garbage", "protocol", True),
        ("/never", "timeout", True),
    ],
)
async def test_each_trouble_has_its_name(strange: Target, path: str, kind: str, failed: bool) -> None:
    """Forty requests to a server of one kind of trouble all end in the way that it deserves."""
    result = await run(plan(strange, f"GET {path}", timeout_s=0.4 if kind == "timeout" else 10.0))
    assert kinds(result) == {kind: 40}
    assert result.failed == (40 if failed else 0)
    assert result.refused == (40 if kind == "4xx" else 0)
    assert len(result.outcomes[0].examples) == (0 if kind in ("2xx", "3xx") else 10)
    assert_nothing_is_dropped(result)


async def test_nobody_listens(unused: Target) -> None:
    """A refused connection is a failure to connect, and there is no latency to report."""
    result = await run(plan(unused, "GET /"))
    assert kinds(result) == {"connect": 40}
    assert (result.response.count, result.response.p99_ms) == (0, None)
    assert {sample.detail for sample in result.outcomes[0].examples} == {"Connection refused"}
    assert_nothing_is_dropped(result)


@pytest.fixture
def unused() -> Iterator[Target]:
    """A port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield Target("127.0.0.1", holder.getsockname()[1])


async def test_a_server_too_busy_to_accept(full_listener: Target) -> None:
    """Connections that never come about are timeouts, and the attempts are given up."""
    result = await run(plan(full_listener, "GET /", timeout_s=0.3))
    assert kinds(result) == {"timeout": 40}
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert result.response.p50_ms is not None and result.response.p50_ms >= 300
    assert_nothing_is_dropped(result)


@pytest.fixture
def full_listener() -> Iterator[Target]:
    """A listener that accepts nobody and whose queue is full: the system leaves further connections hanging."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield Target("127.0.0.1", listener.getsockname()[1])


async def test_a_frozen_server_can_not_hide(strange: Target) -> None:
    """A server stands still for 1.5 s under even load: p95 and p99 are those of people who came meanwhile."""
    # A request due u seconds before the end of the freeze waits u. So with a share f of all requests due in the freeze
    # of F seconds, percentile p of all is F (1 - (1 - p) / f).
    load = asyncio.create_task(run(plan(strange, "GET /ok", rps=200, s=4.0)))
    await asyncio.sleep(1.0)
    reader, writer = await asyncio.open_connection(strange.host, strange.port)
    writer.write(b"GET /freeze?s=1.5 HTTP/1.1\r\n\r\n")
    answer = await reader.readuntil(b"\r\n\r\n")
    began, ended = map(float, (await reader.readexactly(int(answer.split(b"Content-Length: ")[1].split()[0]))).split())
    writer.close()
    result = await load
    assert kinds(result) == {"2xx": 800}
    frozen_s = ended - began
    share = frozen_s / 4.0
    for percentile, reported_ms in ((0.95, result.response.p95_ms), (0.99, result.response.p99_ms)):
        truth_ms = 1000 * frozen_s * (1 - (1 - percentile) / share)
        assert reported_ms is not None and reported_ms >= 0.95 * truth_ms
        # Only a machine that is itself stopped makes it more; what is tested is that it is not less.
        assert reported_ms <= 1.05 * truth_ms + 500


async def test_a_stale_connection_is_no_failure_of_what_can_be_repeated(strange: Target) -> None:
    """A server may close an idle connection at any time: a GET goes out again and is counted; a POST must not."""
    result = await run(plan(strange, "GET /stale"))
    assert kinds(result) == {"2xx": 40}
    assert result.resent > 0
    result = await run(plan(strange, "POST /stale"))
    assert kinds(result).get("reset", 0) > 0
    assert result.resent == 0


async def test_failures_can_be_explained(strange: Target) -> None:
    """The examples and the slowest carry the ids by which the edge knows them."""
    result = await run(plan(strange, "GET /fails 50%, GET /ok?ms=30 50%"))
    assert kinds(result).keys() == {"2xx", "5xx"}
    failures = next(outcome for outcome in result.outcomes if outcome.kind == "5xx")
    for sample in (*failures.examples, *result.slowest):
        assert sample.request_id is not None and sample.request_id.startswith("r")
    assert [sample.response_ms for sample in result.slowest] == sorted(
        (sample.response_ms for sample in result.slowest), reverse=True
    )
    assert result.slowest[0].response_ms >= 30


async def test_a_mix_keeps_its_shares(strange: Target) -> None:
    """Of 400 requests about a quarter are what has a quarter of the weight; a body arrives whole."""
    post = Request("POST", "/missing", (("Content-Type", "text/plain"),), b"x" * 100_000, weight=1)
    mix = Mix((Request("GET", "/ok", weight=3), post))
    result = await run(LoadPlan(strange, RateCurve.steps((0.4, 1000)), mix, Spacing.EVEN))
    assert 60 <= kinds(result)["4xx"] <= 140
    assert result.answered == 400


async def test_what_could_not_be_sent_makes_the_run_invalid(strange: Target) -> None:
    """Beyond the room in flight nothing is sent, nothing is forgotten, and the figures are not to be trusted."""
    result = await run(plan(strange, "GET /never", in_flight_max=5, timeout_s=1.0))
    assert kinds(result) == {"timeout": 5, "unsent": 35}
    assert "35 of 40 requests could not be sent" in result.invalid[0]
    assert not result.valid
    assert_nothing_is_dropped(result)


async def test_a_late_generator_refuses_its_own_figures(strange: Target) -> None:
    """If something holds the generator up, its figures are invalid and it says why."""
    result = await run(plan(strange, "GET /ok", s=1.4), on_progress=lambda _: time.sleep(0.3))
    assert result.answered == 280
    assert any("late" in reason for reason in result.invalid)
    assert result.response.max_ms is not None and result.response.max_ms >= 250


async def test_a_load_of_nothing_is_invalid(strange: Target) -> None:
    """A run that sent nothing has shown nothing."""
    result = await run(plan(strange, "GET /ok", rps=0))
    assert result.due == 0 and "no request became due" in result.invalid[0]


async def test_progress_is_told_each_second(strange: Target) -> None:
    """The last second and the totals, and a last word at the end."""
    told: list[Progress] = []
    result = await run(plan(strange, "GET /ok", rps=60, s=2.5), told.append)
    assert told[0].elapsed_s >= 1
    assert told[0].second.planned_rps == 60 and told[0].second.p99_ms is not None
    assert 0 <= told[0].eta_s <= 1.5
    assert told[-1].sent == told[-1].answered == 150 == result.answered
    assert tuple(progress.second for progress in told) == result.seconds
    assert msgspec.json.decode(msgspec.json.encode(result), type=LoadResult) == result


async def test_a_stopped_run_tells_what_it_has(strange: Target) -> None:
    """Ctrl-C: what was answered stays answered, what was on its way is unfinished, and it says interrupted."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, stop.set)
    result = await asyncio.wait_for(run(plan(strange, "GET /ok 50%, GET /never 50%", s=600), stop=stop), 60)
    assert result.interrupted and result.answered > 0 and result.unfinished > 0
    assert_nothing_is_dropped(result)


async def test_a_cancelled_run_leaves_nothing(strange: Target) -> None:
    """Cancelled, it closes its connections, leaves no task behind and gives the collector back."""
    task = asyncio.create_task(run(plan(strange, "GET /never", s=600)))
    await asyncio.sleep(0.3)
    assert not gc.isenabled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gc.isenabled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    deadline = time.monotonic() + 60
    while any(
        link.raddr and link.raddr.port == strange.port and link.status == psutil.CONN_ESTABLISHED
        for link in psutil.Process().net_connections("tcp")
    ):
        assert time.monotonic() < deadline, "connections stayed open"
        await asyncio.sleep(0.02)


async def test_a_process_of_its_own_says_the_same(
    strange: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress and result come through from the other process, whatever files lie where it is started."""
    (tmp_path / "signal.py").write_text("raise RuntimeError('a file of the app')")
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('a file of the app')")
    monkeypatch.chdir(tmp_path)
    told: list[Progress] = []
    result = await run_apart(plan(strange, "GET /ok 50%, GET /fails 50%", s=1.2), told.append)
    assert kinds(result).keys() == {"2xx", "5xx"} and result.due == 240
    assert tuple(progress.second for progress in told) == result.seconds
    assert_nothing_is_dropped(result)


async def test_a_process_of_its_own_stops_and_is_gone(strange: Target) -> None:
    """Stopped at once (before it has even begun) it tells what it has; cancelled it is ended; nothing is left over."""
    for wait_s in (0.0, 1.0):
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(wait_s, stop.set)
        result = await asyncio.wait_for(run_apart(plan(strange, "GET /ok", s=600), stop=stop), 60)
        assert result.interrupted
    task = asyncio.create_task(run_apart(plan(strange, "GET /ok", s=600)))
    await asyncio.sleep(0.2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert not [line for line in children().values() if "tenfold.proof.load" in line]


async def test_a_target_without_address_is_a_sentence() -> None:
    """A name that can't be found is said in one sentence, also from the other process."""
    target = Target("a" * 64 + ".invalid", 80, owned=True)
    for runner in (run, run_apart):
        with pytest.raises(LoadError, match="can't be found"):
            await runner(plan(target, "GET /"))


def test_it_ends_with_its_caller_and_counts_what_it_has_no_descriptors_for(strange: Target) -> None:
    """With room for few descriptors the rest is unsent, by name; when the caller's end of the pipe closes it ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "tenfold.proof.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)),
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assignment = Assignment(0, 1, load=plan(strange, "GET /never", s=600))
        process.stdin.write(msgspec.json.encode(assignment) + b"\n")
        process.stdin.flush()
        assert b'"ready":true' in process.stdout.readline()
        process.stdin.write(f"{time.perf_counter()}\n".encode())
        process.stdin.flush()
        assert b'"piece":{' in process.stdout.readline()
        process.stdin.close()
        tally = msgspec.json.decode(process.stdout.read().splitlines()[-1], type=Line).tally
        assert process.wait(timeout=60) == 0
    assert tally is not None and tally.unfinished > 0
    assert tally.kinds["unsent"] > 0
    assert {sample.detail for samples in tally.examples.values() for sample in samples} == {"Too many open files"}
    assert tally.due == sum(tally.kinds.values()) + tally.unfinished


def test_a_plan_that_is_none_is_a_sentence() -> None:
    """The process answers nonsense with an error line and status 2."""
    done = subprocess.run([sys.executable, "-m", "tenfold.proof.load"], input=b"{}\n", capture_output=True, check=False)
    assert done.returncode == 2
    assert "can't be read" in msgspec.json.decode(done.stdout)["error"]
