"""A piece of blueprint that gives services what was reckoned for them, to paste. Stage: allotments -> YAML that `blueprint.load` takes."""

import json
from collections.abc import Iterable, Iterator, Sequence

import yaml

from tenfold.blueprint import units
from tenfold.estimators.allocated import Allotment
from tenfold.estimators.phases import Outlook
from tenfold.model import INSTANCES_MOST, InstanceSize, Model, Service, Trigger

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
    programs: dict[str, list[Allotment]] = {}
    for each in outlook.allotments:
        programs.setdefault(model.services[each.service].base, []).append(each)
    lines = [
        f"# for {outlook.users:,} users: what instances, timeouts and bounds should be",
        "# put these keys in the place of your own, and leave what is not here (health, forecast, floors) as it is",
        "services:",
        *(line for name, given in programs.items() for line in _service(model, model.services[name], given)),
        *_tiers(model, outlook.allotments),
        *_stores(model, outlook),
    ]
    return "\n".join(lines) + "\n"


def _service(model: Model, service: Service, given: Sequence[Allotment]) -> Iterator[str]:
    """One program with its pools, of which all run the same command on instances of the same size."""
    first, size = given[0], given[0].size
    own = [each for each in given if each.service == service.name]
    why = f"{first.work} work" if first.work is not None else "measured"
    yield f"  {service.name}:  # {'; '.join([why, *map(_busiest, own)])}"
    yield f"    command: {_quoted(service.command)}"
    yield f"    http: {'true' if service.http else 'false'}"
    if service.paths:
        yield f"    paths: {json.dumps(list(service.paths))}"
    yield (
        f"    instance: {{cpu: {_CORES.write(size.cpu_cores)}, memory: {_SIZE.write(size.memory_bytes)}, "
        f"concurrency: {size.concurrency}}}"
    )
    yield "    scaling:"
    for each in own:
        yield f"      {_bounds(each)}"
    yield from _triggers(service, size, "      ")
    tiers = [each for each in given if each not in own]
    if tiers:
        yield "      tiers:"
    for each in tiers:
        pool = model.services[each.service]
        yield f"        {pool.tier}:  # {_busiest(each)}"
        yield f"          {_bounds(each)}"
        if pool.scaling.triggers != service.scaling.triggers:
            yield from _triggers(pool, size, "          ")
    yield f"    drain: {_SECONDS.write(first.timeout_s)}  # as long as a request may take: let the app give up after it too"
    if first.connections is not None and model.data is not None:
        yield f"    # database connections of an instance: {first.connections} at most, where your app makes its pool"


def _busiest(given: Allotment) -> str:
    short = f", and {INSTANCES_MOST:,} are the most a blueprint allows" if given.needed > INSTANCES_MOST else ""
    return f"at the busiest {given.needed:,} in a region{short}"


def _bounds(given: Allotment) -> str:
    return f"instances: {{min: {given.instances_min}, max: {given.instances_max}}}"


def _triggers(service: Service, size: InstanceSize, indent: str) -> Iterator[str]:
    yield f"{indent}triggers:"
    if service.http:
        yield indent + _trigger(Trigger("concurrency", UP_RATIO * size.concurrency, DOWN_RATIO * size.concurrency))
    yield from (indent + _trigger(each) for each in service.scaling.triggers if each.metric != "concurrency")


def _tiers(model: Model, allotments: Iterable[Allotment]) -> Iterator[str]:
    """Who is in the tiers that are given pools."""
    tiers = dict.fromkeys(model.services[each.service].tier for each in allotments)
    names = [name for name in tiers if name is not None]
    if names:
        yield "tiers:"
    for name in names:
        tier = model.tiers[name]
        said = [
            f"{key}: {json.dumps(who)}" for key, who in (("tenants", tier.tenants), ("domains", tier.domains)) if who
        ]
        said += [f"share: {_PERCENT.write(tier.share_ratio)}"] if tier.share_ratio is not None else []
        yield f"  {name}: {{{', '.join(said)}}}"


def _quoted(text: str) -> str:
    """Text that stays text, whatever it holds."""
    return str(yaml.dump(text, default_style='"', width=10**9, allow_unicode=True)).rstrip("\n")


def _trigger(given: Trigger) -> str:
    unit = _UNITS.get(given.metric, _NUMBER)
    bounds = f"up_above: {unit.write(given.up_above)}, down_below: {unit.write(given.down_below)}"
    return f"  {given.metric}: {{{bounds}, cooldown: {_SECONDS.write(given.cooldown_s)}}}"


def _stores(model: Model, outlook: Outlook) -> Iterable[str]:
    asked = outlook.asked
    database = asked.database
    if model.data is None:
        return
    yield f"# cache: {_SIZE.write(asked.cache_bytes)}"
    if database is not None:
        kind = f"{database.cores} cores, {_SIZE.write(database.memory_bytes)}"
        yield f"# database: {kind}; data.shards {database.shards}, data.replicas {database.replicas}"
