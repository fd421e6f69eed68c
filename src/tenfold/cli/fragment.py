"""A piece of blueprint that gives services what was reckoned for them, to paste. Stage: allotments -> YAML that `blueprint.load` takes."""

import json
from collections.abc import Iterable, Iterator

import yaml

from tenfold.blueprint import units
from tenfold.estimators.allocated import Allotment
from tenfold.estimators.phases import Outlook
from tenfold.model import INSTANCES_MOST, Model, Trigger

UP_RATIO, DOWN_RATIO = 0.75, 0.375
"""The trigger on concurrency, as a share of what an instance serves at once: the blueprint's defaults are 60 and 30 of 80."""
_CORES = units.cores("1")
_SIZE = units.size("1MiB", low_bytes=1)
_SECONDS = units.duration("1s")
_NUMBER = units.number("a number", "1")
_PERCENT = units.percent("80%")
_UNITS = {
    "cpu": _PERCENT,
    "memory": _PERCENT,
    "capacity": _PERCENT,
    "response_time": units.duration("200ms", in_ms=True),
}
"""How triggers are written; those that are not here are plain numbers."""


def fragment(model: Model, outlook: Outlook) -> str:
    """The YAML, with a comment for what the blueprint has no key for; empty when the scenario asks none of the services."""
    if not outlook.allotments:
        return ""
    lines = [
        f"# for {outlook.users:,} users: what instances, timeouts and bounds should be; put these keys in the place of your own",
        "services:",
        *(line for each in outlook.allotments for line in _service(model, each)),
        *_stores(model, outlook),
    ]
    return "\n".join(lines) + "\n"


def _service(model: Model, given: Allotment) -> Iterator[str]:
    service, size = model.services[given.service], given.size
    why = f"{given.work} work" if given.work is not None else "measured"
    short = f", and {INSTANCES_MOST:,} are the most a blueprint allows" if given.needed > INSTANCES_MOST else ""
    yield f"  {given.service}:  # {why}; at the busiest {given.needed:,} in a region{short}"
    yield f"    command: {_quoted(service.command)}"
    yield f"    http: {'true' if service.http else 'false'}"
    if service.paths:
        yield f"    paths: {json.dumps(list(service.paths))}"
    yield (
        f"    instance: {{cpu: {_CORES.write(size.cpu_cores)}, memory: {_SIZE.write(size.memory_bytes)}, "
        f"concurrency: {size.concurrency}}}"
    )
    yield "    scaling:"
    yield f"      instances: {{min: {given.instances_min}, max: {given.instances_max}}}"
    yield "      triggers:"
    if service.http:
        yield _trigger(Trigger("concurrency", UP_RATIO * size.concurrency, DOWN_RATIO * size.concurrency))
    yield from (_trigger(each) for each in service.scaling.triggers if each.metric != "concurrency")
    yield f"    drain: {_SECONDS.write(given.timeout_s)}  # as long as a request may take: let the app give up after it too"
    if given.connections is not None and model.data is not None:
        yield f"    # database connections of an instance: {given.connections} at most, where your app makes its pool"


def _quoted(text: str) -> str:
    """Text that stays text, whatever it holds."""
    return str(yaml.dump(text, default_style='"', width=10**9, allow_unicode=True)).rstrip("\n")


def _trigger(given: Trigger) -> str:
    unit = _UNITS.get(given.metric, _NUMBER)
    bounds = f"up_above: {unit.write(given.up_above)}, down_below: {unit.write(given.down_below)}"
    return f"        {given.metric}: {{{bounds}, cooldown: {_SECONDS.write(given.cooldown_s)}}}"


def _stores(model: Model, outlook: Outlook) -> Iterable[str]:
    asked = outlook.asked
    database = asked.database
    if model.data is None:
        return
    yield f"# cache: {_SIZE.write(asked.cache_bytes)}"
    if database is not None:
        kind = f"{database.cores} cores, {_SIZE.write(database.memory_bytes)}"
        yield f"# database: {kind}; data.shards {database.shards}, data.replicas {database.replicas}"
