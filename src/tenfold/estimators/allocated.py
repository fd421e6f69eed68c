"""What to give each service for so many users: size, bounds, concurrency, timeouts, connections. Stage: a question of users ->
allotments."""

import math
from dataclasses import dataclass, replace

from tenfold.estimators.allocation import CAREFUL_RATIO, MIB, allocation_of, bounds_of
from tenfold.estimators.users import Need, Question, needs
from tenfold.facts import CapacitySeen
from tenfold.model import InstanceSize, Service

TIMEOUT_TIMES = 10.0
TIMEOUT_S_MIN = 5.0
"""A measured service's requests may take ten times what 95 of 100 take, and no less than this."""


@dataclass(frozen=True, slots=True)
class Allotment:
    """What to give `service`: instances of `size`, `instances_min`..`instances_max` of them in each region, `needed` in the busiest one.

    An instance should keep at most `connections` to the database open (None: not known); a request may take `timeout_s`. `work` is the
    class it rests on, None when on a measurement.
    """

    service: str
    size: InstanceSize
    needed: int
    instances_min: int
    instances_max: int
    connections: int | None
    timeout_s: float
    work: str | None


def allotted(question: Question, users: int) -> tuple[Allotment, ...]:
    """What to give every service that the scenario asks."""
    model = question.model
    given = {name: _size(question, service, users) for name, service in model.services.items()}
    services = {name: replace(service, instance=given[name]) for name, service in model.services.items()}
    larger = replace(question, model=replace(model, services=services))
    found: dict[str, Need] = {}
    for need in needs(larger, users):
        if need.is_asked and (need.service not in found or need.instances > found[need.service].instances):
            found[need.service] = need
    return tuple(_allotment(question, services[name], need) for name, need in found.items())


def too_small(question: Question) -> tuple[str, ...]:
    """What to say of instances whose memory is less than the assumed work takes for a single request."""
    work = question.assumed
    least_bytes = work.base_bytes + work.request_bytes
    asked = (service for name, service in question.model.services.items() if question.shares.get(name, 0.0) > 0)
    return tuple(
        f"{service.name} is given {service.instance.memory_bytes // MIB} MiB and {work.name} work takes {least_bytes // MIB} MiB for one "
        f"request: raise services.{service.name}.instance.memory, or the kernel ends it"
        for service in asked
        if question.measured(service.name) is None and service.instance.memory_bytes < least_bytes
    )


def _size(question: Question, service: Service, users: int) -> InstanceSize:
    """What was measured was measured on the blueprint's size, which it keeps; a class of work has a size of its own."""
    measured = question.measured(service.name)
    if measured is None:
        return allocation_of(question.assumed, users, question.target_ms).size
    return replace(service.instance, concurrency=max(2, math.ceil(measured.concurrency)))


def _allotment(question: Question, service: Service, need: Need) -> Allotment:
    careful = (question.model.targets.availability_ratio or 0.0) >= CAREFUL_RATIO
    least, most = bounds_of(need.instances, service.scaling.instances_min, len(question.model.regions), careful)
    measured = need.measured
    return Allotment(
        service=service.name,
        size=service.instance,
        needed=need.instances,
        instances_min=least,
        instances_max=most,
        connections=round(need.connections / need.instances) if need.connections is not None else None,
        timeout_s=_timeout_s(measured) if measured is not None else question.assumed.timeout_s,
        work=need.work,
    )


def _timeout_s(measured: CapacitySeen) -> float:
    return max(TIMEOUT_S_MIN, float(math.ceil(TIMEOUT_TIMES * measured.latency_ms / 1000)))
