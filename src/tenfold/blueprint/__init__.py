"""Text becomes a `Model`, or problems that a person can fix. Floor 2."""

from tenfold.blueprint.acted import not_acted_on
from tenfold.blueprint.editors import schema
from tenfold.blueprint.load import Beside, app_name, load
from tenfold.blueprint.problem import BlueprintError, Problem
from tenfold.blueprint.starter import NotRecognised, Starter, is_read, starter

__all__ = [
    "Beside",
    "BlueprintError",
    "NotRecognised",
    "Problem",
    "Starter",
    "app_name",
    "is_read",
    "load",
    "not_acted_on",
    "schema",
    "starter",
]
