"""Random numbers that are the same for a user however many processes share the users, and in whatever order they act.

Python's own generator keeps 2.5 KB of state, which is too much for each of 100,000 users; SplitMix64 keeps one number
(Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 16) and passes BigCrush.
"""

import math

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


class Draws:
    """A stream of draws, fixed by a seed and a number."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, number: int) -> None:
        # Streams of neighbouring numbers must not be the same one, some draws apart.
        self._state = _mixed(_mixed(seed & _MASK) ^ _mixed((number * _GAMMA + 1) & _MASK))

    def uniform(self) -> float:
        """A number in 0..1, 1 not among them."""
        self._state = (self._state + _GAMMA) & _MASK
        return float((_mixed(self._state) >> 11) * 2.0**-53)

    def pause_s(self, mean_s: float) -> float:
        """A pause, exponential with this mean."""
        return -math.log(1.0 - self.uniform()) * mean_s


def _mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)
