"""The console over HTTP: the page, the state and what changes of it, the past, metrics out and in, what people ask for."""

from aiohttp import web
from aiohttp.typedefs import Handler

from tenfold.console.api import Api, Wrong, as_json
from tenfold.console.archive import Busy
from tenfold.console.contract import Trouble
from tenfold.console.guard import Guard, is_foreign, with_headers
from tenfold.console.routes import ROUTES, Access, Route
from tenfold.loop import JournalError

BODY_BYTES_MAX = 16 * 1024
KEEP_ALIVE_S = 30.0


def application(api: Api) -> web.Application:
    """All routes, each behind its guard."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[with_headers, _with_sentences])
    for route in ROUTES:
        # aiohttp's way to say that the rest of the path is the name.
        path = route.path.replace("{name}", "{name:.+}")
        app.router.add_route(route.method, path, _guarded(route, getattr(api, route.name), api.guard))
    return app


def _guarded(route: Route, handler: Handler, guard: Guard) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        _check(route, request, guard)
        return await handler(request)

    return guarded


def _check(route: Route, request: web.Request, guard: Guard) -> None:
    """Raise `Wrong` when this may not be asked."""
    if not guard.names_it(request):
        raise Wrong(403, "the console is not called that: ask it by its own address, or name this one in the blueprint")
    if not route.is_page and is_foreign(request):
        raise Wrong(403, "a page of another origin may not ask this")
    has_token = guard.has_token(request)
    if route.access is Access.ACT and not has_token:
        raise Wrong(401, "this needs the console's token: `tenfold console --token` shows it")
    if route.access is Access.READ and not guard.may_read(request):
        raise Wrong(401, "sign in with the console's token: `tenfold console --token` shows it")
    if route.access is Access.HERE and not (has_token or guard.is_from_here(request)):
        raise Wrong(401, "from another machine this needs the console's token: `tenfold console --token` shows it")
    # A page of another site can send a form to loopback, but not this content type without being asked first.
    if route.takes is not None and request.content_type != "application/json":
        raise Wrong(415, "send content-type: application/json")


@web.middleware
async def _with_sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as a sentence."""
    try:
        return await handler(request)
    except Wrong as wrong:
        return as_json(Trouble(str(wrong)), wrong.status)
    except (JournalError, Busy) as error:
        return as_json(Trouble(str(error)), 503)
    except web.HTTPRequestEntityTooLarge:
        return as_json(Trouble(f"the body is larger than {BODY_BYTES_MAX} bytes"), 413)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if request.path.startswith("/api/"):
            return as_json(
                Trouble(f"there is no {request.method} {request.path[:100]}: see /openapi.json"), error.status
            )
        raise
