"""What a blueprint leaves open and its other keys tell: which services listen for HTTP, what paths they get,
what scales them."""

import re
from collections.abc import Mapping
from dataclasses import replace

from tenfold.blueprint.read import Reading
from tenfold.model import Service

HTTP_TRIGGERS = ("concurrency", "response_time")
"""Triggers measured at the edge, so without meaning for a service that the edge sends nothing."""
_NAMES_PORT = re.compile(r"\{port\}|\$PORT\b|\$\{PORT\b")


def derived(services: Mapping[str, Service], reading: Reading) -> dict[str, Service]:
    """`services` with `http`, `paths` and the default triggers settled wherever the blueprint does not say them."""
    known = {name: _settled(service, reading) for name, service in services.items()}
    open_names = [
        name for name, service in known.items() if service.http and not reading.given(f"services.{name}.paths")
    ]
    is_root_taken = any("/" in service.paths for service in known.values())
    if open_names and not is_root_taken:
        first = "web" if "web" in open_names else open_names[0]
        known[first] = replace(known[first], paths=("/",))
    return known


def names_port(command: str) -> bool:
    """True when a command says where its port goes: `{port}`, `$PORT` or `${PORT}`."""
    return _NAMES_PORT.search(command) is not None


def _settled(service: Service, reading: Reading) -> Service:
    at = f"services.{service.name}"
    if not reading.given(f"{at}.http"):
        names_http = service.name == "web" or service.health.path is not None or bool(service.paths)
        listens = service.runs_always and (names_http or names_port(service.command))
        service = replace(service, http=listens)
    if service.http or reading.given(f"{at}.scaling.triggers"):
        return service
    triggers = tuple(trigger for trigger in service.scaling.triggers if trigger.metric not in HTTP_TRIGGERS)
    return replace(service, scaling=replace(service.scaling, triggers=triggers))
