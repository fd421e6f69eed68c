"""Failures in a row, and how long to wait after each: shared by those who start things. Waits grow; at last a person is asked, and it is
tried only now and then."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from tenfold.deciders.memory import Failures, Rung, Try

BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Wait before the next start after the first, second, ... failure in a row. The first replacement comes at once."""
GIVE_UP_AFTER = 8
"""Failures in a row after which a person is asked about a line or an engine."""
GIVEN_UP_RETRY_S = 600.0
"""One try this often after giving up, so that an outage that ended by itself does not last for ever."""
SETTLED_S = 60.0
"""An instance that served this long clears its line's failures. One that ends after having served so long is worth starting: it is
started at once, and not given up."""
SOON_S = 300.0
"""Who ends within this long of its start has not really come back; who served longer begins anew."""
FLAP_WINDOW_S = 1800.0
"""Ends soon after a start count together for this long."""
TRIES_KEPT = 8
TRIES_TOLD = 3


def failed(
    before: Failures | None,
    note: str,
    now: float,
    *,
    had_served: bool,
    served_s: float = 0.0,
    started_at: float | None = None,
    flaps: int = 0,
    tried: Try | None = None,
) -> Failures:
    """One more failure, `note` in words. What had served (for `served_s`) is started again at once, the first time; what never came up
    gets a pause.

    What was started (at `started_at`) before the last failure is part of the same trouble, and counts no further. `flaps` is how often
    of late it ended soon although its start had worked: that counts as if in a row. `tried` is remembered.
    """
    is_same = before is not None and started_at is not None and started_at < before.last_at
    # One that served for a while has shown that it can: the row of starts that gave nothing begins anew.
    has_shown = served_s >= SETTLED_S and not is_same
    row = 1 if before is None or has_shown else max(1, before.row + (not is_same))
    count = max(row, flaps)
    tries = (*(before.tries if before else ()), *((tried,) if tried else ()))[-TRIES_KEPT:]
    asks = count >= GIVE_UP_AFTER
    gave_up = row >= GIVE_UP_AFTER
    # By the row alone: a pause would cost more than what serves for a while each time.
    step = min(row - 1 if had_served else row, len(BACKOFF_S) - 1)
    wait_s = GIVEN_UP_RETRY_S if gave_up else BACKOFF_S[step]
    next_at = now + wait_s
    if is_same and before is not None:
        # Who waits already for the same trouble waits no longer for each that it takes down.
        next_at = min(next_at, max(now, before.next_start_at))
    return Failures(count, now, next_at, note, gave_up, Rung.ASK if asks else Rung.REPLACE, tries, row)


def waits(failures: Failures, now: float) -> bool:
    """True while the next start is due later. One due later than any wait lasts was set before the clock was set back."""
    return 0 < failures.next_start_at - now <= GIVEN_UP_RETRY_S


def recent(times: tuple[float, ...], now: float, window_s: float) -> tuple[float, ...]:
    """Those of `times` within the last `window_s`; what lies in the future was before the clock was set back."""
    if all(0 <= now - at < window_s for at in times):
        return times
    return tuple(at for at in times if 0 <= now - at < window_s)


def try_text(tried: Try) -> str:
    """`10:03:04 restart of web-3: exit code 1`, by UTC."""
    how = "start" if tried.rung is None else {Rung.REPLACE: "replacement", Rung.MOVE: "move"}.get(tried.rung, "restart")
    return f"{datetime.fromtimestamp(tried.at, UTC):%H:%M:%S} {how} of {tried.subject}: {tried.gave}"


def asked_text(what: str, failures: Failures) -> str:
    """What a person is told who is asked about `what`: what was tried, when, what each gave, and where to look."""
    text = f"{what} does not come back: {failures.count} starts in a row failed, the last one: {failures.last_note}"
    if not failures.gave_up:
        text = f"{what} does not stay: it ended {failures.count} times although each start worked, last: {failures.last_note}"
    if failures.tries:
        told = "; ".join(try_text(tried) for tried in failures.tries[-TRIES_TOLD:])
        log = failures.tries[-1].subject.replace("/", "-")
        text += f". Tried of late: {_counted(failures.tries)} (UTC {told}). Look at: tenfold logs {log}"
    return text


def _counted(tries: Iterable[Try]) -> str:
    """`2 restarts, 5 replacements`."""
    names = {Rung.RESTART: "restart", Rung.REPLACE: "replacement", Rung.MOVE: "move", Rung.ASK: "retry", None: "start"}
    counts = Counter(names[tried.rung] for tried in tries)
    return ", ".join(f"{n} {name}{'s' * (n > 1)}" for name, n in counts.items())
