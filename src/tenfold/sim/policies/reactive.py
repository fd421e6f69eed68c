"""The blueprint's triggers alone: what Tenfold itself does, without its forecast."""

from dataclasses import replace

from tenfold.deciders.memory import ScaleMemory
from tenfold.deciders.scale import scale
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model, Release


def reactive(
    model: Model, release: Release, snapshot: Snapshot, memory: ScaleMemory
) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """`deciders.scale`, for whom nothing is forecast. As pure as that is."""
    return scale(model, release, replace(snapshot, forecasts={}), memory)
