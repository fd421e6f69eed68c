"""The OpenAPI 3.1 document of the console's API, made from its routes and its types. Stage: routes -> other people's programs."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec

from tenfold.console.contract import Trouble
from tenfold.console.routes import ROUTES, Access, Route, Says

ABOUT = """The control plane of one project: its state, what changes of it, its past, and what may be asked of it. Times are seconds since
the epoch, latencies milliseconds, ratios 0..1; a figure that is not known is null. On loopback reading needs no token; elsewhere
everything does."""


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    routes = [route for route in ROUTES if not route.is_page]
    kinds = list(dict.fromkeys(kind for route in routes for kind in _kinds(route)))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tenfold console", "version": version("tenfold"), "description": " ".join(ABOUT.split())},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _kinds(route: Route) -> Iterator[Any]:
    """The types of what it takes and answers."""
    if route.takes is not None:
        yield route.takes
    yield from (says.body for says in _says(route).values() if says.body is not None)


def _says(route: Route) -> Mapping[int, Says]:
    """Its answers, with those that every route of its kind may give."""
    found = dict(route.says)
    if route.access is not Access.ANY or route.takes is not None:
        found[401] = Says("The token is missing or wrong.", Trouble)
        found[403] = Says("A page of another origin asks, or by a name that is not the console's.", Trouble)
    if route.takes is not None:
        found[413] = Says("The body is too large.", Trouble)
        found[415] = Says("The body is not `application/json`.", Trouble)
    return dict(sorted(found.items()))


def _operation(route: Route, by_kind: Mapping[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": f"{route.method.lower()}_{route.name}", "summary": route.doc}
    if route.parameters:
        made["parameters"] = [
            {
                "name": p.name,
                "in": "path" if p.is_path else "query",
                "required": p.is_path,
                "description": p.doc,
                "schema": dict(p.schema),
            }
            for p in route.parameters
        ]
    if route.takes is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": by_kind[route.takes]}}}
    made["responses"] = {str(status): _answer(says, by_kind) for status, says in _says(route).items()}
    if route.access is Access.ACT:
        made["security"] = [{"token": []}]
    return made


def _answer(says: Says, by_kind: Mapping[Any, Any]) -> dict[str, Any]:
    if says.body is not None:
        return {"description": says.doc, "content": {says.media: {"schema": by_kind[says.body]}}}
    if says.media == "application/json":
        return {"description": says.doc}
    return {"description": says.doc, "content": {says.media: {"schema": {"type": "string"}}}}
