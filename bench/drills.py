"""`tenfold drill` on Crewboard, drill by drill: what it says of the real engines, and of the same drill in the simulator."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bench.globe import WAN
from bench.shop import Blueprint, Shop, Tell, crewboard
from bench.table import Figure, Unmeasured, at_most, holds, none_of, told

DRILL_WITHIN_S = 600.0
RECOVERY_S = 30.0
USERS = "50"
SPREAD: Blueprint = {
    "regions": {"west": {"at": [0.0, 0.0]}, "east": {"at": [0.0, 47.4]}, "north": {"at": [42.3, 23.7]}},
    "edge": {"trust": ["127.0.0.0/8"]},
    "data": {"replicas": 1, "synchronous": True, "rpo": "0s", "rto": "10s"},
    "services": {"web": {"scaling": {"instances": {"min": 1, "max": 2}}}},
}
"""Crewboard in three regions, 80 ms apart, with an instance in each: all of it shares this machine's cores."""

Measured = Callable[[Tell], Awaitable[list[Figure]]]


def here(name: str, *words: str) -> Measured:
    """A drill of one region."""

    async def measure(tell: Tell) -> list[Figure]:
        async with crewboard(tell, {"targets": {"recovery": f"{RECOVERY_S:.0f}s"}}) as shop:
            return await _played(shop, name, tell, *words)

    return measure


def spread(name: str, *words: str) -> Measured:
    """A drill of three regions, with networks of their own where this is root."""

    async def measure(tell: Tell) -> list[Figure]:
        if not WAN:
            raise Unmeasured("there is no network between the regions without root")
        changes = {**SPREAD, "targets": {"recovery": f"{RECOVERY_S:.0f}s"}}
        async with crewboard(tell, changes, *WAN) as shop:
            return await _played(shop, name, tell, *words)

    return measure


async def simulated(tell: Tell) -> list[Figure]:
    """What can only be simulated on this machine: the disk under PostgreSQL holds more than its data."""
    async with crewboard(tell) as shop:
        return _figures(await _drill(shop, "disk-full", "--sim"))


async def _played(shop: Shop, name: str, tell: Tell, *words: str) -> list[Figure]:
    tell(f"drill {name}")
    real = await _drill(shop, name, "--users", USERS, *words)
    sim = await _drill(shop, name, "--sim", *words)
    return [*_figures(real), _beside(real, sim)]


async def _drill(shop: Shop, *words: str) -> dict[str, Any]:
    """The result as the command prints it: its last line."""
    ended = await shop.tenfold("drill", *words, "--json", within_s=DRILL_WITHIN_S)
    try:
        found = json.loads(ended.last_line)
    except ValueError:
        raise Unmeasured(f"`tenfold drill {' '.join(words)}` ended with {ended.code}: {ended.last_line}") from None
    assert isinstance(found, dict)
    return found


def _figures(result: Mapping[str, Any]) -> list[Figure]:
    traffic, writes = result["traffic"], result["writes"]
    bound_s = next(f["must_show"] for f in result["findings"] if f["what"] == "recovered within")
    limit_s = float(bound_s.removeprefix("at most ").removesuffix(" s"))
    failed_max = next((f["must_show"] for f in result["findings"] if f["what"] == "requests failed"), None)
    shown = f"{traffic['failed']:,} of {traffic['requests']:,}"
    reasons = traffic["reasons"]
    failed = (
        told("requests failed", shown, traffic["failed"])
        if failed_max is None
        else none_of("requests failed", traffic["failed"], f"{traffic['requests']:,}", reasons)
    )
    figures = [
        told("detected after", _s(result["detect_s"]), result["detect_s"]),
        told("  answered by", f"{result['answered_by'] or 'nobody'}: {result['why']}".rstrip(": ")),
        at_most("recovered after", result["recover_s"], limit_s, "s"),
        told("  whole again, after the harm", _s(result["whole_s"]), result["whole_s"]),
        failed,
        told("slow answers", _slow(traffic), traffic["slow"]),
    ]
    if writes is not None:
        acknowledged = f"{writes['acknowledged']:,} acknowledged"
        figures += [
            none_of("acknowledged writes lost", len(writes["lost"]), acknowledged),
            none_of("writes done twice", len(writes["doubled"]), acknowledged),
        ]
    others = [
        f for f in result["findings"] if not f["met"] and f["what"] not in ("recovered within", "requests failed")
    ]
    figures += [holds(f["what"], False, f["measured"], f["must_show"]) for f in others]
    return figures + [told("in doubt", reason) for reason in traffic["invalid"]]


def _slow(traffic: Mapping[str, Any]) -> str:
    if traffic["slow"] is None:
        return "not known"
    return f"{traffic['slow']:,} (over {traffic['slow_ms']:,.0f} ms)"


def _beside(real: Mapping[str, Any], sim: Mapping[str, Any]) -> Figure:
    """The same drill in the simulator: the same decider must answer, where somebody had to."""
    shown = (
        f"{sim['answered_by'] or 'nobody'}, detected {_s(sim['detect_s'])}, recovered {_s(sim['recover_s'])}, "
        f"{sim['traffic']['failed']:,} of {sim['traffic']['requests']:,} failed"
    )
    if not real["answered_by"]:
        return told("in sim", shown)
    return holds("in sim", sim["answered_by"] == real["answered_by"], shown, f"by {real['answered_by']}")


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
