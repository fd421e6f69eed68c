"""What one instance of an app holds at the target latency, where it bends, and what several hold: measured on a copy of the project.

Stage: `measure` runs trials of the project, `search` finds the highest load that each holds, `Measurement.fact` is what is kept.
"""

from tenfold.proof.measure.copy import stores_of_ones_own
from tenfold.proof.measure.search import Goal, Held, NothingHeld, Pace, Point, Standing, search
from tenfold.proof.measure.session import (
    Count,
    Measurement,
    Question,
    Told,
    cpu_ms,
    default_scenario,
    machine_of,
    measure,
    share_of,
    shown,
)

__all__ = [
    "Count",
    "Goal",
    "Held",
    "Measurement",
    "NothingHeld",
    "Pace",
    "Point",
    "Question",
    "Standing",
    "Told",
    "cpu_ms",
    "default_scenario",
    "machine_of",
    "measure",
    "search",
    "share_of",
    "shown",
    "stores_of_ones_own",
]
