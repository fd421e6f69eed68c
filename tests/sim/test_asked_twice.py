"""Stories of people who ask for things that contradict one another, or for the same thing twice."""

from dataclasses import replace

import pytest

from tenfold.facts import DownRequest, UpRequest
from tenfold.sim import Behaviour, steps

STEADY = {"web@local": steps((0, 20))}


def test_down_asked_twice_is_decided_once_and_both_hear(shop) -> None:
    """A second `down` (the first was killed, or its Ctrl-C pressed in another terminal) waits with the first for the same end."""
    here = shop(41, rates=STEADY)
    here.up()
    before_s = here.now_s
    here.ask(DownRequest("one", here.world.clock.now()))
    here.ask(DownRequest("two", here.world.clock.now()))
    here.run_until(lambda: {"one", "two"} <= here.answers.keys(), 120)
    assert here.answers["one"].ok and here.answers["two"].ok
    assert not here.world.instances
    assert len([why for why in here.whys(before_s) if why.startswith("asked to go down")]) <= 2


@pytest.mark.parametrize("gap_s", [0.0, 3.0])
def test_the_last_wish_wins(shop, gap_s: float) -> None:
    """`up` after a `down` that has not come to its end yet is obeyed, and who asked for `down` hears that it is off."""
    here = shop(42, rates=STEADY)
    here.up()
    before_s = here.now_s
    here.ask(DownRequest("down", here.world.clock.now()))
    here.run(gap_s)
    here.ask(UpRequest("again", here.world.clock.now() + 0.001, here.release("r1")))
    here.run_until(lambda: {"down", "again"} <= here.answers.keys(), 120)
    here.run(30)
    assert not here.answers["down"].ok and here.answers["again"].ok
    assert len(here.ready()) >= 2
    assert len([why for why in here.whys(before_s) if why.startswith("asked to")]) <= 3


def test_going_down_waits_as_long_as_the_release_says(shop) -> None:
    """Requests of 50 s are finished before their instance ends, when the service's `drain` allows them two minutes."""
    slow = Behaviour(cpu_ms=1, wait_ms=50_000)
    here = shop(43, rates={"web@local": steps((0, 1), (120, 0))}, behaviours={"web": slow})
    here.made["web"] = replace(here.made["web"], drain_s=120.0)
    here.up()
    here.run(100)
    here.ask(DownRequest("down", here.world.clock.now()))
    here.run_until(lambda: "down" in here.answers, 200)
    since_s = min(at_s for at_s, d in here.decided if d.why.startswith("asked to go down"))
    ended = [at_s - since_s for at_s, d in here.decided if "it ends" in d.why and d.subject.startswith("instance/web")]
    assert ended and min(ended) > 35
    assert "had 30 s" not in " ".join(here.whys(since_s))
