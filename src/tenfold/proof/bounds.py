"""How sure a share of failures is that was seen in few requests: exact binomial bounds. Stage: counts -> verdicts.

Symbols: n requests, k of them failed, p the true share that fails (0..1), c the confidence (0..1). All is one-sided: a promise is
"no more than", so only one side can break it.
"""

import math

CONFIDENCE = 0.95
"""Of each bound: one in twenty runs may be luckier than the truth."""

REQUESTS_MAX = 10**15
"""No run has more; what needs them can't be shown at all."""


def at_most(failures: int, requests: int, share: float) -> float:
    """The probability of `failures` or fewer in `requests` of which each fails with probability `share`: P(X <= k; n, p).

    Sums the tail that is the smaller one, from its largest term outwards, until a term no longer counts.
    """
    if failures < 0:
        return 0.0
    if failures >= requests or share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 0.0
    if failures <= requests * share:
        return min(_downwards(failures, requests, share), 1.0)
    return 1.0 - min(_downwards(requests - failures - 1, requests, 1.0 - share), 1.0)


def _downwards(failures: int, requests: int, share: float) -> float:
    """P(X <= k) for k not above the mean: each term is p(i-1) = p(i) * i / (n - i + 1) * (1 - p) / p."""
    term = math.exp(
        math.lgamma(requests + 1)
        - math.lgamma(failures + 1)
        - math.lgamma(requests - failures + 1)
        + failures * math.log(share)
        + (requests - failures) * math.log1p(-share)
    )
    odds, total = (1.0 - share) / share, 0.0
    for count in range(failures, -1, -1):
        total += term
        term *= count / (requests - count + 1) * odds
        if term < total * 1e-17:
            break
    return total


def failing_at_most(failures: int, requests: int, confidence: float = CONFIDENCE) -> float:
    """The highest share of failures (0..1) that `failures` in `requests` leave believable: Clopper and Pearson's upper bound (1934).

    It solves P(X <= k; n, p) = 1 - c for p. Without failures that is 1 - (1 - c)^(1/n), the "rule of three": about 3/n for 95%.
    """
    if failures >= requests:
        return 1.0
    if failures == 0:
        return -math.expm1(math.log1p(-confidence) / requests)
    low, high = failures / requests, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if at_most(failures, requests, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high


def is_broken(failures: int, requests: int, share: float, confidence: float = CONFIDENCE) -> bool:
    """True when so many failures would be too rare (below 1 - c) had no more than `share` of the requests failed in truth."""
    return 1.0 - at_most(failures - 1, requests, share) < 1.0 - confidence


def requests_to_show(share: float, failures: int = 0, confidence: float = CONFIDENCE) -> int | None:
    """How many requests, of which just `failures` fail, show that no more than `share` (0..1) fail; None when no number does."""
    if share <= 0.0:
        return None
    if share >= 1.0:
        return max(failures, 1)
    low, high = failures, max(failures, 1)
    while failing_at_most(failures, high, confidence) > share:
        low, high = high, high * 2
        if high > REQUESTS_MAX:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if failing_at_most(failures, middle, confidence) > share:
            low = middle
        else:
            high = middle
    return high
