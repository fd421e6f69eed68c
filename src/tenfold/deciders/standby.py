"""Which regions hold a voter and a control plane that stands by. Stage: decide, before the engines are kept."""

from tenfold.deciders.memory import RegionsMemory
from tenfold.facts import Snapshot
from tenfold.model import Model


def standby_engines(model: Model, snapshot: Snapshot, regions: RegionsMemory) -> tuple[str, ...]:
    """The voters and control planes that should run, by engine key; none where there is one region."""
    return ()
