"""Plans become shares: what each process of a run does, and what the run as a whole is told by.

Stage: the one place that knows both kinds of plan, `LoadPlan` and `UserPlan`; past it a run is a `Share` and an `Outline`.
"""

import asyncio
import os
import resource
import socket
from math import ceil

from tenfold.proof.load.crowd import Share
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.merge import Outline
from tenfold.proof.load.plan import LoadPlan, Target, UserPlan, loopback_address
from tenfold.proof.load.script import Script, script_of_mix, script_of_scenario

Plan = LoadPlan | UserPlan

_OWN_DESCRIPTORS = 100
"""What a process needs besides its connections."""
_PROCESS_RPS = 3000.0
"""What a process is given at most before another core is put to use: about a third of one, measured."""


def outline_of(plan: Plan, processes: int) -> Outline:
    """What is needed to tell of the run. Raises `LoadError` where the scenario can't be played."""
    script = _script(plan)
    return Outline(
        target=f"http://{plan.target.authority}",
        seed=plan.seed,
        duration_s=plan.curve.duration_s if isinstance(plan, LoadPlan) else plan.duration_s,
        actions=tuple(action.name for action in script.actions) if isinstance(plan, UserPlan) else (),
        steps=tuple(step.name for step in script.steps) if isinstance(plan, UserPlan) else (),
        arrivals=plan.curve if isinstance(plan, LoadPlan) else plan.arrivals,
        processes=processes,
    )


def share_of(plan: Plan, address: tuple[str, int], begin_s: float, index: int = 0, of: int = 1) -> Share:
    """What process `index` of `of` does."""
    script = _script(plan)
    if isinstance(plan, LoadPlan):
        return Share(
            script,
            address,
            plan.target.authority,
            begin_s,
            plan.seed,
            plan.timeout_s,
            plan.in_flight_max,
            arrivals=plan.curve,
            spacing=plan.spacing,
            index=index,
            of=of,
        )
    return Share(
        script,
        address,
        plan.target.authority,
        begin_s,
        plan.seed,
        plan.timeout_s,
        _users_each(plan),
        users=plan.users,
        arrivals=plan.arrivals,
        think_s=plan.scenario.think_s,
        rows=plan.scenario.users,
        socket=plan.scenario.socket,
        headers=plan.headers,
        http=plan.http,
        index=index,
        of=of,
        warm_up_s=plan.warm_up_s,
    )


def processes_for(plan: Plan) -> int:
    """How many processes a plan takes: as many as it asks for, or as descriptors and cores call for.

    Raises `LoadError` where the processes that it asks for can't hold its users.
    """
    if isinstance(plan, LoadPlan):
        return 1
    peak = plan.users.peak if plan.users is not None else 0
    needed = max(1, ceil(peak / _users_each(plan)))
    if plan.processes:
        if plan.processes < needed:
            raise LoadError(
                f"{peak:,} users need {needed} load processes, as one may open "
                f"{_descriptors():,} descriptors here: give --processes {needed}, or raise the limit (ulimit -Hn)"
            )
        return plan.processes
    return max(needed, min(os.cpu_count() or 1, ceil(_expected_rps(plan) / _PROCESS_RPS)))


def allow_descriptors() -> None:
    """Raise this process's own limit of open descriptors to what the system allows it: one is a connection."""
    hard = _descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def address_of(target: Target) -> tuple[str, int]:
    """The literal address to connect to, found before the clock runs. Raises `LoadError`."""
    loopback = loopback_address(target.host)
    if loopback is not None:
        return loopback, target.port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LoadError(f"the name {target.host} can't be found ({error}): check the address") from error
    return str(found[0][4][0]), target.port


def _script(plan: Plan) -> Script:
    if isinstance(plan, LoadPlan):
        return script_of_mix(plan.mix, plan.target)
    return script_of_scenario(plan.scenario, plan.target, plan.headers)


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _users_each(plan: UserPlan) -> int:
    """How many users one process can hold: each has a connection, and perhaps a WebSocket."""
    each = 1.0 + (plan.scenario.socket.share if plan.scenario.socket is not None else 0.0)
    return max(1, int((_descriptors() - _OWN_DESCRIPTORS) / each))


def _expected_rps(plan: UserPlan) -> float:
    """Requests per second at the peak, if answers took no time."""
    scenario = plan.scenario
    total = sum(action.share for action in scenario.actions) or 1.0
    steps = sum(action.share * len(action.steps) for action in scenario.actions) / total
    if plan.arrivals is not None:
        return plan.arrivals.peak_rps * steps
    assert plan.users is not None, "one of both is there"
    return plan.users.peak * steps / max(scenario.think_s, 0.01)
