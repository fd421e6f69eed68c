"""Latencies counted in the buckets of an HDR histogram: cheap to record, exact to merge.

Stage: `record` counts with these in each process; `merge` adds up what the processes send.

The buckets are those of HdrHistogram with three digits (Tene; `sub_bucket_count` 2048): values below 2**11 us have one each,
above there are 2048 for each doubling. Only buckets that were hit are kept. The library itself takes four times as long
to record, 190 KB for each histogram, and its objects know one another, so that they stay for ever with the collector off.
"""

from collections.abc import Iterable, Mapping

from tenfold.proof.load.result import Latency

LATENCY_US_MAX = 3_600_000_000
"""An hour."""
_PRECISE_BITS = 11

Counts = Mapping[int, int]
"""How often each bucket was hit, by the lowest of its values in microseconds."""


class Histogram:
    """Latencies up to 1 hour, exact to 3 digits."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})

    @property
    def counts(self) -> Counts:
        """What `add` takes: plain data."""
        return self._counts

    def record(self, latency_s: float) -> None:
        """Count one latency; above an hour it counts as an hour, below zero as zero."""
        latency_us = int(latency_s * 1e6)
        shift_bits = latency_us.bit_length() - _PRECISE_BITS
        if latency_us > LATENCY_US_MAX:
            latency_us = _low_us(LATENCY_US_MAX)
        elif shift_bits > 0:
            latency_us = latency_us >> shift_bits << shift_bits
        elif latency_us < 0:
            latency_us = 0
        counts = self._counts
        counts[latency_us] = counts.get(latency_us, 0) + 1

    def add(self, counts: Counts) -> None:
        """Count everything that another one has counted."""
        own = self._counts
        for latency_us, count in counts.items():
            own[latency_us] = own.get(latency_us, 0) + count

    def percentiles_ms(self, *percentiles: float) -> tuple[float | None, ...]:
        """The latencies in ms that the given percentages of records, in rising order, do not exceed; None without records."""
        total = sum(self._counts.values())
        if not total:
            return (None,) * len(percentiles)
        found: list[float | None] = []
        buckets = iter(sorted(self._counts.items()))
        reached, latency_us = 0, 0
        for percentile in percentiles:
            # As HdrHistogram has it: to the nearest record, and the first at least.
            wanted = max(int(percentile / 100 * total + 0.5), 1)
            while reached < wanted:
                latency_us, count = next(buckets)
                reached += count
            found.append(_highest_us(latency_us) / 1000)
        return tuple(found)

    def latency(self) -> Latency:
        """The distribution in figures."""
        total = sum(self._counts.values())
        mean_us = sum(_middle_us(low_us) * count for low_us, count in self._counts.items()) / total if total else None
        p50, p90, p95, p99, p999, highest = self.percentiles_ms(50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
        return Latency(total, None if mean_us is None else round(mean_us / 1000, 3), p50, p90, p95, p99, p999, highest)


def added(parts: Iterable[Counts]) -> Histogram:
    """One that has counted all that these have."""
    histogram = Histogram()
    for counts in parts:
        histogram.add(counts)
    return histogram


def _low_us(latency_us: int) -> int:
    """The lowest value that counts in the same bucket."""
    shift_bits = max(latency_us.bit_length() - _PRECISE_BITS, 0)
    return latency_us >> shift_bits << shift_bits


def _highest_us(low_us: int) -> int:
    """The highest value that counts in the same bucket."""
    return low_us + (1 << max(low_us.bit_length() - _PRECISE_BITS, 0)) - 1


def _middle_us(low_us: int) -> float:
    return (low_us + _highest_us(low_us)) / 2
