"""Whose requests a residency or a tier is for, and the pools that services give to tiers: each becomes a service of the model.
A part of what `load` and its checks do."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches

from tenfold.blueprint.problem import quoted
from tenfold.blueprint.read import Reading
from tenfold.blueprint.services import SERVICE_NAME, ScalingSaid
from tenfold.model import Model, ResidencyRule, Scaling, Service, Tier

ROUNDING = 1e-9
"""Shares that are 100% together may be a little more as floats."""
_ATTRIBUTES = tuple(known.name for known in fields(Scaling))


def with_pools(services: Mapping[str, Service], tiers: Mapping[str, Tier], reading: Reading) -> dict[str, Service]:
    """`services`, each followed by its pools of tiers; noted is which can't be."""
    found: dict[str, Service] = {}
    for service in services.values():
        own = {name: getattr(service.scaling, name) for name in _ATTRIBUTES}
        said = service.scaling.tiers if isinstance(service.scaling, ScalingSaid) and service.runs_always else {}
        found[service.name] = replace(service, scaling=Scaling(**own))
        for tier, differs in said.items():
            pool = service.of_tier(tier, Scaling(**{**own, **differs}))
            problem = next(_problems(pool, tiers, services.keys() | found.keys()), None)
            if problem is None:
                found[pool.name] = pool
            elif reading.sound(f"services.{service.name}.http", f"services.{service.name}.paths", "tiers"):
                reading.note(pool.scaling_at, problem)
    return found


def _problems(pool: Service, tiers: Mapping[str, Tier], taken: Collection[str]) -> Iterator[str]:
    name = pool.tier or ""
    example = f"tiers: {{{name}: {{tenants: [acme]}}}}"
    if not pool.is_behind_edge:
        yield "tiers are told apart at the edge, which sends this service no requests; remove it, or give the service paths"
    if name not in tiers:
        nearest = get_close_matches(name, tiers, 1, 0.6)
        known = f"tiers are {', '.join(tiers)}" if tiers else f"say who is in it, e.g. {example}"
        yield f"there is no tier {quoted(name)}; {f'did you mean {nearest[0]}?' if nearest else known}"
    elif not tiers[name].domains and not tiers[name].tenants:
        yield f"nobody is in {name}, so its pool would never be asked; name them, e.g. {example}"
    if pool.name in taken:
        yield f"its pool would be called {pool.name}, and there is a service of that name; rename that or the tier"
    try:
        SERVICE_NAME.parse(pool.name)
    except ValueError:
        yield f"its pool would be called {pool.name}, which is too long a name; shorten that of the tier or of the service"


def check_tiers(model: Model, reading: Reading) -> None:
    """Note in `reading` what does not fit of who is in which tier."""
    if not reading.sound("tiers"):
        return
    told_apart("tiers", model.tiers, "is in the tier", model, reading)
    shares = {name: tier.share_ratio for name, tier in model.tiers.items() if tier.share_ratio}
    whole = sum(shares.values())
    if whole > 1 + ROUNDING:
        largest = max(shares, key=shares.__getitem__)
        reading.note(f"tiers.{largest}.share", f"all tiers together have {whole * 100:.6g}% of the users; lower one")


def told_apart(
    at: str, rules: Mapping[str, ResidencyRule] | Mapping[str, Tier], belongs: str, model: Model, reading: Reading
) -> None:
    """Note who is claimed by two of these `rules`, which stand at `at`, and hosts that the edge does not answer for."""
    owners: dict[str, str] = {}
    for name, rule in rules.items():
        here = f"{at}.{name}"
        for kind, names in (("domains", rule.domains), ("tenants", rule.tenants)):
            for each in names:
                owner = owners.setdefault(f"{kind} {each}", name)
                if owner != name:
                    reading.note(f"{here}.{kind}", f"{each} {belongs} {owner} already; remove one of the two")
        if model.domains and reading.sound("domains"):
            for domain in rule.domains:
                if not _is_served(domain, model.domains):
                    reading.note(f"{here}.domains", f"the edge does not answer for {domain}; add it to domains")


def _is_served(domain: str, domains: tuple[str, ...]) -> bool:
    """`eu.app.example` and `*.eu.app.example` are served where `*.app.example` is."""
    wild = (each.removeprefix("*") for each in domains if each.startswith("*."))
    return domain in domains or any(domain.removeprefix("*").endswith(ending) for ending in wild)
