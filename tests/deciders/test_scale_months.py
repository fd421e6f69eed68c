"""Whole months under a budget that is enforced: they end within it, and make use of it."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale import budget, scale
from tenfold.estimators.spend import Spend
from tenfold.facts import Snapshot, SpendSeen
from tests.deciders.money import WEB, model, seen


def test_a_month_by_the_estimator_keeps_to_its_budget() -> None:
    """The last days of a month with peaks that the budget can't bear: what the estimator counts stays within it, and every hour has its
    minimum."""
    of, now = model(WEB, monthly=75), datetime(2026, 11, 29, tzinfo=UTC).timestamp()
    estimator = Spend(of, SpendSeen("EUR", 0.1, 67.2, 72.0, now - 28 * 86_400, 28 * 86_400.0, "", now))
    memory, most = ScaleMemory({"web@local": PoolScale(1, "", 0.0)}), 0
    for step in range(2 * 86_400 // 10 - 1):
        wanted = memory.pools["web@local"].wanted
        shot = seen(now + step * 10, 900.0 if step % 8640 in range(3600, 5400) else 10.0, wanted, {})
        fact = estimator.look(shot)
        assert fact is not None
        if step % 6 < 2:
            shot = replace(shot, spend={"month": fact})
            memory, _ = scale(of, of.releases["r1"], shot, memory)
        most = max(most, memory.pools["web@local"].wanted)
        assert memory.pools["web@local"].wanted >= 1
    assert 2 <= most < 20, "it said no, and not to all"
    assert fact is not None
    assert 72 < fact.month_so_far <= 75


def a_month(monthly: float, flood_h: float = 0.0) -> tuple[float, float]:
    """What November costs, and the share of its instance-hours that is refused: ten instances on the mean, half as many again at each day's
    peak and half at night, ten times as many in a flood from the 13th on."""
    starts, ends = (datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (11, 12))
    of, costs = model(WEB, monthly=round(monthly)), budget.per_hour(model(WEB), WEB)
    spent_, usual, had, refused, asked, at = 0.0, 1.0, 1, 0, 0, starts
    while at < ends:
        hour = (at - starts) / 3600
        needed = 10 * (1 + 0.5 * math.sin(2 * math.pi * (hour - 9) / 24))
        needed = math.ceil(needed * 10 if 288 <= hour < 288 + flood_h else needed)
        if needed > had:
            # As `estimators.spend` reckons: the plain mean of the first day, later one that forgets.
            mean = spent_ / hour if 0 < hour < 24 else usual
            fact = SpendSeen("EUR", 0.0, spent_, spent_ + mean * (ends - at) / 3600, starts, at - starts, "", at)
            room = budget.room(of, of.releases["r1"], Snapshot(at), fact)
            wish = budget.Wish("web@local", WEB, had, needed)
            had = budget.granted(of, [wish], had * costs, room.per_hour_max)["web@local"]
            refused += needed - had
        else:
            had = needed
        asked += needed
        spent_ += had * costs / 12
        usual += (had * costs - usual) * 300 / 86_400
        at += 300.0
    return spent_, refused / asked


@pytest.mark.parametrize("flood_h", [0.0, 24.0])
@pytest.mark.parametrize("share", [1.2, 1.05, 1.0, 0.9, 0.7])
def test_a_month_keeps_to_its_money(share: float, flood_h: float) -> None:
    """With daily peaks, and a day with ten times the load, a month ends within its budget and makes use of it: one of 5% more than usual
    days cost refuses nothing of them, and one of just as much less than 1%."""
    usual, _ = a_month(10**6)
    costs, refused = a_month(round(usual * share), flood_h)
    assert costs <= round(usual * share)
    assert costs >= 0.9 * min(usual * share, usual)
    if not flood_h:
        assert refused <= {1.2: 0.0, 1.05: 0.0, 1.0: 0.01}.get(share, 1.1 - share)
