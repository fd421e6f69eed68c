"""Paths by the thousand: which of them need no route of their own in Envoy, and where those lead. A part of what
`render.envoy` and `render.envoy_entry` make of their tables.

Envoy takes about 20 microseconds to read a route that has retries and asks for a method: three for each of 2,000 paths held it
up for 150 ms at each change, and a request was compared with one after the other. Nearly all services are treated alike (the
same times, no cookie), so beyond a handful of paths three routes serve all of these, and a script looks up which pool a path
leads to: 2,000 are read in some milliseconds. Services with a policy of their own, paths with a hedging time of their own, and
what lies below either, keep their routes.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tenfold.model import ServiceRoutes
from tenfold.render.envoy_listener import EXTENSIONS, JsonObject

FEW = 50
"""So many paths have routes of their own in any case: they cost a request less than the script does."""

ANY_PATH = "*"
"""In the place of the prefix in the name of a route that serves many paths."""

_PLAIN = re.compile(r"[\w/.~-]*", re.ASCII)

_SCRIPT = """\
local pools = {%(pools)s}
local longest = %(longest)d

function envoy_on_route(handle)
  local headers = handle:headers()
  local path = string.match(headers:get(":path") or "/", "^[^?#]*")
  if #path > longest then path = string.sub(path, 1, longest + 1) end
  local pool = pools[path]
  local at = #path
  while pool == nil and at > 0 do
    if string.byte(path, at) == 47 then pool = pools[string.sub(path, 1, at)] or pools[string.sub(path, 1, at - 1)] end
    at = at - 1
  end
  if pool == nil then return "" end
  local upgrade = headers:get("upgrade")
  if upgrade == nil or string.lower(upgrade) ~= "websocket" then return pool end
  if not string.find(string.lower(headers:get("connection") or ""), "upgrade", 1, true) then return pool end
  return pool .. "%(sockets)s"
end
"""
"""The nearest path above the request's: itself, up to each slash, and to before it. `/api` covers `/api/x`, never `/apix`. One script
for requests and sockets (told apart as by OPENS_SOCKET of `render.envoy_routes`), because to read the paths is what takes time."""


@dataclass(frozen=True, slots=True)
class Parted:
    """`services` is all of a table; of these, `own` are the paths that need routes of their own, each service with those of its
    paths that do. The other paths lead to the pools `many`; what is done with their requests is as with those of `like`.
    """

    services: Sequence[ServiceRoutes]
    own: Sequence[ServiceRoutes]
    many: Mapping[str, str] = field(default_factory=dict)
    like: ServiceRoutes | None = None


def part(services: Sequence[ServiceRoutes]) -> Parted:
    """Who needs routes of their own. With few paths, all do."""
    counts: Counter[tuple[float, float | None]] = Counter()
    for service in services:
        if not service.is_sticky and not service.is_asleep:
            counts[_policy(service)] += len(service.paths)
    if not counts or counts.total() <= FEW:
        return Parted(services, services)
    common = max(counts, key=lambda policy: counts[policy])
    alike = [s for s in services if not s.is_sticky and not s.is_asleep and _policy(s) == common]
    apart = [s for s in services if s.is_sticky or s.is_asleep or _policy(s) != common]
    # Routes of one's own come first, and would take what lies below them.
    taken = {p for s in apart for p in s.paths} | {p for p, is_page, _, _ in rules(services) if not is_page}
    many: dict[str, str] = {}
    own = {s.service: s for s in apart}
    for service in alike:
        covered = [p for p in service.paths if taken and any(above in taken for above in prefixes(p))]
        own[service.service] = replace(service, paths=tuple(covered))
        for path in service.paths if not covered else (p for p in service.paths if p not in covered):
            many.setdefault(path, service.service)
    if len(many) <= FEW:
        return Parted(services, services)
    # Whether a second try may go to warm endpoints is said for all or none.
    like = replace(alike[0], endpoints=tuple(e for s in alike for e in s.endpoints))
    return Parted(services, tuple(own[s.service] for s in services), many, like)


def _policy(service: ServiceRoutes) -> tuple[float, float | None]:
    return service.silence_s, service.hedge_after_ms


def rules(services: Sequence[ServiceRoutes]) -> list[tuple[str, bool, ServiceRoutes, float | None]]:
    """The rules that count: prefix, whether it means this very page alone, service, and when to hedge.

    A rule counts only where no other service's path is nearer. One for a service's own path is for that very page,
    since everything else below it has the service's default.
    """
    owners = {p: s.service for s in services for p in s.paths} if any(s.rules for s in services) else {}
    found = []
    for service in services:
        for rule in {rule.prefix: rule for rule in service.rules}.values():
            owner = next((owners[above] for above in prefixes(rule.prefix) if above in owners), None)
            if owner == service.service:
                found.append((rule.prefix, rule.prefix in service.paths, service, rule.hedge_after_ms))
    return found


def prefixes(path: str) -> Iterator[str]:
    """Every path that covers this one, the longest first: itself, `/a/`, `/a`, `/`."""
    yield path
    at = len(path)
    while (at := path.rfind("/", 0, at)) >= 0:
        yield path[: at + 1]
        if at > 0:
            yield path[:at]


def specifier(name: str, many: Mapping[str, str], sockets_suffix: str) -> JsonObject:
    """What looks up the pools of these paths, called `name`; `sockets_suffix` is put behind the name of a pool for sockets."""
    pools = ",".join(f"[{_quoted(path)}]={_quoted(pool)}" for path, pool in many.items())
    longest = max(len(path.encode()) for path in many)
    source = _SCRIPT % {"pools": pools, "longest": longest, "sockets": sockets_suffix}
    config = {
        "@type": f"{EXTENSIONS}.router.cluster_specifiers.lua.v3.LuaConfig",
        "source_code": {"inline_string": source},
    }
    return {"extension": {"name": name, "typed_config": config}}


def looked_up(action: JsonObject, specifier_name: str) -> JsonObject:
    """The same action, where the pool is looked up; a path that leads nowhere is answered as if no route had been found."""
    rest = {key: value for key, value in action.items() if key != "cluster"}
    return {**rest, "cluster_specifier_plugin": specifier_name, "cluster_not_found_response_code": "NOT_FOUND"}


def _quoted(text: str) -> str:
    """As a string in Lua."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'
