"""What a proof does, known before it begins: which load, for how long, which harm. Stage: targets, scenario -> acts. Pure."""

import math
from dataclasses import dataclass, replace

from tenfold.model import Model, Scenario, Step
from tenfold.proof.bounds import requests_to_show
from tenfold.proof.load import Target
from tenfold.proof.verdict import WEIGHTS, named

COME_PER_S = 5.0
"""So many users come in each second: each signs in, which costs an app more than all else."""
RAMP_S = (5.0, 120.0)
SETTLE_S = 10.0
"""After the last has come: whatever scales because of them has begun to."""
HOLD_S = (60.0, 300.0)
"""How long users stay where nobody says: the least, and the most that a target may ask for."""
RATE_S, RATE_WARM_UP_S = 30.0, 5.0
RATE_MARGIN = 1.05
"""Arrivals are random: a little more than asked is sent, so that the mean is not below it by chance."""
DRILL_S = 45.0
"""What a drill takes, about: what is normal, the harm, until all is as before."""
DRILL_USERS_MAX = 40
"""Beside a drill. More would sign in for longer than it looks at what is normal."""
USERS_DEFAULT = 50
QUICK = 1 / 3
"""Of the settling, the hold and the fixed rate; people come no faster, or their signing in is what is measured."""

PLACE = "tenfold_place"
"""A user's variable: where it is."""

LOAD_KEYS = WEIGHTS.keys() - {"cache_hit", "recovery"}
"""The targets that people are needed for."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be proved and how thoroughly.

    `users` is how many people come (None: as many as the targets name), `minutes` how long they stay (None: as long as the targets need,
    within `HOLD_S`), `is_quick` a third of that and of all else. `only` are the targets that are judged (empty: all that
    are named). Without `with_harm` nothing is killed. `cores` are the machine's.
    """

    model: Model
    scenario: Scenario
    target: Target
    users: int | None = None
    minutes: float | None = None
    is_quick: bool = False
    only: tuple[str, ...] = ()
    with_harm: bool = True
    seed: int = 1
    cores: int = 1

    @property
    def keys(self) -> tuple[str, ...]:
        """The targets that are judged."""
        return tuple(key for key in named(self.model.targets) if not self.only or key in self.only)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The load of people: how many come, in how long, how long it settles, how long it is held (seconds)."""

    users: int
    ramp_s: float
    settle_s: float
    hold_s: float

    @property
    def warm_up_s(self) -> float:
        return self.ramp_s + self.settle_s

    @property
    def lasts_s(self) -> float:
        return self.warm_up_s + self.hold_s


@dataclass(frozen=True, slots=True)
class Acts:
    """What is done, in this order; None: not needed. `rate_rps` is done only if the crowd asks for less."""

    crowd: Crowd | None
    rate_rps: float | None
    rate_s: float
    drill: str | None

    @property
    def lasts_s(self) -> float:
        """All of it, about."""
        crowd_s = self.crowd.lasts_s if self.crowd else 0.0
        return crowd_s + (self.rate_s if self.rate_rps else 0.0) + (DRILL_S if self.drill else 0.0)


def acts_of(ask: Ask) -> Acts:
    """What the targets call for."""
    targets, keys = ask.model.targets, ask.keys
    # Who holds the load for seconds does not wait long before.
    is_short = ask.is_quick or (ask.minutes is not None and ask.minutes < 1)
    part = QUICK if is_short else 1.0
    crowd = _crowd(ask, part) if LOAD_KEYS & set(keys) else None
    rate_rps = targets.throughput_rps if "throughput" in keys else None
    if rate_rps is not None and crowd is not None and expected_rps(ask.scenario, crowd.users) > 1.1 * rate_rps:
        rate_rps = None
    drill = "instance-kill" if "recovery" in keys and ask.with_harm else None
    return Acts(crowd, rate_rps, RATE_WARM_UP_S + RATE_S * part, drill)


def _crowd(ask: Ask, part: float) -> Crowd:
    targets = ask.model.targets
    users = ask.users or targets.concurrent_users or USERS_DEFAULT
    ramp_s = min(max(users / COME_PER_S, RAMP_S[0]), RAMP_S[1])
    if ask.minutes is not None:
        return Crowd(users, ramp_s, SETTLE_S * part, ask.minutes * 60)
    hold_s = HOLD_S[0]
    if targets.availability_ratio is not None and "availability" in ask.keys:
        # With room for one failure.
        needed = requests_to_show(1.0 - targets.availability_ratio, 1) or math.inf
        hold_s = min(max(hold_s, needed / max(expected_rps(ask.scenario, users), 0.1)), HOLD_S[1])
    return Crowd(users, ramp_s, SETTLE_S * part, hold_s * part)


def steps_in_mean(scenario: Scenario) -> float:
    """Requests that an action makes, in the mean."""
    return sum(action.share * len(action.steps) for action in scenario.actions)


def expected_rps(scenario: Scenario, users: int) -> float:
    """Requests a second that so many people ask for if they are answered at once."""
    return users * steps_in_mean(scenario) / max(scenario.think_s, 0.05)


def drill_users(ask: Ask) -> int:
    """How many people are there beside a drill: half of the crowd, as in an ordinary hour, but not very many."""
    users = ask.users or ask.model.targets.concurrent_users or USERS_DEFAULT
    return max(min(users // 2, DRILL_USERS_MAX), 1)


def placed(scenario: Scenario, model: Model) -> Scenario:
    """`scenario` played by people near all regions alike, where the edge believes what it is told of places."""
    places = [f"{region.at[0]},{region.at[1]}" for region in model.regions.values() if region.at is not None]
    if not (model.is_spread and model.edge.trust and places):
        return scenario
    header = ("x-tenfold-place", f"{{{PLACE}}}")

    def near(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(replace(step, headers=(*step.headers, header)) for step in steps)

    return replace(
        scenario,
        enter=near(scenario.enter),
        actions=tuple(replace(action, steps=near(action.steps)) for action in scenario.actions),
        users=tuple({**row, PLACE: place} for row in scenario.users or ({},) for place in places),
    )
