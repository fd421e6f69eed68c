"""Scaling ahead as stories: the load is expected, comes, and goes."""

import re
from dataclasses import replace

from tenfold.deciders.memory import PoolScale
from tenfold.deciders.scale.pool import AGREED_S, STAYS_S
from tenfold.effects import Decision
from tenfold.facts import CapacitySeen, WorkSeen
from tenfold.model import Trigger
from tests.deciders.ahead import CONCURRENCY, POOL, START, Story, forecast, running, web

# --- before the load comes --------------------------------------------------------------------------------------------


def test_instances_are_asked_for_before_the_load_comes() -> None:
    """What is expected by the time a start would end is prepared for now, in words and figures that explain the number."""
    story = Story(memory=running(2), per_s=150.0)
    decision = story.look(forecast(START, 150.0, 150, 400, 800))
    assert decision is not None
    assert decision.why == (
        "web@local will need 4 instances instead of 2 in 2 min: 275 requests/s expected in 2 min (now 150), up to 315 with 99.6% "
        "confidence; one bears 100"
    )
    assert 0.9 < decision.confidence_ratio <= 0.99
    assert decision.clamps == ()


def _explains(decision: Decision, wanted: int, bears: float) -> bool:
    """True where the load in its words, over what one bears, is its number."""
    load = re.search(r"(?:up to|no more than) ([\d,.]+) ", decision.why)
    return load is not None and -(-float(load[1].replace(",", "")) // bears) == wanted


def test_the_reason_explains_the_number_both_ways() -> None:
    """A person who divides the two figures of the reason gets the number, when instances are added and when they go."""
    story = Story(memory=running(2), per_s=150.0)
    more = story.look(forecast(START, 150.0, 150, 300, 500, 700, 400))
    assert more is not None and _explains(more, story.wanted, 100), more and more.why
    idle = Story(memory=running(12), per_s=300.0)
    idle.live(13, 300, 300, 320, 350, 380)
    [(_, fewer)] = idle.said
    assert "expected for 59 min (now 300)" in fewer.why
    assert _explains(fewer, idle.wanted, 100), fewer.why


def test_what_a_start_takes_decides_how_early() -> None:
    """A load in twenty minutes is prepared for now where starts take a quarter of an hour, not where they take ten seconds."""
    soon = [100.0, 100, 100, 100, 900]
    fast = Story(memory=running(2), work=WorkSeen("web", "local", START, 0.1, 0.05, 10.0))
    slow = Story(memory=running(2), work=WorkSeen("web", "local", START, 0.1, 0.05, 1000.0))
    fast.look(forecast(START, 100.0, *soon))
    slow.look(forecast(START, 100.0, *soon))
    assert (fast.wanted, slow.wanted > 8) == (2, True)


def test_never_above_the_most_the_blueprint_allows() -> None:
    """What would take more is told."""
    story = Story(web(1, 5), memory=running(2))
    decision = story.look(forecast(START, 100.0, 100_000))
    assert decision is not None and story.wanted == 5
    assert decision.clamps[0].startswith("maximum: 5 instead of 1,") or decision.clamps[0].startswith(
        "maximum: 5 instead of 1"
    )
    story.live(5, 100_000)
    assert (story.wanted, len(story.said)) == (5, 1)


def test_what_is_expected_is_never_certain() -> None:
    """However sure, it is less sure than what is seen, which comes first where not all can be had."""
    story = Story(memory=running(1), per_s=0.0)
    decision = story.look(forecast(START, 0.0, 1e9))
    assert decision is not None and decision.confidence_ratio == 0.99
    seen = Story(memory=running(1), per_s=1000.0)
    seen.look()
    answer = seen.look()
    assert answer is not None and answer.confidence_ratio == 1.0


def test_what_one_bears_follows_from_every_trigger() -> None:
    """Concurrency by how long a request takes, cpu by what it costs, capacity by what was measured: the least of them counts."""
    cpu = Trigger("cpu", 0.5, 0.2, 60)
    both = Story(web(1, 50, CONCURRENCY, cpu), memory=running(1))
    both.look(forecast(START, 100.0, 450))
    alone = Story(web(1, 50, CONCURRENCY), memory=running(1))
    alone.look(forecast(START, 100.0, 450))
    assert "one bears 10" in both.said[0][1].why, "half a core over 0.05 s a request"
    assert both.wanted >= 10 * (alone.wanted - 1)
    held = CapacitySeen("web", "x", "", 40.0, 1.0, 1.0, 100.0, 0.0, START, START)
    measured = Story(web(1, 50, CONCURRENCY), memory=running(1), holds=held)
    measured.look(forecast(START, 100.0, 450))
    assert "one bears 32" in measured.said[0][1].why, "80% of what was measured"


def test_a_posted_metric_is_foreseen_as_it_is() -> None:
    """Its own forecast, over what an instance is asked to bear."""
    users = Trigger("concurrent_users", 50, 20, 60)
    story = Story(web(1, 50, users), memory=running(2), metrics={"concurrent_users": 90.0})
    decision = story.look(forecast(START, 90.0, 90, 400, series=f"{POOL}:concurrent_users"))
    assert decision is not None and _explains(decision, story.wanted, 50)
    assert "concurrent_users expected" in decision.why


def test_of_several_loads_the_one_that_needs_most_counts() -> None:
    """Traffic and a posted metric each say how many; the reason names the one that needs more, up and down."""
    service = web(1, 50, CONCURRENCY, Trigger("concurrent_users", 50, 20, 60))
    for traffic, users, word in ((900.0, 100.0, "requests/s"), (100.0, 450.0, "concurrent_users")):
        up = Story(service, memory=running(2), metrics={"concurrent_users": 50.0})
        users_expected = forecast(START, 50.0, users, series=f"{POOL}:concurrent_users")
        more = up.look(forecast(START, 100.0, traffic), users_expected)
        assert more is not None and word in more.why and up.wanted in (10, 11)
        down = Story(service, memory=running(20), metrics={"concurrent_users": 50.0})
        for _ in range(70):
            at = (down.now + 10) // 60 * 60
            down.look(forecast(at, 100.0, traffic), replace(users_expected, seen_at=at))
        assert word in down.said[0][1].why and down.wanted == up.wanted


# --- when the load goes -----------------------------------------------------------------------------------------------


def test_what_will_not_be_needed_goes_once_the_forecasts_agree() -> None:
    """Eight minutes of them, not a cooldown; and all that goes, goes in one step."""
    story = Story(memory=running(10), per_s=200.0)
    story.live(20, 200)
    assert story.sizes == ["10>3"]
    at, decision = story.said[0]
    assert AGREED_S - 60 <= at - START <= AGREED_S + 60
    assert decision.why == (
        "web@local will do with 3 instances instead of 10: no more than 232 requests/s expected for 59 min (now 200), surprises included; "
        "one bears 100"
    )


def test_what_would_be_needed_again_too_soon_stays() -> None:
    """Letting go is worth it where it saves seven minutes of the usual pool, and twice that where all are needed again within the hour."""
    saves = Story(memory=running(14), per_s=500.0)
    saves.live(12, 500, 500, 500, 500, 1300)
    assert saves.sizes == ["14>6"]
    costs = Story(memory=running(10), per_s=800.0)
    costs.live(12, 750, 750, 750, 750, 1300)
    assert costs.sizes == []


def test_what_stays_for_that_is_told() -> None:
    """Fewer would do for ten minutes, but some of these would be needed again just after."""
    story = Story(memory=running(9), per_s=500.0)
    story.live(12, 500, 500, 500, 500, 640)
    [(_, decision)] = story.said
    assert decision.clamps == ("8 instead of 6: fewer would be needed again too soon to be worth it",)


def test_a_pool_without_a_past_lets_nothing_go_at_its_first_look() -> None:
    """After a start, or where the forecasts have only just come, the first one alone is no reason."""
    story = Story(memory=PoolScale(10, "as it began", START), per_s=100.0)
    story.live(6.5, 100)
    assert story.wanted == 10
    story.live(3, 100)
    assert story.wanted == 2


def test_one_forecast_that_says_otherwise_holds() -> None:
    """While one of the last eight minutes expected more, nothing goes below that, and the clamp says so."""
    story = Story(memory=running(10), per_s=100.0)
    story.live(5.5, 100)
    story.live(1, 100, 100, 550)
    story.live(1.5, 100)
    assert story.sizes == ["10>7"]
    [(_, decision)] = story.said
    assert decision.clamps == ("damping: 7 instead of 2: the forecasts of the last 8 min have to agree",)


def test_nothing_goes_for_eleven_minutes_after_an_addition() -> None:
    """Whatever is expected then; after that it does."""
    story = Story(memory=running(2), per_s=100.0)
    story.live(1, 800)
    assert story.wanted > 8
    began, had = story.now, story.wanted
    story.live((STAYS_S - 70) / 60, 100)
    assert story.wanted == had
    story.live(3, 100)
    assert story.wanted == 2
    assert story.said[-1][0] - story.said[0][0] >= STAYS_S
    assert story.now - began < STAYS_S + 200


def test_no_second_letting_go_within_eleven_minutes() -> None:
    """And nothing is added for what is only expected meanwhile."""
    story = Story(memory=running(10), per_s=100.0)
    story.live(9, 500)
    assert story.sizes == ["10>6"]
    story.live(5, 100)
    story.live(2, 900)
    assert story.sizes == ["10>6"], "neither down again nor up for what is only expected"
    story.live(20, 100)
    assert len(story.said) in (2, 3)
    assert story.said[1][0] - story.said[0][0] >= STAYS_S
    assert all(at - story.said[0][0] >= STAYS_S for at, d in story.said[1:] if "will do with" in d.why)


def test_an_overload_that_is_seen_is_answered_at_once_even_then() -> None:
    """Two looks after instances went, and with all that is expected as well."""
    story = Story(memory=running(10), per_s=100.0)
    story.live(10, 100)
    assert story.sizes == ["10>2"]
    story.per_s = 600.0
    story.live(0.5, 650)
    assert story.wanted >= 8
    assert "above 10" in story.said[-1][1].why
    assert story.said[-1][1].confidence_ratio == 1.0


def test_never_fewer_than_is_asked_of_them_now() -> None:
    """However little is expected."""
    story = Story(memory=running(10), per_s=680.0)
    story.live(20, 10)
    assert story.wanted == 7
    assert story.said[0][1].clamps == ("7 instead of 1: what is asked of them now",)


def test_never_below_the_least() -> None:
    """The blueprint's minimum stays, and is named."""
    story = Story(web(3, 20), memory=running(10), per_s=0.0)
    story.live(20, 0)
    assert story.wanted == 3
    assert story.said[0][1].clamps == ("3 instead of 1: the least at this hour",)


def test_just_after_an_outage_nothing_goes() -> None:
    """A pool that could not serve a moment ago keeps all, says why once, and lets go later."""
    story = Story(memory=running(10), per_s=100.0)
    story.live(6.5, 100)
    for _ in range(6):
        story.look(forecast(story.now // 60 * 60, 100.0, 100), errors_per_s=90.0)
    story.live(1.8, 100)
    assert story.wanted == 10
    [(_, told)] = story.said
    assert told.why == "web@local keeps 10 instances although fewer would do: it could not serve a short while ago"
    story.live(1, 100)
    assert story.wanted == 2


def test_triggers_that_cant_be_foreseen_must_agree() -> None:
    """Memory and response time go by what is seen: low for their whole cooldown, or nothing goes."""
    low = Trigger("memory", 0.8, 0.5, 600)
    story = Story(web(1, 20, CONCURRENCY, low), memory=running(10), per_s=100.0)
    story.live(9, 100)
    assert story.wanted == 10
    story.live(3, 100)
    assert story.wanted == 2
    high = Trigger("memory", 0.8, 0.2, 60)
    story = Story(web(1, 20, CONCURRENCY, high), memory=running(10), per_s=100.0)
    story.live(20, 100)
    assert story.wanted == 10


def test_a_pool_without_a_minimum_keeps_its_last() -> None:
    """That it may sleep is another's business: by a forecast of nothing it keeps one."""
    story = Story(web(0, 20), memory=running(3), per_s=0.0)
    story.live(20, 0)
    assert story.wanted == 1
    assert all("instead" in decision.why for _, decision in story.said)
