"""What Valkey's answers tell of a standby."""

import time

from tenfold.drivers.valkey_seen import Watched, primary_seen


def test_standby_is_no_closer_than_at_the_question() -> None:
    """An answer that was long under way tells of the moment it was asked for: what was written since may be missing."""
    said, places = {"master_repl_offset": 100}, {"b": 100}

    late = primary_seen("a", said, time.monotonic() - 3.0, places, Watched(), 1)
    assert late.lag_s is not None and late.lag_s >= 3.0
