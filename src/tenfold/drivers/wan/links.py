"""What happens to a packet on its way from one node to another: late, lost, queued, cut. Stage: effects -> world, below the drivers.

A link is one direction. Changes lie upon its own properties for as long as they are held, and add up: delays and jitters are
summed, losses happen one after the other, the smallest bandwidth counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import random

QUEUE_PACKETS_MAX = 16_384
"""So many packets are on their way on one link at the most; further ones are dropped, as a full router does."""

BUFFER_MS = 200.0
"""How long a packet waits at the most for its turn where bandwidth is scarce; what would wait longer is dropped."""


@dataclass(frozen=True, slots=True)
class Change:
    """`extra_ms` later, `jitter_ms` more or less than that, `loss_ratio` (0..1) of packets lost, `bandwidth_bytes_per_s` at the
    most (None: any), nothing at all when `is_cut`."""

    extra_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_ratio: float = 0.0
    bandwidth_bytes_per_s: float | None = None
    is_cut: bool = False

    def __post_init__(self) -> None:
        bandwidth = self.bandwidth_bytes_per_s
        sane = 0 <= self.extra_ms <= 60_000 and 0 <= self.jitter_ms <= 60_000 and 0 <= self.loss_ratio <= 1
        if not sane or (bandwidth is not None and not bandwidth > 0):
            raise ValueError(f"no network can be like this: {self}")


@dataclass(slots=True)
class Link:
    """One direction between two nodes; `out` is the device into which it delivers, `delay_ms` its own way."""

    source: str
    target: str
    out: int
    delay_ms: float
    changes: dict[int, Change] = field(default_factory=dict)
    queued: int = 0
    packets: int = 0
    lost: int = 0
    dropped: int = 0
    _delay_ns: int = 0
    _jitter_ns: int = 0
    _loss_ratio: float = 0.0
    _ns_per_byte: float = 0.0
    _is_cut: bool = False
    _free_ns: int = 0
    _last_ns: int = 0

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Take `delay_ms` and `changes` in."""
        changes = self.changes.values()
        self._delay_ns = round((self.delay_ms + sum(change.extra_ms for change in changes)) * 1e6)
        self._jitter_ns = round(sum(change.jitter_ms for change in changes) * 1e6)
        self._loss_ratio = _lost_at_all(change.loss_ratio for change in changes)
        bandwidths = [c.bandwidth_bytes_per_s for c in changes if c.bandwidth_bytes_per_s is not None]
        self._ns_per_byte = 1e9 / min(bandwidths) if bandwidths else 0.0
        self._is_cut = any(change.is_cut for change in changes)
        # Whoever was waiting behind a packet that is very late need not wait for it any more.
        self._last_ns = self._free_ns = 0

    def send(self, now_ns: int, size_bytes: int) -> int:
        """When a packet that is sent now arrives, in nanoseconds of the monotonic clock; 0 when it never does.

        Packets of one link never overtake one another, also where jitter would have them do so: that is how routers queue.
        """
        self.packets += 1
        if self._is_cut or (self._loss_ratio and random() < self._loss_ratio):
            self.lost += 1
            return 0
        if self.queued >= QUEUE_PACKETS_MAX:
            self.dropped += 1
            return 0
        due_ns = now_ns + self._delay_ns
        if self._ns_per_byte:
            waits_ns = max(0, self._free_ns - now_ns)
            if waits_ns > BUFFER_MS * 1e6:
                self.dropped += 1
                return 0
            self._free_ns = now_ns + waits_ns + int(size_bytes * self._ns_per_byte)
            due_ns += self._free_ns - now_ns
        if self._jitter_ns:
            due_ns += int((2 * random() - 1) * self._jitter_ns)
        self._last_ns = due_ns = max(due_ns, self._last_ns, 1)
        self.queued += 1
        return due_ns


def _lost_at_all(ratios: Iterable[float]) -> float:
    """The share that is lost when each of `ratios` is lost of what the ones before let through."""
    through = 1.0
    for ratio in ratios:
        through *= 1.0 - ratio
    return 1.0 - through
