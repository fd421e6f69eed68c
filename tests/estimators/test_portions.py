"""How users split over the pools of tiers: as was seen or as the blueprint says, and never more or less of them than there are."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.estimators.minutes import SEEN_MINUTES_MIN
from tenfold.estimators.phases import outlook
from tenfold.estimators.portions import Portion, portions, shared_out
from tenfold.estimators.users import Question, needs
from tenfold.facts import CapacitySeen, Window
from tenfold.model import Model, Region, Scaling, Tier
from tests.estimators.office import HELD, MODEL, OFFICE, WEB, WORKER

NOTHING = Window(0.0, 60.0, {})
NAMES = ("gold", "silver", "bronze")


def tiered(shares: dict[str, float | None], regions: str = "a", scaling: Scaling | None = None) -> Model:
    """The office with a pool of web for each of these tiers."""
    pools = [WEB.of_tier(name, scaling or Scaling(1, 20)) for name in shares]
    tiers = {name: Tier(name, tenants=(f"of-{name}",), share_ratio=ratio) for name, ratio in shares.items()}
    services = {each.name: each for each in (WEB, *pools, WORKER)}
    return replace(MODEL, services=services, tiers=tiers, regions={name: Region(name) for name in regions})


def asked(model: Model, window: Window = NOTHING, held: CapacitySeen | None = HELD) -> Question:
    """What is asked of the tiered office's users."""
    parts, measured = portions(model, window), {} if held is None else {"web": held}
    return Question(model, OFFICE, shared_out({"web": 1.0}, model, parts), measured, 200, portions=parts)


def minutes(count: int, **per_s: float | None) -> Window:
    """So many minutes alike: requests/s by pool, `web_a` for `web@a`."""
    keys = {
        f"{name.replace('_gold', '-gold').replace('_', '@')}.requests_per_s": value for name, value in per_s.items()
    }
    return Window(0.0, 60.0, {key: (value,) * count for key, value in keys.items()})


def test_the_blueprint_says_it() -> None:
    """A fifth of all users takes a fifth of all requests to a pool of its own, and the rest is the pool of all's; a worker has no part."""
    found = portions(tiered({"gold": 0.2, "silver": 0.0}), NOTHING)
    assert found == {
        "web": Portion(0.8, "what its tiers leave"),
        "web-gold": Portion(0.2, "as tiers.gold.share says"),
        "web-silver": Portion(0.0, "as tiers.silver.share says"),
    }
    assert portions(replace(MODEL, services={"web": WEB, "worker": WORKER}), NOTHING) == {}


def test_nobody_says_it() -> None:
    """A tier without a share keeps its least, the pool of all is planned for all users, and it is said that this is not known."""
    found = outlook(asked(tiered({"gold": None})), 3000)
    web, gold, _ = found.asked.needs
    assert [web.requests_per_s, web.users] == pytest.approx([500.0, 3000])
    assert (gold.requests_per_s, gold.instances, gold.untold != "") == (0.0, 1, True)
    [line] = [line for line in found.unknown if "web-gold" in line]
    assert line == (
        "how many instances web-gold will need: tiers.gold.share does not say how many users are in it, so its least stays as it is "
        "and the pool of all is planned for all"
    )


def test_what_was_seen_counts_more() -> None:
    """A day of all pools tells the true part; most of a day is enough, less is not, and neither are minutes of some pools only."""
    model = tiered({"gold": 0.2}, "ab")
    seen = portions(model, minutes(1440, web_a=40.0, web_b=20.0, web_gold_a=20.0, web_gold_b=0.0))
    assert seen["web-gold"] == Portion(0.25, "as 24 hours of the journal show (tiers.gold.share says 20%)")
    assert seen["web"].ratio == 0.75
    told = portions(model, NOTHING)
    assert portions(model, minutes(SEEN_MINUTES_MIN - 1, web_a=3.0, web_b=3.0, web_gold_a=3.0, web_gold_b=3.0)) == told
    assert portions(model, minutes(1440, web_a=40.0, web_b=20.0, web_gold_a=20.0)) == told
    assert portions(model, minutes(1440, web_a=40.0, web_b=20.0, web_gold_a=20.0, web_gold_b=None)) == told
    assert portions(model, minutes(1440, web_a=0.0, web_b=0.0, web_gold_a=0.0, web_gold_b=0.0)) == told


def test_a_measured_service_tells_of_its_pools() -> None:
    """One instance of web was measured to hold 100 requests/s; those of gold are the same program, and hold as many."""
    model = tiered({"gold": 0.2})
    web, gold, _ = needs(asked(model), 3000)
    assert (web.measured, gold.measured) == (HELD, HELD)
    assert [web.requests_per_s, gold.requests_per_s] == pytest.approx([400.0, 100.0])
    assert (web.instances, gold.instances, gold.users) == (5, 2, 600)


def test_a_small_pool_breaks_first() -> None:
    """Three instances of gold hold 240 requests/s, a fifth of what 7,200 users ask for: told with the key to raise; money counts it."""
    model = tiered({"gold": 0.2}, scaling=Scaling(1, 3))
    model = replace(model, services={**model.services, "web": replace(WEB, scaling=Scaling(1, 100))})
    found = outlook(asked(model, held=replace(HELD, cpu_ms={})), 8000)
    first = found.limits[0]
    assert first.users == pytest.approx(7200)
    assert (
        "3 instances of web-gold" in first.what and "raise services.web.scaling.tiers.gold.instances.max" in first.what
    )
    cost, [web, gold, worker] = found.asked.cost, found.asked.needs
    assert cost.tiers == {"gold": pytest.approx(cost.instances * gold.instances / (web.instances + gold.instances + 1))}
    assert worker.instances == 1


@given(
    parts=st.lists(st.none() | st.floats(0.0, 1.0), min_size=1, max_size=3),
    users=st.integers(1, 10**7),
    held=st.sampled_from((HELD, None)),
    regions=st.sampled_from(("a", "ab", "abc")),
)
def test_shares_make_the_load_neither_more_nor_less(
    parts: list[float | None], users: int, held: CapacitySeen | None, regions: str
) -> None:
    """However users split, all pools of a program are asked for what one would be, and rounding costs at most an instance a pool."""
    whole = sum(part or 0.0 for part in parts)
    told = [part if part is None or whole <= 1 else part / whole for part in parts]
    model = tiered(dict(zip(NAMES, told, strict=False)), regions)
    plain = replace(model, services={"web": WEB, "worker": WORKER}, tiers={})
    pools = [need for need in needs(asked(model, held=held), users) if need.service.startswith("web")]
    alone = [need for need in needs(asked(plain, held=held), users) if need.service == "web"]
    for region in regions:
        mine, [one] = [need for need in pools if need.region == region], [n for n in alone if n.region == region]
        assert sum(need.requests_per_s for need in mine) == pytest.approx(one.requests_per_s, rel=1e-9)
        assert sum(need.users for need in mine) == pytest.approx(one.users, rel=1e-9)
        assert (
            one.instances
            <= sum(need.instances for need in mine)
            <= one.instances + WEB.scaling.instances_min + len(parts)
        )


@given(st.lists(st.floats(0.0, 0.5), min_size=2, max_size=5), st.integers(1, 10**6))
def test_a_larger_share_never_needs_less(shares: list[float], users: int) -> None:
    """More of the users in a tier, and its pool has no fewer instances, and that of all no more."""
    counts = [[n.instances for n in needs(asked(tiered({"gold": share})), users)][:2] for share in sorted(shares)]
    assert all(web >= later_web and gold <= later_gold for (web, gold), (later_web, later_gold) in pairwise(counts))
