"""Where a request's client is: by the word of a sender who is trusted, else by the country of its address, else nowhere known. A
part of what `render.envoy_entry` makes of an EntryTable.

A script runs only for requests that bring a place, or for all of them where a GeoIP database is given. Where the place alone
decides which pool a request takes, routes for requests that bring one have the pool looked up by the script: that costs 5% less
CPU than the other way, which is for countries (known only after a route was found) and tenants. There Envoy's filter is off, a
route that stands before all others turns it on, and the script replaces what the client said by the origin and has the request
routed anew.
"""

from collections.abc import Sequence
from math import cos, radians, sin

from tenfold.model import EntryTable
from tenfold.render.countries import CENTRES, nearest
from tenfold.render.envoy_behind import ORIGIN_HEADER
from tenfold.render.envoy_listener import EXTENSIONS, JsonObject
from tenfold.render.envoy_routes import OPENS_SOCKET

PLACE_HEADER = "x-tenfold-place"
COUNTRY_HEADER = "x-tenfold-country"
"""Told by Envoy's own GeoIP filter."""

_FILTER = "envoy.filters.http.lua"

_NEAREST = """\
-- Unit vectors: the nearest place by great circle is the one with the largest dot product.
local places = {%(places)s}
local number = "([+-]?%%d+%%.?%%d*)"
local form = "^%%s*" .. number .. "%%s*,%%s*" .. number .. "%%s*$"

local function nearest(text)
  if text == nil then return nil end
  local north, east = string.match(text, form)
  local lat, lon = tonumber(north), tonumber(east)
  if lat == nil or lon == nil or math.abs(lat) > 90 or math.abs(lon) > 180 then return nil end
  lat, lon = math.rad(lat), math.rad(lon)
  local x, y, z = math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)
  local best, found = -2, nil
  for _, place in ipairs(places) do
    local dot = x * place[2] + y * place[3] + z * place[4]
    if dot > best then best, found = dot, place[1] end
  end
  return found
end
"""

_SCRIPT = (
    """\
local home = "%(home)s"
local countries = {%(countries)s}
"""
    + _NEAREST
    + """
function envoy_on_request(handle)
  local headers = handle:headers()
  local origin = nearest(headers:get("%(place_header)s")) or countries[headers:get("%(country_header)s") or ""] or home
  headers:remove("%(place_header)s")
  headers:remove("%(country_header)s")
  headers:replace("%(origin_header)s", origin)
  handle:clearRouteCache()
end
"""
)

_SPECIFIER_SCRIPT = (
    _NEAREST
    + """
local known, count = {}, 0

function envoy_on_route(handle)
  local text = handle:headers():get("%(place_header)s")
  local pool = known[text]
  if pool == nil then
    pool = "%(before)s" .. (nearest(text) or "%(home)s") .. "%(after)s"
    count = count + 1
    if count > %(known_max)d then known, count = {}, 1 end
    known[text] = pool
  end
  return pool
end
"""
)

_KNOWN_MAX = 1000
"""Places whose pool is kept: their senders are edges, of which there are not many, and a client may lie."""


def decides(table: EntryTable) -> bool:
    """True when the place that a request brings is all that its pool depends on."""
    if table.geoip or not table.trust or any(rule.tenants for rule in table.residency):
        return False
    return any(origin != table.home for origin in table.places)


def filters(table: EntryTable, is_trusted: bool) -> list[JsonObject]:
    """Those that connections of senders, trusted or not, need to place their clients."""
    if decides(table) or not (table.geoip or (is_trusted and table.places)):
        return []
    script = {
        "name": _FILTER,
        "disabled": True,
        "typed_config": {
            "@type": f"{EXTENSIONS}.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _script(table)},
        },
    }
    return [*([_geoip_filter(table.geoip)] if table.geoip else ()), script]


def routes(table: EntryTable, action: JsonObject, socket_action: JsonObject) -> list[JsonObject]:
    """Those that turn the script on. Their actions say where the request goes should the script fail; and since Envoy decides
    by them whether a WebSocket may be opened and how long it may be silent, there is one for sockets.
    """
    if decides(table) or not (table.geoip or (table.trust and table.places)):
        return []
    # What has an origin has been placed: clients can't bring one.
    unknown = {"name": ORIGIN_HEADER, "present_match": True, "invert_match": True}
    said = {"name": PLACE_HEADER, "present_match": True}
    when = unknown if table.geoip else said
    on = {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "config": {"@type": f"{EXTENSIONS}.filters.http.lua.v3.LuaPerRoute"},
    }
    return [
        {
            "name": "place",
            "match": {"prefix": "/", "headers": headers},
            "route": found,
            "typed_per_filter_config": {_FILTER: on},
        }
        for headers, found in (([when, *OPENS_SOCKET], socket_action), ([when], action))
    ]


def placed(routes: Sequence[JsonObject]) -> list[JsonObject]:
    """The same routes for requests that bring a place: the pool is that of the nearest origin instead of that of home."""
    said = {"name": PLACE_HEADER, "present_match": True}
    found = []
    for route in routes:
        match, action = route["match"], dict(route["route"])
        action["cluster_specifier_plugin"] = _specifier_name(action.pop("cluster"))
        found.append(
            {**route, "match": {**match, "headers": [said, *match.get("headers", ())]}, "route": action},
        )
    return found


def specifier(table: EntryTable, before: str, after: str) -> JsonObject:
    """What finds the pool of the nearest origin; `before` and `after` it stands what else the pool's name is made of."""
    pool = before + table.home + after
    source = _SPECIFIER_SCRIPT % {
        "home": table.home,
        "places": _vectors(table),
        "place_header": PLACE_HEADER,
        "before": before,
        "after": after,
        "known_max": _KNOWN_MAX,
    }
    config = {
        "@type": f"{EXTENSIONS}.router.cluster_specifiers.lua.v3.LuaConfig",
        "source_code": {"inline_string": source},
        "default_cluster": pool,
    }
    return {"extension": {"name": _specifier_name(pool), "typed_config": config}}


def _specifier_name(pool: str) -> str:
    return f"nearest~{pool}"


def _geoip_filter(path: str) -> JsonObject:
    provider = {
        "@type": f"{EXTENSIONS}.geoip_providers.maxmind.v3.MaxMindConfig",
        "country_db_path": path,
        "common_provider_config": {"geo_field_keys": {"country": COUNTRY_HEADER}},
    }
    return {
        "name": "envoy.filters.http.geoip",
        "typed_config": {
            "@type": f"{EXTENSIONS}.filters.http.geoip.v3.Geoip",
            "provider": {"name": "envoy.geoip_providers.maxmind", "typed_config": provider},
        },
    }


def _script(table: EntryTable) -> str:
    countries: list[str] = []
    if table.geoip:
        found = {country: nearest(country, table.places) for country in sorted(CENTRES)}
        countries = [f'["{country}"]="{region}"' for country, region in found.items() if region is not None]
    return _SCRIPT % {
        "home": table.home,
        "places": _vectors(table),
        "countries": ",".join(countries),
        "place_header": PLACE_HEADER,
        "country_header": COUNTRY_HEADER,
        "origin_header": ORIGIN_HEADER,
    }


def _vectors(table: EntryTable) -> str:
    return ",".join(_vector(region, *place) for region, place in table.places.items())


def _vector(region: str, north: float, east: float) -> str:
    lat, lon = radians(north), radians(east)
    return f'{{"{region}",{cos(lat) * cos(lon):.9f},{cos(lat) * sin(lon):.9f},{sin(lat):.9f}}}'
