"""Which part of a program's requests each of its pools gets: as was seen, or else as the blueprint says. Stage: model and minutes ->
portions of the pools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold.estimators.minutes import SEEN_MINUTES_MIN
from tenfold.facts import Window
from tenfold.model import Model, Service


@dataclass(frozen=True, slots=True)
class Portion:
    """`ratio` (0..1) of the requests to a program are its pool's, as `why` says; None where nothing tells it."""

    ratio: float | None
    why: str


def portions(model: Model, window: Window) -> dict[str, Portion]:
    """By service, of those that have pools for tiers and of these pools: in all they get every request to the program.

    What was seen of all its pools counts more than what the blueprint says. The pool of all gets what no tier's pool gets.
    """
    found: dict[str, Portion] = {}
    for service in model.services.values():
        pools = [each for each in model.services.values() if each.tier is not None and each.base == service.name]
        if pools:
            tiers = _seen(model, service, pools, window) or {pool.name: _told(model, pool) for pool in pools}
            known = [each for each in tiers.values() if each.ratio is not None]
            left = max(0.0, 1.0 - sum(each.ratio or 0.0 for each in known))
            found |= {service.name: Portion(left, "what its tiers leave" if known else ""), **tiers}
    return found


def shared_out(shares: Mapping[str, float], model: Model, parts: Mapping[str, Portion]) -> dict[str, float]:
    """The shares (0..1) of a scenario's requests that go to each program, told by its pools."""
    return {
        name: shares.get(service.base, 0.0) * ((parts[name].ratio or 0.0) if name in parts else 1.0)
        for name, service in model.services.items()
    }


def _told(model: Model, pool: Service) -> Portion:
    key, ratio = _share(model, pool)
    return Portion(ratio, f"as {key} says" if ratio is not None else f"{key} does not say how many users are in it")


def _seen(model: Model, service: Service, pools: Sequence[Service], window: Window) -> dict[str, Portion]:
    """Of each tier's pool, by the minutes in which all of them were seen; empty where these are few, or nobody asked for anything."""
    names = [service.name, *(pool.name for pool in pools)]
    keys = [(name, f"{name}@{region}.requests_per_s") for name in names for region in model.regions]
    minutes = zip(*(window.series.get(key, ()) for _, key in keys), strict=False)
    asked, count = dict.fromkeys(names, 0.0), 0
    for minute in minutes:
        if None not in minute:
            count += 1
            for (name, _), per_s in zip(keys, minute, strict=True):
                asked[name] += per_s or 0.0
    whole = sum(asked.values())
    if count < SEEN_MINUTES_MIN or whole <= 0:
        return {}
    found = {}
    for pool in pools:
        key, ratio = _share(model, pool)
        said = f" ({key} says {ratio * 100:.4g}%)" if ratio is not None else ""
        found[pool.name] = Portion(asked[pool.name] / whole, f"as {count // 60} hours of the journal show{said}")
    return found


def _share(model: Model, pool: Service) -> tuple[str, float | None]:
    """Where the blueprint says how many users are in the pool's tier, and what it says."""
    assert pool.tier is not None, "a pool of all has no share of its own"
    return f"tiers.{pool.tier}.share", model.tiers[pool.tier].share_ratio
