"""Failures in a row, and how long to wait after each: shared by those who start things. Waits grow; at last it gives up."""

from tenfold.deciders.memory import Failures

BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Wait before the next start after the first, second, ... failure in a row. The first replacement comes at once."""
GIVE_UP_AFTER = 8
"""Failures in a row after which a line or engine is given up."""
GIVEN_UP_RETRY_S = 600.0
"""One try this often after giving up, so that an outage that ended by itself does not last for ever."""
SETTLED_S = 60.0
"""An instance that served this long clears its line's failures."""


def failed(before: Failures | None, note: str, now: float, *, had_served: bool) -> Failures:
    """One more failure, `note` in words. What had served is started again at once, the first time;
    what never came up gets a pause."""
    count = before.count + 1 if before else 1
    gave_up = count >= GIVE_UP_AFTER
    step = min(count - 1 if had_served else count, len(BACKOFF_S) - 1)
    wait_s = GIVEN_UP_RETRY_S if gave_up else BACKOFF_S[step]
    return Failures(count, now, now + wait_s, note, gave_up)


def waits(failures: Failures, now: float) -> bool:
    """True while the next start is due later. One due later than any wait lasts was set before the clock was set back."""
    return 0 < failures.next_start_at - now <= GIVEN_UP_RETRY_S
