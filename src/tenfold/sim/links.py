"""How the ways between a false world's gateways are seen: probes a few times a second, each drawn by seed while something is wrong."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import median

from tenfold.facts import LinkSeen
from tenfold.sim.wan import RESENT_AFTER_MS, Wan

PROBES_PER_S = 4.0
PROBES_MAX = 10
ANSWERED_WITHIN_S = 3.0
"""`LinkSeen.rtt_ms` is the median of the answers of so many seconds."""
LATE_RATIO, LATE_MS = 2.0, 100.0
"""An answer is late after twice the usual and 100 ms more."""

Probe = tuple[float, float | None]
"""When it was sent (elapsed seconds), and its round trip in ms; None when no answer came."""


class Links:
    """The probes of each way that is, or was a moment ago, not as usual; all others are answered in their usual time."""

    def __init__(self, regions: Sequence[str], wan: Wan, random: Random) -> None:
        self._pairs = [(a, b) for a in regions for b in regions if a != b]
        self._wan, self._random = wan, random
        self._probes: dict[tuple[str, str], deque[Probe]] = {}
        self._last: dict[tuple[str, str], LinkSeen] = {}

    def probe(self, seconds: float, now_s: float, answers: Mapping[str, bool]) -> None:
        """Let `seconds` of probing pass; `answers` tells which regions' gateways answer."""
        if not self._wan.is_harmed and not self._probes and all(answers.values()):
            return
        count = max(1, min(PROBES_MAX, round(PROBES_PER_S * seconds)))
        for pair in self._pairs:
            a, b = pair
            well = answers[a] and answers[b] and self._wan.is_well(a) and self._wan.is_well(b)
            probes = self._probes.get(pair)
            if well and probes is None:
                continue
            if probes is None:
                probes = self._probes[pair] = deque(
                    ((now_s - seconds, self._wan.usual_ms(a, b)) for _ in range(PROBES_MAX)), PROBES_MAX
                )
            for number in range(count):
                probes.append((now_s - seconds * (1 - (number + 1) / count), self._round_trip_ms(a, b, answers)))
            if well and all(rtt_ms == self._wan.usual_ms(a, b) for _, rtt_ms in probes):
                del self._probes[pair]

    def facts(
        self, at: float, now_s: float, runs: Callable[[str], bool], answers: Mapping[str, bool]
    ) -> tuple[LinkSeen, ...]:
        """What the observer of the ways would tell: of each pair of gateways that run; what one that hangs said stays as it was."""
        there = {a for a in answers if runs(a)}
        asked = [pair for pair in self._pairs if pair[0] in there and pair[1] in there]
        seen = {pair: self._seen(pair, at, now_s) for pair in asked if answers[pair[0]]}
        self._last = {pair: fact for pair in asked if (fact := seen.get(pair) or self._last.get(pair)) is not None}
        return tuple(self._last.values())

    def _seen(self, pair: tuple[str, str], at: float, now_s: float) -> LinkSeen:
        a, b = pair
        usual_ms, probes = self._wan.usual_ms(a, b), self._probes.get(pair)
        if probes is None:
            return LinkSeen(a, b, at, PROBES_MAX, usual_ms, 0.0)
        bound_ms = LATE_RATIO * usual_ms + LATE_MS
        late = sum(rtt_ms is None or rtt_ms > bound_ms for _, rtt_ms in probes)
        answered = [rtt_ms for sent_s, rtt_ms in probes if rtt_ms is not None and now_s - sent_s <= ANSWERED_WITHIN_S]
        return LinkSeen(a, b, at, len(probes), median(answered) if answered else None, late / len(probes))

    def _round_trip_ms(self, a: str, b: str, answers: Mapping[str, bool]) -> float | None:
        if not (answers[a] and answers[b] and self._wan.passes(a, b)):
            return None
        lost = self._wan.loss_ratio(a, b)
        # A lost packet is sent again: the answer comes, but late. Twice in a row is as good as never.
        resent = sum(self._random.random() < 1 - (1 - lost) ** 2 for _ in range(2)) if lost > 0 else 0
        return None if resent == 2 else self._wan.rtt_ms(a, b) + resent * RESENT_AFTER_MS
