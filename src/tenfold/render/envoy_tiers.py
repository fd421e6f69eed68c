"""Which of a gateway's routes are for whom, where tiers have pools of their own. A part of what `render.envoy` makes of a RouteTable.

There is a list of routes for each tier that has a pool, and one for all others. A request takes that of its tenant, told by header
or cookie; else that of the host it was sent to. Which one is asked once, in a matcher tree before any route is looked at; the lists
themselves are as they would be if there were no other.
"""

from collections.abc import Mapping, Sequence

from tenfold.model import RouteTable, ServiceRoutes, Tier
from tenfold.render.envoy_listener import JsonObject
from tenfold.render.envoy_tenants import by_cookie, by_header

ALL = ""
"""The name of the list for whoever is in no tier that has one."""


def lists(table: RouteTable) -> dict[str, tuple[ServiceRoutes, ...]]:
    """The services of each list, by tier. Where a tier has no pool of a service, or one that is out, it has that of all."""
    shared = tuple(service for service in table.services if service.tier is None)
    found = {ALL: shared}
    for tier in table.tiers:
        own = {s.paths: s for s in table.services if s.tier == tier.name and not s.is_out}
        if own:
            found[tier.name] = tuple(own.get(service.paths, service) for service in shared)
    return found


def hosts(table: RouteTable, domains: Sequence[str], found: Mapping[str, list[JsonObject]]) -> list[JsonObject]:
    """The virtual hosts of a gateway that answers for `domains`; `found` are the routes of each list."""
    own = {tier.name: tier.domains for tier in table.tiers if tier.domains and tier.name in found}
    taken = {domain for of_tier in own.values() for domain in of_tier}
    whose = {ALL: tuple(domain for domain in domains if domain not in taken), **own}
    matchers = [
        {"predicate": _is_of(tier, table.tiers), "on_match": _routed(tier.name, found)}
        for tier in (table.tiers if len(found) > 1 else ())
        if tier.tenants
    ]
    return [
        {"name": f"tier~{name}" if name else "app", "domains": list(of_host)}
        | (
            {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": _routed(name, found)}}
            if matchers
            else {"routes": found[name]}
        )
        for name, of_host in whose.items()
        if of_host
    ]


def _routed(tier: str, found: Mapping[str, list[JsonObject]]) -> JsonObject:
    name = tier if tier in found else ALL
    action = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteList", "routes": found[name]}
    return {"action": {"name": name or "all", "typed_config": action}}


def _is_of(tier: Tier, tiers: Sequence[Tier]) -> JsonObject:
    """That the header names a tenant of `tier`; or the cookie does, and the header none of another."""
    others = [tenant for other in tiers if other.name != tier.name for tenant in other.tenants]
    by_cookie_alone = by_cookie(tier.tenants)
    if others:
        by_cookie_alone = {"and_matcher": {"predicate": [by_cookie_alone, {"not_matcher": by_header(others)}]}}
    return {"or_matcher": {"predicate": [by_header(tier.tenants), by_cookie_alone]}}
