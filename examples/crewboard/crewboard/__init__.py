"""Crewboard: projects and tasks for several companies, with a live feed.

`crewboard:app` is the ASGI app. It is built when it is first asked for, so that the worker, the migrations and
the nightly job, which live in this package too, start without loading the web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    app: ASGIApp


def __getattr__(name: str) -> ASGIApp:
    """Build the app for `crewboard:app`."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from crewboard.web import create_app

    built = globals()["app"] = create_app()
    return built
