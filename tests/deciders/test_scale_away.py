"""What a region that is out keeps."""

from dataclasses import replace

import pytest

from tenfold.deciders.decide import _scaled
from tenfold.deciders.memory import Memory, PoolScale, RegionMemory, RegionsMemory, RegionState, ScaleMemory
from tenfold.effects import Decision

HAD = {"web@east": PoolScale(20, "so it was", 0.0), "web@west": PoolScale(10, "so it was", 0.0)}


def chosen(east: int, west: int) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """What a scaler chose, and its words."""
    pools = {"web@east": replace(HAD["web@east"], wanted=east), "web@west": replace(HAD["web@west"], wanted=west)}
    return ScaleMemory(pools), tuple(Decision("", "scale", key, (), "x") for key in pools)


@pytest.mark.parametrize("state", [RegionState.OUT, RegionState.RETURNING])
def test_a_region_that_is_out_keeps_what_it_had(state: RegionState) -> None:
    """Nobody asks it for anything, and everybody will again: its number does not fall, another region's does."""
    memory = Memory(
        scale=ScaleMemory(HAD), regions=RegionsMemory({"east": RegionMemory(state), "west": RegionMemory()})
    )
    scaled, said = _scaled(chosen(2, 2), memory)
    assert (scaled.pools["web@east"].wanted, scaled.pools["web@west"].wanted) == (20, 2)
    assert [decision.subject for decision in said] == ["web@west"]


def test_more_is_never_held_back() -> None:
    """A region on its way back may have more."""
    memory = Memory(scale=ScaleMemory(HAD), regions=RegionsMemory({"east": RegionMemory(RegionState.RETURNING)}))
    scaled, said = _scaled(chosen(25, 10), memory)
    assert scaled.pools["web@east"].wanted == 25
    assert len(said) == 2


@pytest.mark.parametrize("state", [RegionState.SERVING, RegionState.DRAINED])
def test_one_that_serves_or_was_drained_by_a_person_does_not(state: RegionState) -> None:
    """Who drains a region means it, maybe for days."""
    memory = Memory(scale=ScaleMemory(HAD), regions=RegionsMemory({"east": RegionMemory(state)}))
    scaled, _ = _scaled(chosen(2, 10), memory)
    assert scaled.pools["web@east"].wanted == 2
