"""What so many users need: requests per second, instances by service and region, and what gives out first. Scenario and measurements in.

Where a service was measured, a user asks of it what the users of the measurement did. Where it was not, the blueprint's own
`instance.concurrency` is taken for what an instance holds, and the target latency for what an answer takes: that is a guess, and said so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.facts import CapacitySeen
from tenfold.model import Model, Scenario, Service

HEADROOM_RATIO = 0.8
"""At most so much of what an instance holds is planned for: where the trigger `capacity` adds the next one."""
LATENCY_MS = 500.0
"""What an answer is taken to last where neither a measurement nor the blueprint tells."""
GENERATOR = "load generator"
"""The part of a measurement's cost that is not the app's."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one service needs in one region for `users` of its users: `requests_per_s` on so many `instances`, of at most `instances_max`.

    `users_max` is how many these would hold. `measured` is what it rests on, None when on the blueprint's defaults.
    """

    service: str
    region: str
    users: float
    requests_per_s: float
    instances: int
    instances_max: int
    users_max: float
    measured: CapacitySeen | None


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that gives out at `users` users, and what it is in words."""

    users: float
    what: str


@dataclass(frozen=True, slots=True)
class Growth:
    """What `users` under `scenario` need, and what gives out, first things first. `unknown` says what could not be told."""

    users: int
    scenario: str
    needs: tuple[Need, ...]
    limits: tuple[Limit, ...]
    unknown: tuple[str, ...]

    @property
    def breaks(self) -> tuple[Limit, ...]:
        """The limits that so many users pass."""
        return tuple(limit for limit in self.limits if limit.users < self.users)


def needed(
    model: Model,
    scenario: Scenario,
    shares: Mapping[str, float],
    users: int,
    capacities: Mapping[str, CapacitySeen],
    connections_max: int | None,
) -> Growth:
    """What `users` need. `shares` (0..1) tell which part of the scenario's requests goes to each service, `capacities` by service what was
    measured of the source that is planned with, `connections_max` what the database allows (None: not known)."""
    parts = _users_by_region(model, users)
    needs = [
        _need(model, model.services[name], scenario, share, region, part, users, capacities.get(name))
        for name, share in shares.items()
        if share > 0
        for region, part in parts.items()
    ]
    limits = [_of_blueprint(need, users) for need in needs]
    unknown: list[str] = []
    measured = [need for need in needs if need.measured is not None]
    limits += _of_machine(measured, users, unknown)
    limits += _of_database(measured, users, connections_max, unknown) if model.data is not None else []
    if model.budget is not None:
        unknown.append("what it costs: the budget is not compared yet")
    guessed = sorted({need.service for need in needs if need.measured is None})
    if guessed:
        unknown.append(f"what {', '.join(guessed)} really holds: `tenfold measure` finds it out")
    return Growth(
        users, scenario.name, tuple(needs), tuple(sorted(limits, key=lambda limit: limit.users)), tuple(unknown)
    )


def _need(
    model: Model,
    service: Service,
    scenario: Scenario,
    share: float,
    region: str,
    users: float,
    of_all: int,
    measured: CapacitySeen | None,
) -> Need:
    if measured is not None:
        each_rps, per_user_rps = measured.requests_per_s, measured.requests_per_s / max(measured.users, 1e-9)
    else:
        latency_s = (model.targets.latency.p95_ms or LATENCY_MS) / 1000
        shares = sum(action.share for action in scenario.actions)
        steps = sum(action.share * len(action.steps) for action in scenario.actions) / shares
        # The interactive response time law, and Little's law for what is at hand.
        per_user_rps = share * steps / (scenario.think_s + steps * latency_s)
        each_rps = service.instance.concurrency / latency_s
    rps = users * per_user_rps
    low, high = service.scaling.instances_min, service.scaling.instances_max
    wanted = max(low, math.ceil(rps / (HEADROOM_RATIO * each_rps) - 1e-9))
    holds = high * HEADROOM_RATIO * each_rps / max(per_user_rps, 1e-9) * of_all / max(users, 1e-9)
    return Need(service.name, region, users, rps, wanted, high, holds, measured)


def _users_by_region(model: Model, users: int) -> dict[str, float]:
    """By the regions' capacities where all name one, else evenly."""
    capacities = {name: region.capacity_users for name, region in model.regions.items()}
    told = [capacity for capacity in capacities.values() if capacity is not None]
    if len(told) == len(capacities) and sum(told) > 0:
        return {name: users * (capacity or 0) / sum(told) for name, capacity in capacities.items()}
    return dict.fromkeys(capacities, users / len(capacities))


def _of_blueprint(need: Need, users: int) -> Limit:
    return Limit(
        need.users_max,
        f"{need.instances_max} instances of {need.service} are the most the blueprint allows in {need.region}: "
        f"raise services.{need.service}.scaling.instances.max",
    )


def _of_machine(measured: list[Need], users: int, unknown: list[str]) -> list[Limit]:
    """When the cores of the machine that was measured on are full, everything on it: app, edge and stores."""
    if not measured:
        unknown.append("what a request costs this machine: `tenfold measure` finds it out")
        return []
    needed_cores = 0.0
    for need in measured:
        assert need.measured is not None
        costs = (ms for part, ms in need.measured.cpu_ms.items() if part != GENERATOR)
        needed_cores += need.requests_per_s * sum(costs) / 1000
    cores = min(need.measured.cores for need in measured if need.measured is not None)
    if needed_cores <= 0 or cores <= 0:
        return []
    what = f"the {cores} cores of the machine that was measured on are full: it takes a larger one, or more of them"
    return [Limit(users * cores / needed_cores, what)]


def _of_database(measured: list[Need], users: int, connections_max: int | None, unknown: list[str]) -> list[Limit]:
    needed_connections = sum(n.instances * n.measured.connections for n in measured if n.measured is not None)
    if connections_max is None or needed_connections <= 0:
        unknown.append("how many database connections it takes")
        return []
    what = f"{connections_max} connections are the most the database allows: let each instance keep fewer open"
    return [Limit(users * connections_max / needed_connections, what)]
