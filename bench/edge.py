"""What our full configuration costs: CPU of Envoy for each request, over that of a bare Envoy in front of the same instances."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.shop import Blueprint, Shop, Tell, small
from bench.table import Figure, Unmeasured, at_most, told
from bench.traffic import failures
from tenfold.drivers.envoy.recipe import PROGRAM, WHEEL, WORKERS
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.wheels import wheel_file
from tenfold.facts import InstanceState
from tenfold.proof.load import LoadPlan, LoadResult, Mix, RateCurve, Request, Target, run_apart

SMALL_APP = Path(__file__).parent / "small_app.py"
RATE_RPS = 800.0
"""For each of the two, which are loaded at the same moment: what else the machine does then weighs on both alike."""
ROUND_S = 4.0
ROUNDS = 12
IDLE_S = 5.0
RATIO_MAX = 1.15
INSTANCES = 2
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def blueprint(instances: int) -> Blueprint:
    """The small app with so many instances."""
    scaling = {"instances": {"min": instances, "max": instances}}
    command = "python small_app.py {host} {port}"
    return {"name": "small", "services": {"web": {"command": command, "health": {"path": "/now"}, "scaling": scaling}}}


async def edge_cpu(tell: Tell) -> list[Figure]:
    """Load our edge and a bare one at the same moments, and compare what each of them used."""
    async with small(tell, SMALL_APP, blueprint(INSTANCES)) as shop:
        ours, pid = await shop.target(), _gateway(shop)
        async with bare_envoy(shop, instances(shop, "local")) as (bare, bare_pid):
            compared = await compare(tell, Side(ours, (pid,)), Side(bare, (bare_pid,)))
    return [
        *compared,
        told(
            "how",
            f"the median of {ROUNDS} rounds of {ROUND_S:.0f} s, both at once, {RATE_RPS:.0f} GETs/s each, the same {INSTANCES} instances "
            f"of an app that answers at once, CPU from schedstat",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are compared: where it is asked, and the Envoys whose CPU it costs."""

    target: Target
    pids: tuple[int, ...]
    headers: tuple[tuple[str, str], ...] = ()


async def compare(tell: Tell, ours: Side, bare: Side) -> list[Figure]:
    """Load both at the same moments, round after round, and compare what each of them used."""
    pairs: list[tuple[float, float]] = []
    results: list[LoadResult] = []
    tell(f"what both use idle, {IDLE_S:.0f} s")
    idle, bare_idle = await asyncio.gather(_idle_us(ours.pids), _idle_us(bare.pids))
    for seed in range(ROUNDS + 1):
        both = await asyncio.gather(_cost_us(ours, idle, seed, results), _cost_us(bare, bare_idle, seed, results))
        if seed > 0:  # In the first round connections are made and code gets warm.
            pairs.append(both)
            tell(f"round {seed} of {ROUNDS}: ours {both[0]:.1f} us, bare {both[1]:.1f} us a request")
    ratios = sorted(a / b for a, b in pairs)
    ratio = median(ratios)
    ours_us, bare_us = (median(side) for side in zip(*pairs, strict=True))
    whole_ratio = (ours_us + idle / RATE_RPS) / (bare_us + bare_idle / RATE_RPS)
    return [
        at_most(
            "CPU per request, ours over bare",
            ratio,
            RATIO_MAX,
            "x",
            f"{ratio:.3f}x (rounds {ratios[0]:.2f} to {ratios[-1]:.2f}; {ours_us:.0f} us over {bare_us:.0f} us)",
        ),
        told(
            "and what they use idle, each second",
            f"{idle / 1000:.1f} ms (the control plane looks at it) over {bare_idle / 1000:.1f} ms; "
            f"shared out at {RATE_RPS:.0f} requests/s that would make it {whole_ratio:.3f}x",
            whole_ratio,
        ),
        failures("requests failed, both", *results),
    ]


def _gateway(shop: Shop) -> int:
    pid = shop.latest().snapshot.engines["gateway/local"].pid
    if pid is None:
        raise Unmeasured("the gateway has no process")
    return pid


async def _idle_us(pids: tuple[int, ...]) -> float:
    """Microseconds of CPU that these processes spend a second while nobody asks anything."""
    before_us = sum(map(cpu_us, pids))
    await asyncio.sleep(IDLE_S)
    return (sum(map(cpu_us, pids)) - before_us) / IDLE_S


async def _cost_us(side: Side, idle_us: float, seed: int, results: list[LoadResult]) -> float:
    """Microseconds of CPU that a side spent for each request of one round, beyond what it spends idle (`idle_us` a second)."""
    mix = Mix((Request("GET", "/now", side.headers),))
    plan = LoadPlan(side.target, RateCurve.steps((ROUND_S, RATE_RPS)), mix, seed=seed)
    before_us, since_s = sum(map(cpu_us, side.pids)), time.monotonic()
    result = await run_apart(plan)
    spent_us = sum(map(cpu_us, side.pids)) - before_us - idle_us * (time.monotonic() - since_s)
    results.append(result)
    return spent_us / result.answered


def cpu_us(pid: int) -> float:
    """CPU time that a process has used so far, exact to the nanosecond (the ticks of /proc/PID/stat are 10 ms)."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1000


def instances(shop: Shop, region: str) -> list[tuple[str, int]]:
    """Where the ready instances of a region listen."""
    seen = shop.latest().snapshot.instances.values()
    return [(i.host or "127.0.0.1", i.port or 0) for i in seen if i.region == region and i.state is InstanceState.READY]


@asynccontextmanager
async def bare_envoy(shop: Shop, hosts: list[tuple[str, int]]) -> AsyncIterator[tuple[Target, int]]:
    """An Envoy with one listener and one cluster of these hosts, and nothing else; its address and pid."""
    port = FreePorts(shop.project).take()
    config = shop.root / f"bare-{port}.json"
    config.write_text(json.dumps(_bare(port, hosts)))
    program = str(wheel_file(WHEEL, PROGRAM))
    process = await asyncio.create_subprocess_exec(
        *(program, "--config-path", str(config), "--disable-hot-restart", "--concurrency", str(WORKERS)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )
    try:
        await shop.until(lambda: process.returncode is not None or _accepts(port), "the bare Envoy listens", 10.0)
        if process.returncode is not None:
            raise Unmeasured(f"the bare Envoy ended with {process.returncode}")
        yield Target("127.0.0.1", port), process.pid
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _accepts(port: int) -> bool:
    listening = Path("/proc/net/tcp").read_text()
    return f":{port:04X} 00000000:0000 0A" in listening


def _bare(port: int, endpoints: list[tuple[str, int]]) -> dict[str, object]:
    manager = {
        "@type": _HTTP,
        "stat_prefix": "bare",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        "route_config": {
            "virtual_hosts": [
                {"name": "app", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
            ]
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": number}}}}
        for host, number in endpoints
    ]
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "edge",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": filters}],
                }
            ],
            "clusters": [
                {
                    "name": "app",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": hosts}]},
                }
            ],
        }
    }
