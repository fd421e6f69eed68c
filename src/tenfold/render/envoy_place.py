"""Where a request's client is: by the word of a sender who is trusted, else by the country of its address, else nowhere known. A
part of what `render.envoy_entry` makes of an EntryTable.

A script runs only for requests that bring a place, or for all of them where a GeoIP database is given: Envoy's filter is off,
and a route that stands before all others turns it on. The script replaces what the client said by the origin, and has the
request routed anew.
"""

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

_SCRIPT = """\
local home = "%(home)s"
-- Unit vectors: the nearest place by great circle is the one with the largest dot product.
local places = {%(places)s}
local countries = {%(countries)s}
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

function envoy_on_request(handle)
  local headers = handle:headers()
  local origin = nearest(headers:get("%(place_header)s")) or countries[headers:get("%(country_header)s") or ""] or home
  headers:remove("%(place_header)s")
  headers:remove("%(country_header)s")
  headers:replace("%(origin_header)s", origin)
  handle:clearRouteCache()
end
"""


def filters(table: EntryTable, is_trusted: bool) -> list[JsonObject]:
    """Those that connections of senders, trusted or not, need to place their clients."""
    if not (table.geoip or (is_trusted and table.places)):
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
    if not (table.geoip or (table.trust and table.places)):
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
        "places": ",".join(_vector(region, *place) for region, place in table.places.items()),
        "countries": ",".join(countries),
        "place_header": PLACE_HEADER,
        "country_header": COUNTRY_HEADER,
        "origin_header": ORIGIN_HEADER,
    }


def _vector(region: str, north: float, east: float) -> str:
    lat, lon = radians(north), radians(east)
    return f'{{"{region}",{cos(lat) * cos(lon):.9f},{cos(lat) * sin(lon):.9f},{sin(lat):.9f}}}'
