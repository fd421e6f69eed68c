"""Latencies counted in the buckets of an HDR histogram, cheap to record, exact to merge.

Stage: `record` counts with these in each process; `merge` adds up what the processes send.
"""

from hdrh.histogram import HdrHistogram

from tenfold.proof.load.result import Latency

LATENCY_US_MAX = 3_600_000_000
"""An hour."""
_DIGITS = 3
_PRECISE_BITS = 11
"""Values below 2**11 = 2048 us have a bucket each; above, 2048 buckets for each doubling: HdrHistogram's own layout for
three digits (its `sub_bucket_count`)."""


class Histogram:
    """Latencies from 1 microsecond to 1 hour, exact to 3 digits.

    What is recorded is first counted by bucket in a dict, which takes a quarter of HdrHistogram's own time and, as most
    runs touch some hundred buckets, a tenth of its 190 KB; HdrHistogram gets it when it is asked something.
    """

    __slots__ = ("_fresh", "_hdr")

    def __init__(self) -> None:
        self._fresh: dict[int, int] = {}
        self._hdr: HdrHistogram | None = None

    def record(self, latency_s: float) -> None:
        """Count one latency; above an hour it counts as an hour."""
        latency_us = int(latency_s * 1e6)
        shift_bits = latency_us.bit_length() - _PRECISE_BITS
        if shift_bits > 0:
            latency_us = latency_us >> shift_bits << shift_bits
        fresh = self._fresh
        fresh[latency_us] = fresh.get(latency_us, 0) + 1

    def encoded(self) -> str:
        """All of it, in HdrHistogram's own compressed text (V2, base64)."""
        text: bytes = self._poured().encode()
        return text.decode("ascii")

    def add(self, encoded: str) -> None:
        """Count everything that another one has counted."""
        self._poured().decode_and_add(encoded)

    def percentiles_ms(self, *percentiles: float) -> tuple[float | None, ...]:
        """The latencies in ms that the given percentages of records do not exceed; None without records."""
        hdr = self._poured()
        if not hdr.total_count:
            return (None,) * len(percentiles)
        found = hdr.get_percentile_to_value_dict(percentiles)
        return tuple(found[percentile] / 1000 for percentile in percentiles)

    def latency(self) -> Latency:
        """The distribution in figures."""
        hdr = self._poured()
        mean_ms = hdr.get_mean_value() / 1000 if hdr.total_count else None
        p50, p90, p95, p99, p999, highest = self.percentiles_ms(50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
        return Latency(hdr.total_count, mean_ms, p50, p90, p95, p99, p999, highest)

    def _poured(self) -> HdrHistogram:
        if self._hdr is None:
            self._hdr = HdrHistogram(1, LATENCY_US_MAX, _DIGITS)
        for latency_us, count in self._fresh.items():
            self._hdr.record_value(min(max(latency_us, 0), LATENCY_US_MAX), count)
        self._fresh.clear()
        return self._hdr
