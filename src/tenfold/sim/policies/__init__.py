"""The policies that Tenfold is compared with, by the names people type. Each is a `Scaler`: with
`functools.partial(decide, scaler=policy(name))` the whole brain runs, and only the numbers of its pools are chosen otherwise.

| name | what chooses |
|---|---|
| `tenfold` | Tenfold itself: triggers, forecast, damping |
| `reactive` | the blueprint's triggers, without the forecast |
| `hpa`, `hpa-80` | Kubernetes' HorizontalPodAutoscaler v2, aiming at 70% (or so many percent) of what one instance holds |
| `kpa` | Knative's autoscaler, aiming at the requests at hand of an instance that bears 70% of what it holds |
| `oracle` | the clairvoyant: exactly what is needed, asked for just in time |
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from tenfold.deciders.decide import Scaler
from tenfold.deciders.scale import scale
from tenfold.sim.policies.hpa import Hpa, HpaScaler
from tenfold.sim.policies.kpa import Kpa, KpaScaler
from tenfold.sim.policies.oracle import Oracle, OracleScaler
from tenfold.sim.policies.pools import Truth
from tenfold.sim.policies.reactive import reactive

__all__ = [
    "POLICIES",
    "Hpa",
    "HpaScaler",
    "Kpa",
    "KpaScaler",
    "Oracle",
    "OracleScaler",
    "Truth",
    "policy",
    "reactive",
]

POLICIES: Mapping[str, Callable[[Truth], Scaler]] = {
    "tenfold": lambda truth: scale,
    "reactive": lambda truth: reactive,
    "hpa": HpaScaler,
    "kpa": KpaScaler,
    "oracle": OracleScaler,
}
"""What makes each policy, from what the simulation knows. One that remembers is made anew for each run."""

_HPA_AT = re.compile(r"hpa-(.*)", re.DOTALL)


def policy(name: str, truth: Truth | None = None) -> Scaler:
    """The policy of that name, new; `truth` is what the simulation knows of demand and instances.

    Raises `ValueError` when there is none of that name, or it needs a truth that was not given.
    """
    if (at := _HPA_AT.fullmatch(name)) is not None:
        percent = int(at[1]) if re.fullmatch(r"[0-9]{1,3}", at[1]) else 0
        if not 1 <= percent <= 100:
            raise ValueError(f"{name[:40]!r}: the target is a whole percent from 1 to 100, as in hpa-80")
        return HpaScaler(truth, percent / 100)
    make = POLICIES.get(name)
    if make is None:
        nearest = get_close_matches(name[:40].strip().lower(), POLICIES, 1, 0.5)
        advice = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join([*POLICIES, 'hpa-PERCENT'])}"
        raise ValueError(f"there is no policy {name[:40]!r}; {advice}")
    if name == "oracle" and truth is None:
        raise ValueError("the oracle needs to know what is to come: give it the demand on each pool")
    return make(truth or Truth())
