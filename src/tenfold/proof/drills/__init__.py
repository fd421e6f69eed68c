"""Drills: harm done on purpose, measured from outside, undone again. Stage: harm -> what came of it.

A `Drill` is data; `drills_for` tells which of them a project can do. `run_drill` plays one on a `Stage`: `SimStage` (a simulator with a
seed) or `RealStage` (the project that runs here), and gives a `DrillResult`.
"""

from tenfold.proof.drills.catalogue import NAMES, Offer, drills_for
from tenfold.proof.drills.drill import Act, Drill, Measure, Probe, Ship, Sickness, Strike, Surge
from tenfold.proof.drills.result import DrillResult, Finding, Phase, Traffic
from tenfold.proof.drills.runner import run_drill
from tenfold.proof.drills.stage import DrillRefused, Look, Stage

__all__ = [
    "NAMES",
    "Act",
    "Drill",
    "DrillRefused",
    "DrillResult",
    "Finding",
    "Look",
    "Measure",
    "Offer",
    "Phase",
    "Probe",
    "Ship",
    "Sickness",
    "Stage",
    "Strike",
    "Surge",
    "Traffic",
    "drills_for",
    "run_drill",
]
