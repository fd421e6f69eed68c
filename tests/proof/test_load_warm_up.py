"""A warm-up is seen in the seconds and counts for nothing else."""

from time import perf_counter

from tenfold.proof.load.histogram import Histogram
from tenfold.proof.load.record import Recorder


def test_what_was_due_in_the_warm_up_is_in_the_seconds_alone() -> None:
    """Three requests of the ramp and two of later: the second counts five, the run two."""
    began_s = perf_counter() - 10.0
    recorder = Recorder(began_s, actions=0, steps=1, warm_up_s=5.0)
    for due_s in (1.0, 2.0, 4.9, 5.0, 6.0):
        at_s = began_s + due_s
        recorder.due(0.02)
        kind = "5xx" if due_s < 5.0 else "2xx"
        recorder.ended("GET /", 0, kind, at_s, at_s, at_s + due_s / 10, 200, b"", "")
    recorder.due(None)
    second = recorder.close_second(0, 1, 1)
    assert (second.due, second.kinds) == (6, {"5xx": 3, "2xx": 2})
    tally = recorder.tally(unfinished=1, sockets=None)
    assert (tally.due, tally.kinds, tally.steps[0].count, tally.examples) == (3, {"2xx": 2}, 2, {})
    response = Histogram()
    response.add(tally.response)
    assert response.latency().max_ms is not None
    assert abs((response.latency().max_ms or 0.0) - 600.0) < 1.0


def test_lag_counts_from_the_end_of_the_warm_up() -> None:
    """A generator that was late while all users signed in is not late for what is judged."""
    recorder = Recorder(perf_counter() - 10.0, actions=0, steps=0, warm_up_s=5.0)
    recorder.lagged(0.5)
    recorder.close_second(0, 0, 0)
    recorder.lagged(0.001)
    recorder.close_second(1, 0, 0)
    lag = Histogram()
    lag.add(recorder.tally(0, None).lag)
    assert lag.latency().count == 1
