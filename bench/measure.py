"""`tenfold measure` on two apps, one that the processor limits and one that only waits: what was predicted of 2 and 4 instances, and what
they hold."""

import json
import shutil
from typing import Any

from bench.edge import SMALL_APP
from bench.shop import CREWBOARD, Blueprint, Tell
from bench.table import Figure, Unmeasured, at_most, told
from tenfold.cli.wiring import PROGRAM
from tenfold.proof.trial import Trial

COUNTS = "1,2,4"
OFF_RATIO_MAX = 0.1
WITHIN_S = 1500.0

WAITING: Blueprint = {
    "name": "waiting",
    "services": {"web": {"command": "python small_app.py {host} {port}", "health": {"path": "/now"}}},
    "scenarios": {"wait": {"think": "1s", "actions": {"wait": {"share": "100%", "requests": ["GET /wait"]}}}},
}
"""Ten requests at once for 50 ms each, and next to no CPU."""


async def waiting(tell: Tell) -> list[Figure]:
    """An app whose instance is limited by what it may do at once."""
    async with Trial.opened("waiting", "tenfold-bench-", PROGRAM, tell) as trial:
        trial.root.mkdir()
        shutil.copy(SMALL_APP, trial.root)
        trial.write_blueprint(WAITING)
        return await _measured(trial, tell)


async def crewboard(tell: Tell) -> list[Figure]:
    """Crewboard under its own scenario: processor, database and edge share this machine's cores with the load itself."""
    async with Trial.opened("crewboard", "tenfold-bench-", PROGRAM, tell) as trial:
        shutil.copytree(CREWBOARD, trial.root, ignore=shutil.ignore_patterns(".tenfold", "tests", "__pycache__"))
        await trial.do("secrets", "set", "SESSION_KEY", "--random")
        return await _measured(trial, tell)


async def _measured(trial: Trial, tell: Tell) -> list[Figure]:
    tell(f"tenfold measure --instances {COUNTS}")
    ended = await trial.tenfold("measure", "--instances", COUNTS, "--json", within_s=WITHIN_S)
    if ended.code != 0:
        raise Unmeasured(f"`tenfold measure` ended with {ended.code}: {ended.last_line}")
    found: dict[str, Any] = json.loads(ended.last_line)
    one, *more = found["instances"]
    holds = (
        f"{one['requests_per_s']:.0f} requests/s ({one['users']:,.0f} users) within {found['latency_p95_ms']:.0f} ms"
    )
    figures = [told("1 instance holds", f"{holds}; limited by {one['limited_by']}", one["requests_per_s"])]
    figures += [_off(each) for each in more]
    figures.append(told("CPU of one request, ms", _costs(one["cpu_ms_per_request"])))
    figures.append(told("how", _how(found), found["contention"]))
    return figures


def _off(each: dict[str, Any]) -> Figure:
    held, predicted = each["requests_per_s"], each["predicted_requests_per_s"]
    off = abs(predicted / held - 1)
    shown = f"{off:.1%} ({predicted:.0f} predicted, {held:.0f} held; {each['limited_by']}; others used {each['others_cores']:.1f} cores)"
    return at_most(f"{each['instances']} instances, prediction off by", off, OFF_RATIO_MAX, "", shown)


def _costs(costs: dict[str, float]) -> str:
    return ", ".join(f"{name} {ms:.2f}" for name, ms in sorted(costs.items(), key=lambda item: -item[1]) if ms >= 0.005)


def _how(found: dict[str, Any]) -> str:
    steps = sum(each["steps"] for each in found["instances"])
    return (
        f"{steps} steps of open-model load on fresh copies; contention {found['contention']:.3f}, coherency {found['coherency']:.4f} "
        f"over {found['cores']} cores"
    )
