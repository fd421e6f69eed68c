"""The ladder: what is done about an instance that fails, rung by rung, and the limits within which it is done. Tables, and who reads them.

    it ended -> restart in its place (twice) -> replace it by a new one -> move to another region -> ask a person
    it hangs, is unhealthy, or does not come up  ->  replace ...

Each failure in a row climbs. What keeps failing though each start works (it serves for a while and ends again) climbs as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tenfold.deciders.failures import GIVE_UP_AFTER
from tenfold.deciders.memory import Rung

RESTARTS_MAX = 2
"""So often one instance is restarted in its place before a new one takes it."""
MOVE_AFTER = 4
"""Failures in a row in one region after which its capacity comes up in others."""

TOUCHED_RATIO = 1 / 3
"""At most this share of a pool (but always one) is taken away or on its way back at a time, of what is ill and still there."""
WINDOW_S = 600.0
"""Restarts, replacements and moves are counted over this long."""
POOL_REMEDIES_MIN = 12
ALL_REMEDIES_MIN = 40
REMEDIES_EACH = 3
"""In a window a pool, and all pools together, get so many remedies for each instance wanted, or the minimum where that is more."""
AT_ONCE_MIN = 8
"""So many starts that mend something may be under way at once, or a third of all instances where that is more."""
BACK_S = 30.0
"""So long after a store or a region was away what is unhealthy for it is left alone: health is asked every few seconds."""
BUSY_S = 60.0
"""So long what is unhealthy is left alone where instances have more at hand than they are sized for: without new requests it gets well by
itself if load was what ailed it, and to take it away would put its share on the others."""
ALONE_S = 600.0
"""The same where no other is ready, as long as it still answers: another in its place would have as much to bear, once it has started."""
SHORT_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Where nothing more can be started for now, the surest need tries again after so long, each time longer."""


class Ill(StrEnum):
    """What may be wrong with an instance: its process ENDED by itself, is FROZEN (stopped), fails its checks (UNHEALTHY), was not ready
    in time (LATE), or could not be started (REFUSED)."""

    ENDED = "ended"
    FROZEN = "frozen"
    UNHEALTHY = "unhealthy"
    LATE = "late"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: what it does, in words, and after how many failures in a row (of an instance, for a restart) the next one is taken."""

    rung: Rung
    does: str
    until: int | None


LADDER = (
    Step(
        Rung.RESTART,
        "it is started again in its place: same name, same port (another where a program has taken it)",
        RESTARTS_MAX,
    ),
    Step(Rung.REPLACE, "it is ended, and a new one takes its place", MOVE_AFTER),
    Step(Rung.MOVE, "other regions run more of it for as long as this one can't", GIVE_UP_AFTER),
    Step(Rung.ASK, "a person is asked, and it is tried only now and then", None),
)
"""From the cheapest to the last. Replacing goes on beside a move."""

FIRST: Mapping[Ill, Rung] = {
    Ill.ENDED: Rung.RESTART,
    Ill.FROZEN: Rung.REPLACE,
    Ill.UNHEALTHY: Rung.REPLACE,
    Ill.LATE: Rung.REPLACE,
    Ill.REFUSED: Rung.REPLACE,
}
"""Where each illness steps on to the ladder."""


def rung_for(ill: Ill, restarts: int, count: int) -> Rung:
    """What is to be done about one instance that was restarted `restarts` times, at the `count`-th failure in a row of its line."""
    if count >= GIVE_UP_AFTER:
        return Rung.ASK
    if FIRST[ill] is Rung.RESTART and restarts < RESTARTS_MAX and count <= RESTARTS_MAX:
        return Rung.RESTART
    return Rung.REPLACE


def number_of(rung: Rung) -> str:
    """`rung 2 of 4, replace`."""
    place = next(i for i, step in enumerate(LADDER, 1) if step.rung is rung)
    return f"rung {place} of {len(LADDER)}, {rung}"


def touched_max(wanted: int) -> int:
    """How many of a pool of `wanted` may be taken away or be coming back at a time."""
    return max(1, math.floor(wanted * TOUCHED_RATIO))


def remedies_max(wanted: int, least: int) -> int:
    """How many remedies a window has, for `wanted` instances."""
    return max(least, REMEDIES_EACH * wanted)


def at_once_max(wanted: int) -> int:
    """How many starts that mend something may be under way, where `wanted` instances are wanted in all."""
    return max(AT_ONCE_MIN, math.floor(wanted * TOUCHED_RATIO))
