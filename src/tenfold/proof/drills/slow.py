"""From when on an answer is a slow one."""

from tenfold.model import Model

MARGIN_MS = 250.0
"""Beyond the slowest of a thousand normal answers: what a first try, given up for a second one elsewhere, may cost."""


def slow_beyond_ms(model: Model, normal_p999_ms: float | None) -> float | None:
    """An answer that takes longer is slow: beyond what was normal before with a margin, and beyond the target; None when neither is
    known."""
    target_ms = model.targets.latency.p95_ms
    if normal_p999_ms is None:
        return target_ms
    return max(normal_p999_ms + MARGIN_MS, target_ms or 0.0)


def later_than(p99_ms: float | None, normal_p999_ms: float | None) -> float | None:
    """How much longer the slowest answers take than was normal, in milliseconds; None while either is not known."""
    return None if p99_ms is None or normal_p999_ms is None else max(0.0, p99_ms - normal_p999_ms)
