"""An instance is killed, an instance is frozen: what clients notice, and how soon another serves."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from bench.shop import Shop, Tell, crewboard
from bench.table import Figure, Unmeasured, at_most, holds, told
from bench.traffic import Writes, browsing, failures, resent, sign_in, steady, writes_kept, writing
from tenfold.effects import StartInstance
from tenfold.facts import InstanceState
from tenfold.proof.load import LoadPlan, LoadResult, Mix, RateCurve, Request, Target, run_apart

KILLS = 4
FREEZES = 3
WARM_S = 3.0
REPORT_RPS = 4.0
REPORT_MS = 1500.0
NORMAL_S = 15.0
BEYOND_MS = 500.0


@dataclass(frozen=True, slots=True)
class Replaced:
    """One death: seconds from it until the replacement was decided, was a process, had answered its first request at the edge; and what
    an undisturbed start of the same program takes."""

    decided_s: float
    started_s: float
    serving_s: float
    own_start_s: float


async def instance_kill(tell: Tell) -> list[Figure]:
    """Kill -9 an instance of a fresh shop, several times over; then a second one within the same minute."""
    results: list[LoadResult] = []
    deaths: list[Replaced] = []
    again: Replaced | None = None
    writers: list[Writes] = []
    for number in range(KILLS):
        tell(f"kill {number + 1} of {KILLS}")
        async with crewboard(tell) as shop:
            target = await shop.target()
            cookie = await sign_in(target)
            own_start_s = _own_start_s(shop)
            async with writing(target, cookie) as writes, steady(target, browsing(cookie), tell, seed=number) as load:
                await asyncio.sleep(WARM_S)
                deaths.append(await _kill_one(shop, number % 2, own_start_s))
                if number == KILLS - 1:
                    await asyncio.sleep(2.0)
                    again = await _kill_one(shop, 0, own_start_s)
                results.append(await load.end())
            writers.append(writes)
    assert again is not None
    worst_s = max(d.serving_s - d.own_start_s for d in deaths)
    return [
        failures(f"idempotent requests failed, {KILLS + 1} kills", *results),
        at_most("death until the replacement is decided", max(d.decided_s for d in deaths), 1.0, "s"),
        at_most("death until the replacement's process", max(d.started_s for d in deaths), 1.0, "s"),
        at_most(
            "death until it answers requests, beyond its own start time",
            worst_s,
            1.0,
            "s",
            f"{worst_s:.2f} s (serving after {max(d.serving_s for d in deaths):.2f} s, own start {deaths[0].own_start_s:.2f} s)",
        ),
        told(
            "a second one killed seconds later (a pause on purpose: no restart storm)",
            f"started after {again.started_s:.2f} s, serving after {again.serving_s:.2f} s",
        ),
        *writes_kept(*writers),
        resent(*results),
    ]


def _own_start_s(shop: Shop) -> float:
    """What starting takes an instance when nothing is wrong: from its process to ready, the slowest of the first ones."""
    return max(i.since - i.started_at for i in shop.latest().snapshot.instances.values() if i.service == "web")


def _serving(shop: Shop) -> list[tuple[str, int]]:
    """The ready instances of `web`, with their pids."""
    seen = shop.latest().snapshot.instances.values()
    return sorted(
        (i.id, i.pid) for i in seen if i.service == "web" and i.state is InstanceState.READY and i.pid is not None
    )


async def _kill_one(shop: Shop, which: int, own_start_s: float) -> Replaced:
    _, pid = _serving(shop)[which]
    before = {i.instance for i in _starts(shop, 0.0)}
    killed_at = time.time()
    os.kill(pid, signal.SIGKILL)
    await shop.until(lambda: bool(_new(shop, before, killed_at)), "a replacement is decided", 30.0)
    decided_at, name = _new(shop, before, killed_at)[0]

    def first_answer() -> float | None:
        return next((float(r["at"]) for r in shop.requests() if r.get("instance") == name and r["code"] == 200), None)

    await shop.until(lambda: first_answer() is not None, f"{name} answers requests", 30.0)
    answered_at = first_answer()
    seen = shop.latest().snapshot.instances[name]
    assert answered_at is not None
    return Replaced(decided_at - killed_at, seen.started_at - killed_at, answered_at - killed_at, own_start_s)


def _starts(shop: Shop, since: float) -> list[StartInstance]:
    return [e for row in shop.decisions(since) for e in row.decision.effects if isinstance(e, StartInstance)]


def _new(shop: Shop, known: set[str], since: float) -> list[tuple[float, str]]:
    """When instances of `web` that are not `known` were decided on, and their names."""
    return [
        (row.at, effect.instance)
        for row in shop.decisions(since)
        for effect in row.decision.effects
        if isinstance(effect, StartInstance) and effect.service == "web" and effect.instance not in known
    ]


async def instance_freeze(tell: Tell) -> list[Figure]:
    """SIGSTOP an instance under quick requests and under reports that honestly take 1.5 s."""
    async with crewboard(tell) as shop:
        target = await shop.target()
        cookie = await sign_in(target)
        tell(f"what is normal, {NORMAL_S:.0f} s")
        normal, normal_reports = await asyncio.gather(
            run_apart(_for(target, browsing(cookie), 160.0, NORMAL_S, 100)),
            run_apart(_for(target, _reports(cookie), REPORT_RPS, NORMAL_S, 200)),
        )
        results, reports = [normal], [normal_reports]
        frozen_at = []
        for number in range(FREEZES):
            tell(f"freeze {number + 1} of {FREEZES}")
            async with (
                steady(target, browsing(cookie), tell, seed=number) as load,
                steady(target, _reports(cookie), lambda text: None, REPORT_RPS, seed=50 + number) as slow,
            ):
                await asyncio.sleep(WARM_S)
                frozen_at.append(await _freeze_one(shop))
                await asyncio.sleep(6.0)
                results.append(await load.end())
                reports.append(await slow.end())
        await asyncio.sleep(1.2)
        noticed_s = [_noticed_s(shop, at) for at in frozen_at]
        slowest = [_told_slowest(shop, results[1:]), _told_slowest(shop, reports[1:])]
        calls = [r for r in shop.requests() if r["path"].startswith("/api/report")]
    quick_ms, slow_ms = _most(normal.service.p999_ms), _most(normal_reports.service.p999_ms)
    # From the sending on: how late a busy generator was is not the edge's doing, and is told by itself.
    late_ms = max(_most(r.service.max_ms) for r in results[1:]) - quick_ms
    slow_late_ms = max(_most(r.service.max_ms) for r in reports[1:]) - slow_ms
    return [
        failures(f"idempotent requests failed, {FREEZES} freezes", *results, *reports),
        at_most(f"slowest quick request beyond its normal p99.9 ({quick_ms:.0f} ms)", late_ms, BEYOND_MS, "ms"),
        told("  which was", slowest[0]),
        at_most(f"slowest report beyond its normal p99.9 ({slow_ms:.0f} ms)", slow_late_ms, BEYOND_MS, "ms"),
        told("  which was", slowest[1]),
        told("freeze until it is noticed and taken away", ", ".join(f"{s:.2f} s" for s in noticed_s), max(noticed_s)),
        _answered(reports),
        _calls(calls, frozen_at),
        resent(*results, *reports),
    ]


def _most(value_ms: float | None) -> float:
    if value_ms is None:
        raise Unmeasured("no request was answered")
    return value_ms


def _for(target: Target, mix: Mix, rate_rps: float, seconds: float, seed: int) -> LoadPlan:
    return LoadPlan(target, RateCurve.steps((seconds, rate_rps)), mix, seed=seed)


def _reports(cookie: str) -> Mix:
    return Mix((Request("GET", "/api/report", (("cookie", cookie),)),))


async def _freeze_one(shop: Shop) -> float:
    """Freeze the first ready instance, and see that another takes its place; when it was frozen."""
    name, pid = _serving(shop)[0]
    frozen_at = time.time()
    os.kill(pid, signal.SIGSTOP)
    await shop.until(
        lambda: len([n for n, _ in _serving(shop) if n != name]) >= 2, f"{name}, frozen, is replaced", 30.0
    )
    return frozen_at


def _noticed_s(shop: Shop, frozen_at: float) -> float:
    """Seconds from a freeze until the instance is told to end."""
    return next(r.at for r in shop.decisions(frozen_at) if "frozen" in r.decision.why) - frozen_at


def _told_slowest(shop: Shop, results: list[LoadResult]) -> str:
    """The slowest request as the edge saw it: how often it was tried, when the instance that answered was asked, and when it did."""
    lines = {r["id"]: r for r in shop.requests()}
    slowest = max((s for r in results for s in r.slowest), key=lambda s: s.response_ms)
    line = lines.get(slowest.request_id or "")
    if line is None:
        return f"{slowest.request}: {slowest.response_ms:.0f} ms"
    return (
        f"{slowest.request}: {slowest.response_ms:.0f} ms from when it was due, {line.get('total', 0) / 1000:.0f} ms at the edge; "
        f"{line['attempts']} tries, {line.get('instance', 'nobody')} asked after {line.get('asked', 0) / 1000:.0f} ms"
    )


def _answered(reports: list[LoadResult]) -> Figure:
    good = sum(o.count for r in reports for o in r.outcomes if o.kind == "2xx")
    unfinished = sum(r.unfinished for r in reports)
    sent = sum(r.sent for r in reports) - unfinished
    return holds("reports of 1.5 s answered 200", good == sent, f"{good} of {sent}", "all, once each")


def _calls(calls: list[dict[str, Any]], frozen_at: list[float]) -> Figure:
    """How many upstream calls the reports cost, as the edge counted them."""
    near = [c for c in calls if any(-2.0 <= float(c["at"]) - at <= 4.0 for at in frozen_at)]
    extra = sum(max(c["attempts"] - 1, 0) for c in calls)
    extra_near = sum(max(c["attempts"] - 1, 0) for c in near)
    return told(
        "upstream calls beyond one for each report",
        f"{extra} for {len(calls)} reports ({extra_near} for the {len(near)} around the freezes)",
        extra,
    )
