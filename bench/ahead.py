"""What forecasts are worth, and what scaling by them costs, beside what others do on the same load."""

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.loads import DAY, LEARNT, PLAYED, Load, loads
from bench.shop import Tell
from bench.table import Figure, at_most, holds, told
from tenfold.estimators.forecast import Forecaster
from tenfold.model import Trigger
from tenfold.sim.backtest import Backtest, Policy, Tenfold, backtest
from tenfold.sim.policies import Hpa, Kpa

WEEK = 7 * DAY
ERROR_RATIO_MAX, COVERS_FROM, COVERS_TO = 0.45, 0.94, 0.96
FIT_MS_MAX = 20.0
COST_MAX, SHORT_MAX, ACTIONS_MAX, DEARER_MAX = 1.12, 0.003, 40.0, 1.05
BOUND = 0.95
TRIED = 15
HPA_TARGETS = tuple(percent / 100 for percent in range(20, 106, 5))
REACTIVE = Trigger("capacity", up_above=0.8, down_below=0.5, cooldown_s=300.0)
Array = NDArray[np.float64]
T = TypeVar("T")


async def over_loads(work: Callable[[Load], T]) -> list[T]:
    """`work` on each load, on two processes: the forecasts take the time."""
    running = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as pool:
        return await asyncio.gather(*(running.run_in_executor(pool, work, load) for load in loads()))


# --- forecasts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """Of one load: the mean absolute error at 1-10 min and 31-60 min over the best seasonal-naive's, and what the bound covered."""

    name: str
    near_ratio: float
    far_ratio: float
    covered_ratio: float


async def forecast(tell: Tell) -> list[Figure]:
    """Three days of each load, forecast every minute."""
    found: list[Told] = []
    for each in await over_loads(forecast_of):
        tell(
            f"{each.name}: error {each.near_ratio:.2f} of the best seasonal-naive, 95% covers {each.covered_ratio:.1%}"
        )
        found.append(each)
    near = statistics.median(each.near_ratio for each in found)
    covers = [each.covered_ratio for each in found]
    fit_ms = fit_cpu_ms(loads()[-1])
    return [
        at_most("error at 1-10 min over the best seasonal-naive, median", near, ERROR_RATIO_MAX, "", f"{near:.3f}"),
        told("at 31-60 min", f"{statistics.median(each.far_ratio for each in found):.3f}"),
        holds(
            f"the 95% bound covers, on each of {len(found)} loads",
            all(COVERS_FROM <= c <= COVERS_TO for c in covers),
            f"{min(covers):.1%} to {max(covers):.1%}",
            f"{COVERS_FROM:.0%} to {COVERS_TO:.0%}",
        ),
        at_most("fit and forecast, 14 days of minutes, CPU", fit_ms, FIT_MS_MAX, "ms"),
    ]


def forecast_of(load: Load) -> Told:
    """How good the forecasts of one load were."""
    values = np.array(load.values)
    count = len(values)
    begin = count - PLAYED
    made = [each for each in load.forecasts if each is not None]
    assert len(made) == PLAYED, f"{load.name}: a forecast for each minute"
    horizons = np.array(made[0].horizons_s) / 60
    quantiles = np.array([each.quantiles for each in made])
    middle, bound = made[0].levels.index(0.5), made[0].levels.index(BOUND)
    ahead = {h: _at(quantiles[:, middle], horizons, h) for h in (*range(1, 11), *range(31, 61, 3))}
    errors = {h: _error(values, begin, h, foretold) for h, foretold in ahead.items()}
    naive = min(_naive(values, begin, lag) for lag in (DAY, WEEK) if begin - lag >= 0)
    covered = [
        float(np.mean(values[begin + int(h) - 1 :] <= quantiles[: PLAYED - int(h) + 1, bound, i]))
        for i, h in enumerate(horizons)
    ]
    return Told(
        load.name,
        over_naive(float(np.mean([errors[h] for h in range(1, 11)])), naive),
        over_naive(float(np.mean([errors[h] for h in range(31, 61, 3)])), naive),
        float(np.mean(covered)),
    )


def over_naive(error: float, naive: float) -> float:
    """The one over the other; a load that repeats itself exactly leaves the naive forecast no error, and no other can be better."""
    if naive > 0:
        return error / naive
    return math.inf if error > 0 else 1.0


def _at(rows: Array, horizons: Array, ahead: int) -> Array:
    """The forecasts so many minutes ahead: between two horizons in proportion."""
    after = int(np.searchsorted(horizons, ahead))
    if horizons[after] == ahead:
        return np.asarray(rows[:, after])
    part = (ahead - horizons[after - 1]) / (horizons[after] - horizons[after - 1])
    return np.asarray(rows[:, after - 1] * (1 - part) + rows[:, after] * part)


def _error(values: Array, begin: int, ahead: int, foretold: Array) -> float:
    """A forecast that is made as minute i begins is, one minute ahead, of that minute."""
    return float(np.mean(np.abs(values[begin + ahead - 1 :] - foretold[: len(foretold) - ahead + 1])))


def _naive(values: Array, begin: int, lag: int) -> float:
    return float(np.mean(np.abs(values[begin:] - values[begin - lag : len(values) - lag])))


def fit_cpu_ms(load: Load) -> float:
    """Processor time of taking in fourteen days, and the fit and forecast that the next minute brings; the median of some tries."""
    rows = [(load.first + i, value) for i, value in enumerate(load.values)][-LEARNT:]
    took_ms = []
    for _ in range(TRIED):
        forecaster = Forecaster("web@local.requests_per_s")
        forecaster.load(rows[:-1])
        began_s = time.process_time()
        forecaster.observe(*rows[-1])
        took_ms.append((time.process_time() - began_s) * 1000)
        assert forecaster.fact is not None and forecaster.fact.history_s > 13 * 86_400
    return statistics.median(took_ms)


# --- policies ---------------------------------------------------------------------------------------------------------


def hpa(target_ratio: float) -> Policy:
    """Kubernetes' HorizontalPodAutoscaler on what one instance holds."""
    core = Hpa(1, 1000, target_ratio=target_ratio)
    return lambda minute, known, wanted, ready: core.desired(minute * 60.0, wanted, ready, known / max(ready, 1))


def kpa() -> Policy:
    """Knative's autoscaler, an instance taken to serve one request at once."""
    core = Kpa(1, 1000, 0.7)
    return lambda minute, known, wanted, ready: core.desired(minute * 60.0, wanted, ready, known)


@dataclass(frozen=True, slots=True)
class Played:
    """One load under every policy; `dearer_ratio` is what ours costs over the HPA target that is short as often."""

    name: str
    ran: Mapping[str, Backtest]
    dearer_ratio: float


def played(start_minutes: int, load: Load) -> Played:
    """Play `load` under each."""
    ran: dict[str, Backtest] = {}
    before = load.values[-PLAYED - 1]
    nothing = (None,) * PLAYED
    ours: Mapping[str, Policy] = {
        "tenfold": Tenfold(load.forecasts, start_minutes, began_at=load.began_at),
        "reactive": Tenfold(nothing, start_minutes, began_at=load.began_at, trigger=REACTIVE),
        "hpa-70": hpa(0.7),
        "hpa-80": hpa(0.8),
        "hpa-90": hpa(0.9),
        "kpa": kpa(),
    }
    for name, policy in ours.items():
        ran[name] = backtest(load.played, policy, start_minutes, before)
    others = [backtest(load.played, hpa(target), start_minutes, before) for target in HPA_TARGETS]
    shorts = np.maximum.accumulate([other.short_ratio for other in others])
    same = float(np.interp(ran["tenfold"].short_ratio, shorts, [other.cost_ratio for other in others]))
    return Played(load.name, ran, ran["tenfold"].cost_ratio / same)


async def _policies(tell: Tell, start_minutes: int) -> list[Figure]:
    results = await over_loads(partial(played, start_minutes))
    for each in results:
        ours = each.ran["tenfold"]
        tell(
            f"{each.name}: cost {ours.cost_ratio:.3f}, short {ours.short_ratio:.2%}, {ours.actions_a_day:.0f} actions a day, "
            f"{each.dearer_ratio:.2f} of what HPA costs that is short as often"
        )

    def of(policy: str, figure: str) -> list[float]:
        return [float(getattr(each.ran[policy], figure)) for each in results]

    cost, short = of("tenfold", "cost_ratio"), of("tenfold", "short_ratio")
    worst = max(results, key=lambda each: each.dearer_ratio)
    back = statistics.fmean(of("tenfold", "reversals_a_day"))
    figures = [
        at_most("cost over a clairvoyant, mean", statistics.fmean(cost), COST_MAX, "", f"{statistics.fmean(cost):.3f}"),
        told("the same, median over loads", f"{statistics.median(cost):.3f}"),
        at_most("time short, mean", statistics.fmean(short), SHORT_MAX, "", f"{statistics.fmean(short):.2%}"),
        at_most("actions a day", statistics.fmean(of("tenfold", "actions_a_day")), ACTIONS_MAX, ""),
        at_most("of them taken back within 10 min, a day", back, 0.0, ""),
        at_most(
            "dearest over the HPA target that is short as often",
            worst.dearer_ratio,
            DEARER_MAX,
            "",
            f"{worst.dearer_ratio:.2f} ({worst.name}); mean {statistics.fmean(each.dearer_ratio for each in results):.2f}",
        ),
    ]
    for policy in ("reactive", "hpa-70", "hpa-80", "hpa-90", "kpa"):
        cost, short = of(policy, "cost_ratio"), of(policy, "short_ratio")
        figures.append(
            told(
                policy,
                f"cost {statistics.fmean(cost):.3f} (median {statistics.median(cost):.3f}), short {statistics.fmean(short):.2%} "
                f"(median {statistics.median(short):.2%}), {statistics.fmean(of(policy, 'actions_a_day')):.0f} actions a day",
            )
        )
    return figures


async def policies_2(tell: Tell) -> list[Figure]:
    """Instances take two minutes to start."""
    return await _policies(tell, 2)


async def policies_5(tell: Tell) -> list[Figure]:
    """Instances take five minutes to start."""
    return await _policies(tell, 5)
