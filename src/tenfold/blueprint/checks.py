"""What no key alone can tell: whether the parts of a blueprint fit one another.
Each check notes what it finds and says what to do."""

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from tenfold.blueprint.derive import HTTP_TRIGGERS
from tenfold.blueprint.problem import quoted
from tenfold.blueprint.read import Reading
from tenfold.blueprint.scenarios import check_scenarios
from tenfold.blueprint.spread import check_spread
from tenfold.blueprint.tiers import check_tiers
from tenfold.model import Model, Service
from tenfold.wire import environment

_BRACED = re.compile(r"(?<!\$)\{([a-z]+)\}")
_OURS = ("PORT", "HOST")
MONTH_HOURS_MAX = 31 * 24
_STORES = {"DATABASE_URL": "url", "VALKEY_URL": "valkey_url"}


def check(model: Model, reading: Reading) -> None:
    """Note in `reading` everything that does not fit together in `model`."""
    if not model.services and reading.sound("services"):
        reading.note("services", 'names no service; try services: {web: {command: "python -m http.server {port}"}}')
    for service in model.services.values():
        _instances(service, reading)
        _floors(service, reading)
        _triggers(service, reading)
    own = [service for service in model.services.values() if service.tier is None]
    for service in own:
        at = f"services.{service.name}"
        _command(service, at, reading)
        _job(service, at, reading)
        _without_http(service, at, reading)
        _variables(dict(service.env), f"{at}.env", model, reading)
    _paths(own, reading)
    _variables(dict(model.env), "env", model, reading)
    _secrets(model, reading)
    _data(model, reading)
    _keep(model, reading)
    _alerts(model, reading)
    check_scenarios(model.scenarios, reading)
    _prices(model, reading)
    _enforced(model, reading)
    check_spread(model, reading)
    check_tiers(model, reading)


def _command(service: Service, at: str, reading: Reading) -> None:
    for name in _BRACED.findall(service.command):
        nearest = get_close_matches(name, ("port", "host"), 1, 0.7)
        if nearest and name not in ("port", "host"):
            reading.note(f"{at}.command", f"names {{{name}}}; did you mean {{{nearest[0]}}}?")


def _instances(service: Service, reading: Reading) -> None:
    low, high = service.scaling.instances_min, service.scaling.instances_max
    at, here = f"{service.scaling_at}.instances", f"{service.scaling_at}.instances.min"
    if low > high and reading.sound(at):
        reading.note(here, f"min {low} is more than max {high}{_whose(service, reading)}; raise max to {low} or more")
    of = f"services.{service.base}"
    is_sound = reading.sound(here, f"{service.scaling_at}.triggers", f"{of}.http", f"{of}.paths")
    if low == 0 and service.runs_always and not service.may_sleep and is_sound:
        reading.note(
            here,
            "nothing would wake it, since the edge sends it no requests; give it a trigger on a metric that another service posts, e.g. "
            "scaling: {triggers: {queue_length: {up_above: 100, down_below: 10}}}, or a min of 1",
        )


def _whose(service: Service, reading: Reading) -> str:
    """Who said `max`, where that is not the place that is noted."""
    if reading.given(f"{service.scaling_at}.instances.max"):
        return ""
    is_own = service.tier is not None and reading.given(f"services.{service.base}.scaling.instances.max")
    return " (the service's own)" if is_own else " (the default)"


def _floors(service: Service, reading: Reading) -> None:
    at, high, whose = service.scaling_at, service.scaling.instances_max, _whose(service, reading)
    if not reading.sound(f"{at}.floors", f"{at}.instances"):
        return
    for number, floor in enumerate(service.scaling.floors):
        if floor.instances > high:
            reading.note(
                f"{at}.floors[{number}]",
                f"min {floor.instances} is more than instances.max {high}{whose}; raise max to {floor.instances} or more",
            )


def _triggers(service: Service, reading: Reading) -> None:
    limit, of = service.instance.concurrency, f"services.{service.base}"
    # Of the triggers that a tier's pool has from its service, that one tells.
    is_told = service.tier is not None and not reading.given(f"{service.scaling_at}.triggers")
    for trigger in service.scaling.triggers if not is_told else ():
        here = f"{service.scaling_at}.triggers.{trigger.metric}"
        if not reading.sound(here, f"{of}.http", f"{of}.instance"):
            continue
        if trigger.down_below >= trigger.up_above:
            reading.note(
                f"{here}.down_below", "must be less than up_above, or instances come and go for ever; try half of it"
            )
        if trigger.metric in HTTP_TRIGGERS and not service.http and service.runs_always:
            reading.note(here, "counts requests, but the service has none; remove it, or give the service http: true")
        elif trigger.metric == "concurrency" and trigger.up_above >= limit:
            where = here if reading.given(here) else f"{of}.instance.concurrency"
            reading.note(
                where,
                f"{limit} requests at once is all that an instance takes, so up_above {trigger.up_above:g} is never passed; "
                f"try scaling: {{triggers: {{concurrency: {{up_above: {limit * 0.75:g}, down_below: {limit * 0.375:g}}}}}}}",
            )


def _job(service: Service, at: str, reading: Reading) -> None:
    if service.runs_always:
        return
    for key in ("scaling", "health", "paths", "drain", "sticky"):
        if reading.given(f"{at}.{key}"):
            reading.note(
                f"{at}.{key}",
                "is for a service that keeps running, and a schedule makes this a job; remove one of the two",
            )
    if service.http and reading.sound(f"{at}.http"):
        reading.note(f"{at}.http", "must be false for a job (it has a schedule); remove it")


def _without_http(service: Service, at: str, reading: Reading) -> None:
    if service.http or not service.runs_always or not reading.sound(f"{at}.http"):
        return
    if service.paths:
        reading.note(f"{at}.paths", "needs a service that listens, and this one has http: false; remove one of the two")
    if service.is_sticky:
        reading.note(f"{at}.sticky", "is for browsers, and this service has http: false; remove one of the two")
    if service.health.path is not None:
        reading.note(f"{at}.health.path", "is asked over HTTP, and this service has http: false; remove one of the two")


def _paths(services: Sequence[Service], reading: Reading) -> None:
    owners: dict[str, str] = {}
    for service in services:
        at = f"services.{service.name}"
        for path in service.paths:
            plain = path.rstrip("/") or "/"
            owner = owners.setdefault(plain, service.name)
            if owner != service.name:
                reading.note(f"{at}.paths", f"{plain} goes to {owner} already; give each path to one service")
    for service in services:
        at = f"services.{service.name}"
        is_edged = service.http and service.runs_always
        if is_edged and not service.paths and not reading.given(f"{at}.paths"):
            reading.note(
                at,
                f"listens for HTTP, but / goes to {owners.get('/', 'another service')}; give it paths of its own, e.g. paths: [/api], "
                "or paths: [] to keep it from the edge",
            )


def _variables(names: dict[str, str], at: str, model: Model, reading: Reading) -> None:
    for name in names:
        here = f"{at}.{name}"
        if name in _OURS or name.startswith(environment.PREFIX):
            reading.note(here, "is set by Tenfold for each instance; remove it or use another name")
        elif name in _STORES and model.data is not None:
            reading.note(here, f"is set by data; remove it, or say where your own is in data.{_STORES[name]}")
        elif name in model.secrets:
            reading.note(here, "is a secret too; keep it in secrets alone, so that its value is not in this file")


def _secrets(model: Model, reading: Reading) -> None:
    for name in model.secrets:
        if name in _OURS or name.startswith(environment.PREFIX):
            reading.note("secrets", f"{name} is set by Tenfold for each instance; remove it or use another name")
        elif name in _STORES and model.data is not None and getattr(model.data, _STORES[name]) is None:
            reading.note(
                "secrets", f"{name} is set by data; remove it, or use it as data: {{{_STORES[name]}: ${{{name}}}}}"
            )


def _data(model: Model, reading: Reading) -> None:
    if model.data and model.data.shards > 1 and model.data.tenant_key is None and reading.sound("data"):
        reading.note("data.shards", "needs tenant_key, the column that says whose a row is; try tenant_key: company_id")


def _keep(model: Model, reading: Reading) -> None:
    paths = sorted(tuple(part for part in text.split("/") if part not in ("", ".")) for text in model.keep)
    # Sorted, what lies within a path comes right after it.
    for outer, inner in zip([(), *paths], paths, strict=False):
        if inner[0] == ".tenfold":
            reading.note("keep", ".tenfold is Tenfold's own and outlives every release; remove it")
        elif outer and inner[: len(outer)] == outer:
            message = f"{quoted('/'.join(inner))} lies within {quoted('/'.join(outer))}, which is kept whole; remove it"
            reading.note("keep", message)


def _alerts(model: Model, reading: Reading) -> None:
    for number, rung in enumerate(model.alerts.escalation):
        at = f"alerts.escalation[{number}]"
        if rung.webhook is None and rung.command is None and reading.sound(at):
            reading.note(at, "tells nobody; give it a webhook: ${PAGER_URL} or a command")


def _prices(model: Model, reading: Reading) -> None:
    """Nothing is converted from one currency into another: a rate that was right once would be a guess."""
    if model.budget is None or not reading.sound("budget"):
        return
    prices, currency = model.prices, model.budget.monthly.currency
    if prices.core_hour.currency != prices.gib_hour.currency:
        reading.note("budget.prices", f"are in two currencies; write both in {currency}")
    elif prices.currency != currency:
        own = "prices are" if model.budget.prices is not None else "the prices that come with Tenfold are"
        example = f"prices: {{core_hour: 0.04 {currency}, gib_hour: 0.0045 {currency}}}"
        message = (
            f"is in {currency} and {own} in {prices.currency}; nothing is converted, so write what you pay: {example}"
        )
        reading.note("budget.monthly", message)


def _enforced(model: Model, reading: Reading) -> None:
    """A budget refuses what comes on top of what always runs; where that alone costs more it could only break its word."""
    budget = model.budget
    if budget is None or not budget.is_enforced or not reading.sound("budget", "services", "regions"):
        return
    hourly = sum(
        service.scaling.instances_min * model.prices.per_hour(service.instance.cpu_cores, service.instance.memory_bytes)
        for service in model.services.values()
        if service.runs_always
    )
    least = hourly * len(model.regions) * MONTH_HOURS_MAX
    if least > budget.monthly.amount:
        currency = budget.monthly.currency
        reading.note(
            "budget.enforce",
            f"could not be kept: the instances that always run cost {least:.2f} {currency} in a month of 31 days, and "
            f"{budget.monthly} is the budget; raise monthly to {math.ceil(least)} {currency} or more, or lower scaling.instances.min",
        )
