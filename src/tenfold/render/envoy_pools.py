"""Which pool of the global entry a request takes: by the residency of its host or tenant, and by its origin. A part of what
`render.envoy_entry` makes of an EntryTable.
"""

from collections.abc import Sequence

from tenfold.model import EntryTable
from tenfold.render import envoy_place as place
from tenfold.render.envoy import SOCKETS_SUFFIX
from tenfold.render.envoy_behind import ORIGIN_HEADER
from tenfold.render.envoy_listener import EXTENSIONS, JsonObject
from tenfold.render.envoy_tenants import by_cookie, by_header, header_input

POOL_PREFIX = "from~"


def pool_of(origin: str, residency: str = "") -> str:
    """The name of the pool of a way."""
    return POOL_PREFIX + origin + _pool_end(residency)


def _pool_end(residency: str) -> str:
    return f"~{residency}" if residency else ""


def origin_of(pool: str) -> tuple[str, str]:
    """The (origin, residency) of a pool or of its twin for sockets."""
    origin, _, residency = pool.removesuffix(SOCKETS_SUFFIX).removeprefix(POOL_PREFIX).partition("~")
    return origin, residency


def placed(table: EntryTable) -> tuple[str, ...]:
    """The regions near which a client can be found to be; none when nobody tells where clients are."""
    return tuple(table.places) if table.geoip or table.trust else ()


def has_choice(table: EntryTable) -> bool:
    """True when requests to one host may take different pools for more than their place."""
    if place.decides(table):
        return False
    return any(origin != table.home for origin in placed(table)) or any(rule.tenants for rule in table.residency)


def specifier_name(residency: str, suffix: str) -> str:
    """Of what chooses between the pools of a host of this residency."""
    return (f"way~{residency}" if residency else "way") + suffix


def specifiers(table: EntryTable, residencies: Sequence[str]) -> list[JsonObject]:
    """What chooses between the pools of each host."""
    both = [(residency, suffix) for residency in residencies for suffix in ("", SOCKETS_SUFFIX)]
    if place.decides(table):
        return [place.specifier(table, POOL_PREFIX, _pool_end(residency) + suffix) for residency, suffix in both]
    if not has_choice(table):
        return []
    return [{"extension": _specifier(table, residency, suffix)} for residency, suffix in both]


def _specifier(table: EntryTable, residency: str, suffix: str) -> JsonObject:
    """Which pool a request to a host of `residency` takes: its tenant's residency counts before that of the host, and the
    header before the cookie."""
    by_origin = _by_origin(table, residency, suffix)
    of_tenants = [
        {"predicate": told(rule.tenants), "on_match": _by_origin(table, rule.name, suffix)}
        for told in (by_header, by_cookie)
        for rule in table.residency
        if rule.tenants
    ]
    if of_tenants:
        by_origin = {"matcher": {"matcher_list": {"matchers": of_tenants}, "on_no_match": by_origin}}
    return {
        "name": specifier_name(residency, suffix),
        "typed_config": {
            "@type": f"{EXTENSIONS}.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier",
            "cluster_matcher": by_origin["matcher"],
        },
    }


def _by_origin(table: EntryTable, residency: str, suffix: str) -> JsonObject:
    home = _choice(pool_of(table.home, residency) + suffix)
    pools = {o: _choice(pool_of(o, residency) + suffix) for o in placed(table) if o != table.home}
    if not pools:
        return home
    tree = {"input": header_input(ORIGIN_HEADER), "exact_match_map": {"map": pools}}
    return {"matcher": {"matcher_tree": tree, "on_no_match": home}}


def _choice(pool: str) -> JsonObject:
    return {
        "action": {
            "name": pool,
            "typed_config": {
                "@type": f"{EXTENSIONS}.router.cluster_specifiers.matcher.v3.ClusterAction",
                "cluster": pool,
            },
        }
    }
