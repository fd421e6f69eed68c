"""History becomes facts about what is coming or odd. Floor 2, pure."""

from tenfold.estimators.routes import estimate_routes, route_of

__all__ = ["estimate_routes", "route_of"]
