"""The load engine against a server of the bench's own: what it costs, how many users it holds, and whether it tells the truth."""

import asyncio
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path

from bench import tools
from bench.quick import Quick, quick
from bench.shop import Tell
from bench.table import Figure, Unmeasured, at_most, holds, none_of, told
from tenfold.model import Action, Scenario, Step
from tenfold.proof.load import LoadResult, Progress, RateCurve, UserCurve, UserPlan, run_users
from tenfold.proof.load.curve import Spacing, arrivals

USERS = 10_000
RATE_RPS = 1000.0
RAMP_S = 20.0
HOLD_S = 20.0
HELD = 100_000
HELD_RAMP_S = 60.0
HELD_THINK_S = 90.0
HELD_HOLD_S = 15.0
FREEZE_S = 3.0
FREEZE_AT_S = 12.0
FROZEN_RUN_S = 30.0
_ENTER = (Step("POST", "/login", '{"name": "{name}"}', keep={"id": "id"}),)
_ROWS = ({"name": "ada"}, {"name": "ben"})


def _scenario(think_s: float) -> Scenario:
    """Users with a cookie and a variable of their own."""
    actions = (
        Action("list", 0.6, (Step("GET", "/things"),)),
        Action("one", 0.4, (Step("GET", "/things/{id}?by={user}"),)),
    )
    return Scenario("bench", actions, enter=_ENTER, think_s=think_s, users=_ROWS)


def _progress(tell: Tell) -> tuple[list[Progress], Callable[[Progress], None]]:
    seen: list[Progress] = []

    def take(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) % 10 == 0:
            second = progress.second
            tell(f"{second.users:,} users, {second.answered:,} answered in the last second, {progress.failed} failed")

    return seen, take


def _invalid(result: LoadResult) -> Figure:
    return holds("figures it calls valid", result.valid, "; ".join(result.invalid) or "yes", "yes")


async def users(tell: Tell) -> list[Figure]:
    """10,000 users who ask 1,000 times a second in all, once all have come."""
    scenario = _scenario(think_s=USERS / RATE_RPS)
    async with quick() as server:
        plan = UserPlan(
            server.target,
            scenario,
            UserCurve.ramp(USERS, RAMP_S, HOLD_S),
            processes=1,
            warm_up_s=RAMP_S + 2.0,
        )
        _, take = _progress(tell)
        result = await run_users(plan, take)
    steady = [second for second in result.seconds if RAMP_S + 2.0 < second.at_s < RAMP_S + HOLD_S]
    if not steady:
        raise Unmeasured("the run ended before all users had come: run it again")
    rate_rps = sum(second.answered for second in steady) / len(steady)
    cpu_percent = sum(second.cpu_percent for second in steady) / len(steady)
    figures = [
        holds("users at once", result.users == USERS, f"{result.users:,}", f"{USERS:,}"),
        holds("requests answered", rate_rps > 0.95 * RATE_RPS, f"{rate_rps:,.0f}/s", f"{RATE_RPS:,.0f}/s"),
        none_of("failed", result.failed, f"{result.sent:,}"),
        at_most("CPU of the engine", round(cpu_percent, 1), 10.0, "% of a core"),
        at_most("memory of the engine", round(result.memory_bytes / 1e6, 1), 60.0, "MB"),
        at_most("its own lag, p99", result.lag.p99_ms, 5.0, "ms"),
        _invalid(result),
    ]
    return [*figures, *await tools.users_beside(USERS, RATE_RPS, tell)]


async def held(tell: Tell) -> list[Figure]:
    """100,000 users who are there, each with a connection, and mostly do nothing."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    async with quick(count=ceil(HELD / (descriptors * 0.9))) as server:
        plan = UserPlan(
            server.target,
            _scenario(HELD_THINK_S),
            UserCurve.ramp(HELD, HELD_RAMP_S, HELD_HOLD_S),
            timeout_s=30.0,
            warm_up_s=HELD_RAMP_S,
        )
        seen, take = _progress(tell)
        result = await run_users(plan, take)
    failed = seen[-1].failed if seen else 0
    return [
        holds("users held", result.users == HELD, f"{result.users:,}", f"{HELD:,}"),
        none_of("errors", failed + result.unsent, f"{seen[-1].sent if seen else 0:,} requests"),
        told("load processes", str(result.processes)),
        told(
            "memory of all of them",
            f"{result.memory_bytes / 1e6:,.0f} MB (reference: 432 MB)",
            result.memory_bytes / 1e6,
        ),
        told("own lag, p99, once all had come", f"{result.lag.p99_ms or 0:.1f} ms"),
    ]


async def freeze(tell: Tell) -> list[Figure]:
    """A server that stands still for 3 s under 1,000 requests/s: what is reported, beside what happened."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "answered"
        curve = RateCurve.steps((FROZEN_RUN_S, RATE_RPS))
        async with quick(log=log) as server:
            actions = (Action("one", 1.0, (Step("GET", "/things"),)),)
            plan = UserPlan(server.target, Scenario("bench", actions), arrivals=curve, timeout_s=30.0)
            _, take = _progress(tell)
            frozen = asyncio.create_task(_frozen(server, FREEZE_AT_S))
            result = await run_users(plan, take)
            await frozen
        answered = [float(line) for line in log.read_text().splitlines()]
    # The wall clock's start of the run, on the clock that the server wrote its log by.
    began_s = result.started_at_s - time.time() + time.perf_counter()
    due = [began_s + offset_s for offset_s in arrivals(curve, Spacing.POISSON, plan.seed)]
    if len(due) != len(answered):
        raise Unmeasured(f"{len(due):,} requests were due and the server answered {len(answered):,}: run it again")
    # Who waited how long: first come, first served. It is the server's own log that says when, not the engine.
    waited_s = sorted(end - begin for begin, end in zip(due, sorted(answered), strict=True))
    figures = [none_of("failed", result.failed, f"{result.sent:,}")]
    truth: dict[int, float] = {}
    for percent, reported_ms in ((95, result.response.p95_ms), (99, result.response.p99_ms)):
        truth[percent] = truth_ms = 1000 * waited_s[ceil(len(waited_s) * percent / 100) - 1]
        off = abs((reported_ms or 0.0) / truth_ms - 1) * 100
        shown = f"{off:.1f} % ({reported_ms or 0:,.0f} ms; it was {truth_ms:,.0f} ms)"
        figures.append(at_most(f"p{percent} off the truth by", round(off, 1), 5.0, "%", shown))
    service = result.service
    figures.append(told("p95 and p99 from the send", f"{service.p95_ms or 0:,.0f} and {service.p99_ms or 0:,.0f} ms"))
    figures.append(_invalid(result))
    for tool in tools.FREEZE:
        async with quick() as server:
            figures.append(await _beside(tool, server, truth, tell))
    return figures


async def _frozen(server: Quick, at_s: float) -> None:
    """Stop the server's process for a while."""
    await asyncio.sleep(at_s)
    pid = server.processes[0].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FREEZE_S)
    finally:
        os.kill(pid, signal.SIGCONT)


async def _beside(tool: tools.Tool, server: Quick, truth: dict[int, float], tell: Tell) -> Figure:
    """The same freeze, told by another tool."""
    what = f"{tool.name}: p95 and p99 of the same"
    if (program := await tool.find(tell)) is None:
        return told(what, tool.reference)
    tell(f"{tool.name} beside it")
    frozen = asyncio.create_task(_frozen(server, FREEZE_AT_S))
    try:
        said = await tool.measure(program, server.url, RATE_RPS, FROZEN_RUN_S)
    finally:
        frozen.cancel()
        await asyncio.gather(frozen, return_exceptions=True)
    shown = ", ".join(f"p{percent} {said[percent]:,.1f} ms" for percent in said)
    real = " and ".join(f"{truth[percent]:,.0f}" for percent in (95, 99))
    return told(what, f"{shown or 'not said'} (truth {real} ms)")
