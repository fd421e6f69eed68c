"""Verdicts: what was seen in, a word with its reason out."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.model import LatencyTargets, Targets
from tenfold.proof.evidence import Evidence, Held, Recovered, Timed
from tenfold.proof.verdict import WEIGHTS, Verdict, judge, named, score

ALL = Targets(
    concurrent_users=500,
    throughput_rps=50.0,
    latency=LatencyTargets(p95_ms=500, api_mean_ms=100, database_mean_ms=50, websocket_ms=50, page_ms=2000),
    availability_ratio=0.999,
    error_ratio=0.001,
    cache_hit_ratio=0.9,
    recovery_s=10.0,
)
HELD = Held(
    wanted=500,
    wanted_s=60.0,
    lasted_s=60.0,
    users_min=500,
    requests=6000,
    answered=6000,
    bad=0,
    response=Timed(6000, 40.0, 120.0),
    api=Timed(4000, 30.0, 90.0),
    pages=Timed(900, 80.0, 300.0, "open the board"),
    socket=Timed(500, 4.0, 12.0),
)
GOOD = Evidence(
    users=HELD,
    requests=7000,
    bad=0,
    made_s=80.0,
    database=Timed(9000, 1.4),
    recovery=Recovered("web-2", 0.1, 2.5, 4.0, failed=3, lost_writes=0),
)


def verdict(key: str, evidence: Evidence = GOOD, targets: Targets = ALL) -> Verdict:
    (found,) = judge(targets, evidence, (key,))
    return found


def held(**changes: object) -> Evidence:
    return replace(GOOD, users=replace(HELD, **changes))  # type: ignore[arg-type]


def test_all_that_can_be_met_is_met() -> None:
    """A run in which all went well meets everything but the cache, which the edge does not have."""
    verdicts = judge(ALL, GOOD)
    assert [v.target for v in verdicts] == list(WEIGHTS)
    assert {v.target: v.word for v in verdicts if not v.is_met} == {"cache_hit": "not shown"}
    assert score(verdicts) == 95.0


def test_weights_are_out_of_a_hundred() -> None:
    """The weights add up to a hundred and cover each target that a blueprint can name."""
    assert sum(WEIGHTS.values()) == 100
    assert list(named(ALL)) == list(WEIGHTS)


def test_targets_that_are_not_named_do_not_count() -> None:
    """A blueprint with one target is scored on that one alone, and one without any has no verdicts."""
    (only,) = judge(Targets(recovery_s=10.0), GOOD)
    assert (only.target, score([only])) == ("recovery", 100.0)
    assert judge(Targets(), GOOD) == ()
    assert score(()) == 0.0


@pytest.mark.parametrize("key", [key for key in WEIGHTS if key not in ("recovery", "cache_hit")])
def test_a_spoilt_load_shows_nothing(key: str) -> None:
    """What a generator that was late itself has measured is neither met nor missed, and its reason is told."""
    spoilt = held(invalid=("the generator sent 1% of the requests over 40.0 ms late",))
    found = verdict(key, spoilt)
    assert found.word == "not shown"
    assert "40.0 ms late" in found.confidence
    assert found.advice


@pytest.mark.parametrize("key", [key for key in WEIGHTS if key != "cache_hit"])
def test_without_evidence_nothing_is_met(key: str) -> None:
    """No load and no drill: each target says that it could not be shown, why, and what to do."""
    found = verdict(key, Evidence())
    assert (found.word, bool(found.confidence), bool(found.advice)) == ("not shown", True, True)


@pytest.mark.parametrize(
    ("key", "evidence", "words"),
    [
        ("concurrent_users", held(bad=60), "1% failed"),
        ("concurrent_users", held(response=Timed(6000, 300.0, 900.0)), "p95 900 ms"),
        ("throughput", replace(GOOD, rate=replace(HELD, answered=2400), users=replace(HELD, answered=2400)), "40.0/s"),
        ("latency.p95", held(response=Timed(6000, 300.0, 501.0)), "501 ms"),
        ("latency.api_mean", held(api=Timed(4000, 101.0, 90.0)), "101 ms"),
        ("latency.database_mean", replace(GOOD, database=Timed(9000, 60.0)), "60 ms"),
        ("latency.websocket", held(socket=Timed(500, 4.0, 80.0)), "80 ms"),
        ("latency.page", held(pages=Timed(900, 80.0, 2100.0)), "2.1 s"),
        ("availability", replace(GOOD, bad=70), "99% of 7,000"),
        ("error_rate", held(bad=60), "1% (60 of 6,000)"),
        ("recovery", replace(GOOD, recovery=Recovered("web-2", 0.1, 12.0)), "12 s"),
        ("recovery", replace(GOOD, recovery=Recovered("web-2", 0.1, None)), "never"),
        ("recovery", replace(GOOD, recovery=Recovered("web-2", 0.1, 1.0, lost_writes=1)), "1 acknowledged write lost"),
    ],
)
def test_what_is_worse_than_asked_is_missed(key: str, evidence: Evidence, words: str) -> None:
    """Each target is missed by a figure beyond its bound, which stands in the verdict with advice."""
    found = verdict(key, evidence)
    assert found.word == "missed"
    assert words in found.measured
    assert found.advice


def test_few_users_prove_nothing_about_many() -> None:
    """Served well, yet fewer than the target names: the number of users could not be shown."""
    found = verdict("concurrent_users", held(wanted=100, users_min=100))
    assert (found.word, "only 100 users" in found.confidence) == ("not shown", True)


def test_a_load_that_was_cut_short_proves_nothing() -> None:
    """A plateau that ended early is not shown, and says how long it lasted."""
    found = verdict("latency.p95", held(lasted_s=20.0))
    assert (found.word, "20 s of 60 s" in found.confidence) == ("not shown", True)


def test_people_who_ask_for_little_do_not_miss_the_throughput() -> None:
    """When the users themselves asked for less than the target, and all were served, that tells nothing of what could be."""
    found = verdict("throughput", held(answered=2400, requests=2400))
    assert (found.word, "asked for no more" in found.confidence) == ("not shown", True)


def test_the_throughput_is_taken_from_the_load_that_was_made_for_it() -> None:
    """Where people asked for too little, a load at a fixed rate decides."""
    fixed = replace(HELD, wanted=52.5, users_min=0, answered=3150, requests=3150)
    found = verdict("throughput", replace(held(answered=1200, requests=1200), rate=fixed))
    assert (found.word, found.measured) == ("met", "52.5/s")
    assert "fixed rate" in found.how


def test_four_nines_can_not_be_shown_in_minutes() -> None:
    """7,000 requests without a failure leave 99.99% open, and the verdict says what would settle it."""
    found = verdict("availability", targets=replace(ALL, availability_ratio=0.9999))
    assert found.word == "not shown"
    assert found.measured == "100% of 7,000"
    # 1 - 0.05^(1/7000) = 0.0428%; 29,956 requests at 87.5/s are 342 s.
    assert "95% sure: at least 99.957%" in found.confidence
    assert "29,956 requests with 0 failures, 5 min 42 s at 87.5/s" in found.confidence
    assert "--minutes 6" in found.advice


def test_failures_make_it_take_longer() -> None:
    """With a failure seen, both what a clean run and what one such as this would take are told."""
    found = verdict("availability", replace(GOOD, bad=1), replace(ALL, availability_ratio=0.9999))
    assert found.word == "not shown"
    assert "29,956 requests with 0 failures" in found.confidence
    assert "47,437 requests with 1 failure" in found.confidence


def test_a_hundred_percent_is_never_shown() -> None:
    """No run shows that nothing ever fails, and the advice is to promise less."""
    found = verdict("availability", targets=replace(ALL, availability_ratio=1.0))
    assert (found.word, "below 100%" in found.advice) == ("not shown", True)


def test_few_requests_do_not_show_a_small_error_rate() -> None:
    """Of 500 requests not one failed: that tells 0.1% from 0.2% as little as a coin."""
    few = held(requests=500, answered=500, response=Timed(500, 40.0, 120.0))
    found = verdict("error_rate", few)
    assert (found.word, "500 requests" in found.confidence) == ("not shown", True)


def test_what_was_not_looked_at_says_why() -> None:
    """A gap overrules all else: its reason is the verdict's."""
    found = verdict("recovery", replace(GOOD, gaps={"recovery": "no harm was allowed (--no-harm)"}))
    assert (found.word, found.confidence) == ("not shown", "no harm was allowed (--no-harm)")


def test_a_miss_names_what_ran_out() -> None:
    """The advice on a load that was too much carries what was seen to run out."""
    evidence = replace(held(response=Timed(6000, 300.0, 900.0)), limit="web had all its 8 instances")
    assert "web had all its 8 instances" in verdict("latency.p95", evidence).advice


@given(
    requests=st.integers(0, 10**6),
    bad=st.integers(0, 10**6),
    wanted=st.integers(0, 1000),
    users_min=st.integers(0, 1000),
    lasted_s=st.floats(0, 1000),
    p95_ms=st.none() | st.floats(0, 1e6),
    ratio=st.floats(0.5, 1.0),
)
def test_whatever_was_seen_can_be_judged(
    requests: int, bad: int, wanted: int, users_min: int, lasted_s: float, p95_ms: float | None, ratio: float
) -> None:
    """No evidence breaks the judge, and nothing is met by a load that nobody answered."""
    bad = min(bad, requests)
    timed = Timed(requests, p95_ms, p95_ms)
    seen = Held(float(wanted), 60.0, lasted_s, users_min, requests, requests - bad, bad, timed, timed, timed, timed)
    evidence = Evidence(seen, seen, 2 * requests, 2 * bad, lasted_s, timed)
    verdicts = judge(replace(ALL, availability_ratio=ratio), evidence)
    assert 0 <= score(verdicts) <= 100
    for found in verdicts:
        assert found.asked
        assert found.is_met or found.advice
        assert found.word != "not shown" or found.confidence
        assert requests or not found.is_met
