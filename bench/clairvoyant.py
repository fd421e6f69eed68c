"""How little even a clairvoyant could cost who may act only so often: what no policy can beat. Loads in, figures out.

It knows every minute to come, its instances start at once, and it is never short. Where an action costs `price` minutes of an instance it
takes the cheapest course (dynamic programming over the number of instances); the price is raised until the actions are few enough, the same
for all loads, so that those are let act often whose cost falls most by it.
"""

import math
import statistics
from functools import partial

import numpy as np

from bench.ahead import ACTIONS_MAX, over_loads
from bench.loads import DAY, Load
from bench.shop import Tell
from bench.table import Figure, told

PRICE_MAX = 256
STEPS = 8


def course(needed: list[int], price: float) -> tuple[int, int]:
    """Instance-minutes and actions of the cheapest course that is never below `needed`, where each action costs `price`."""
    levels = np.arange(max(needed) + 1)
    cost = np.zeros(len(levels))
    from_level = np.empty((len(needed), len(levels)), dtype=np.int32)
    for minute, least in enumerate(needed):
        best = int(cost.argmin())
        moves = cost[best] + price < cost
        from_level[minute] = np.where(moves, best, levels)
        cost = np.where(moves, cost[best] + price, cost) + levels
        cost[:least] = math.inf
    level, paid, actions = int(cost.argmin()), 0, 0
    for before in from_level[::-1]:
        paid += level
        actions += int(before[level]) != level
        level = int(before[level])
    return paid, actions


def played(price: float, load: Load) -> tuple[float, float]:
    """Of one load: cost over a clairvoyant who acts as often as it likes, and actions a day."""
    needed = [max(1, math.ceil(value - 1e-9)) for value in load.played]
    paid, actions = course(needed, price)
    return paid / sum(needed), actions * DAY / len(needed)


async def clairvoyant(tell: Tell) -> list[Figure]:
    """The cheapest courses that act as seldom as ours may."""
    low, high = 0.0, float(PRICE_MAX)
    found: list[tuple[float, float]] = []
    for _ in range(STEPS):
        price = (low + high) / 2
        tried = await over_loads(partial(played, price))
        actions = statistics.fmean(each for _, each in tried)
        tell(f"{price:.0f} minutes of an instance for an action: {actions:.0f} actions a day")
        if actions > ACTIONS_MAX:
            low = price
        else:
            high, found = price, tried
    costs = [cost for cost, _ in found]
    return [
        told(
            f"cost of one who acts {ACTIONS_MAX:.0f} times a day and is never short, mean",
            f"{statistics.fmean(costs):.3f}",
        ),
        told("the same, median over loads", f"{statistics.median(costs):.3f}"),
        told("dearest and cheapest load", f"{max(costs):.3f}, {min(costs):.3f}"),
    ]
