"""Which regions hold a voter and a control plane that stands by. Stage: decide, before the engines are kept."""

from collections.abc import Container

from tenfold.deciders.memory import RegionMemory, RegionsMemory, RegionState
from tenfold.facts import EngineState, Snapshot
from tenfold.model import Model
from tenfold.wire.lease import ENTRY

VOTERS_MAX = 5
"""More than five make no region's loss less likely to matter, and each must be asked at every renewal."""
KINDS = ("voter", "control")

_WORSE = {RegionState.SERVING: 0, RegionState.RETURNING: 1, RegionState.DRAINED: 2, RegionState.OUT: 3}


def voter_places(model: Model) -> tuple[str, ...]:
    """Where voters of the control planes' lease stand, an odd number of them; none where there is one region.

    With two regions the third stands beside the global entry: with one in each, the loss of either would leave no majority.
    """
    regions = tuple(model.regions)[:VOTERS_MAX]
    match len(regions):
        case 1:
            return ()
        case 2:
            return (*regions, ENTRY)
        case count:
            return regions if count % 2 else regions[:-1]


def standby_engines(model: Model, snapshot: Snapshot, regions: RegionsMemory) -> tuple[str, ...]:
    """The voters and the control plane that should run, by engine key; none where there is one region.

    One stands by, elsewhere than the one that leads: in a region that serves, where it stands already, beside a voter that answers.
    """
    if not model.is_spread:
        return ()
    voters = tuple(f"voter/{place}" for place in voter_places(model))
    others = [region for region in model.regions if region != snapshot.led_from]
    if not snapshot.led_from or not others:
        return voters

    def rank(region: str) -> tuple[int, bool, bool]:
        judged = regions.regions.get(region, RegionMemory())
        voter = snapshot.engines.get(f"voter/{region}")
        dumb = voter is not None and voter.state is not EngineState.READY
        return _WORSE[judged.state], not _lives(snapshot, f"control/{region}"), dumb

    return (*voters, f"control/{min(others, key=rank)}")


def stray_engines(snapshot: Snapshot, engines: Container[str]) -> tuple[str, ...]:
    """Voters and control planes that are there and not among `engines`, by key: nothing needs them any more."""
    return tuple(key for key, seen in snapshot.engines.items() if seen.kind in KINDS and key not in engines)


def _lives(snapshot: Snapshot, key: str) -> bool:
    seen = snapshot.engines.get(key)
    return seen is not None and seen.state is not EngineState.EXITED
