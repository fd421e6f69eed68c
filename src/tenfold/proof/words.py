"""How a proof and a report write their figures, for people: `312 ms`, `99.97%`, `4 min 10 s`. Stage: figures -> sentences."""

import math
import time


def ms(value_ms: float) -> str:
    """`0.42 ms`, `8.5 ms`, `312 ms`, `1.5 s`."""
    if value_ms < 1:
        return f"{value_ms:.2g} ms"
    if value_ms < 10:
        return f"{value_ms:.2g} ms" if value_ms < 9.95 else "10 ms"
    return f"{value_ms:.0f} ms" if value_ms < 999.5 else f"{value_ms / 1000:.3g} s"


def percent(ratio: float) -> str:
    """`99.99%`, `0.1%`: as many digits as it has."""
    return f"{ratio * 100:.7g}%"


def percent_at_least(ratio: float) -> str:
    """A share (0..1) close to 1, rounded down: what falls short of 99.99% never reads as 99.99%."""
    missing = 1.0 - ratio
    digits = 2 if missing <= 0 else max(1 - math.floor(math.log10(missing * 100)), 1)
    scale = 10.0 ** min(digits, 9)
    return f"{math.floor(ratio * 100 * scale + 1e-6) / scale:.{min(digits, 9)}f}".rstrip("0").rstrip(".") + "%"


def percent_at_most(ratio: float) -> str:
    """A small share (0..1), rounded up, to two digits that count."""
    if ratio <= 0:
        return "0%"
    # Nobody has seen so many requests that less could be told.
    ratio = max(ratio, 1e-12)
    digits = 1 - math.floor(math.log10(ratio * 100))
    shown = f"{math.ceil(ratio * 100 * 10.0**digits - 1e-6) / 10.0**digits:.{max(digits, 0)}f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown) + "%"


def seconds(value_s: float) -> str:
    """`0.42 s`, `8.5 s`, `45 s`, `4 min 10 s`, `3.2 h`, `5 days`."""
    if value_s < 0.995:
        return f"{value_s:.2g} s"
    if value_s < 9.95:
        return f"{round(value_s, 1):g} s"
    if value_s < 119.5:
        return f"{value_s:.0f} s"
    if value_s < 3600:
        minutes, rest = divmod(round(value_s), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{value_s / 3600:.1f} h" if value_s < 2 * 86400 else f"{value_s / 86400:,.0f} days"


def moment(at: float) -> str:
    """`28 Nov 14:03`, by the local clock, of seconds since the epoch."""
    return time.strftime("%d %b %H:%M", time.localtime(at))


def budget_left(ratio: float) -> str:
    """What is left of an error budget: `97% left`, `overspent 3.2 times`."""
    return f"{ratio:.0%} left" if ratio >= 0 else f"overspent {1 - ratio:.1f} times"


def rate(per_s: float) -> str:
    """`0.42/s`, `52.3/s`, `1,000/s`."""
    return f"{per_s:.2g}/s" if per_s < 1 else f"{per_s:.1f}/s" if per_s < 99.95 else f"{per_s:,.0f}/s"


def many(count: int, one: str, more: str = "") -> str:
    """`1 request`, `12,000 requests`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
