"""How Envoy tells whose a request is: by the tenant that its header names, or its cookie. A part of what residency (`render.envoy_pools`)
and tiers (`render.envoy_tiers`) become.

Both are the client's own word. Ids are matched letter by letter, as the blueprint writes them.
"""

import re
from collections.abc import Sequence

from tenfold.render.envoy_listener import JsonObject

TENANT_HEADER = "x-tenfold-tenant"
TENANT_COOKIE = "tenfold-tenant"


def by_header(tenants: Sequence[str]) -> JsonObject:
    """That the header names one of these."""
    return _matches(TENANT_HEADER, _any_of(tenants))


def by_cookie(tenants: Sequence[str]) -> JsonObject:
    """That the cookie names one of these."""
    return _matches("cookie", rf'(?:.*[;,\s])?{TENANT_COOKIE}="?(?:{_any_of(tenants)})"?(?:[;,\s].*)?')


def _any_of(tenants: Sequence[str]) -> str:
    return "|".join(re.escape(tenant) for tenant in tenants)


def _matches(header: str, regex: str) -> JsonObject:
    return {
        "single_predicate": {
            "input": header_input(header),
            "value_match": {"safe_regex": {"google_re2": {}, "regex": regex}},
        }
    }


def header_input(name: str) -> JsonObject:
    """The value of a request's header, for a matcher."""
    return {
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
            "header_name": name,
        },
    }
