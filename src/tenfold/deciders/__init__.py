"""Model + snapshot + memory become decisions, each with its reason.
Floor 2, pure; `decide` alone composes the deciders."""

from tenfold.deciders.decide import Decided, decide, settled
from tenfold.deciders.memory import HealMemory, Intent, Member, MemberState, Memory, RegionState, ReleaseMemory

__all__ = [
    "Decided",
    "HealMemory",
    "Intent",
    "Member",
    "MemberState",
    "Memory",
    "RegionState",
    "ReleaseMemory",
    "decide",
    "settled",
]
