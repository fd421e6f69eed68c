"""History becomes facts about what is coming or odd. Floor 2, pure."""

from tenfold.estimators.routes import RouteTimes, prefix_of

__all__ = ["RouteTimes", "prefix_of"]
