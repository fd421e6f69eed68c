"""What a ScaledObject asks for: text of its trigger's metadata becomes a pool of the model, or a sentence that a person can act on.
Stage: KEDA -> model.

KEDA hands on a trigger's whole metadata, its own keys included; those are left to it. A key that ends with `FromEnv` has its value from
the target's environment (KEDA looks it up) and means the key before that ending.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tenfold.blueprint.units import Unit, count, duration, number, percent, text
from tenfold.model import Forecast, Health, Scaling, Service

OF_KEDA = (
    *("scalerAddress", "enableTLS", "unsafeSsl", "metricType", "tlsCertFile"),
    *("caCert", "tlsClientCert", "tlsClientKey"),
)
"""Keys of a trigger that KEDA reads itself."""
FROM_ENV = "FromEnv"
START_S = 120.0
"""From the wish for a pod to its first request, where nobody says better: a node that is there already, an image that is not."""
MAX_DEFAULT = 100
"""As KEDA's own maxReplicaCount."""
TEXT_LENGTH_MAX = 8192

QUERY_KEYS: Mapping[str, Unit] = {
    "query": text("a PromQL query", "sum(rate(http_requests_total[1m]))"),
    "holds": number("a number above 0", "50", low=0.001),
    "replicas_query": text("a PromQL query", 'sum(kube_deployment_status_replicas_ready{deployment="web"})'),
    "min": count("instances", "2", low=0, high=10_000),
    "max": count("instances", "40", low=1, high=10_000),
    "horizon": duration("10m", low_s=60.0),
    "confidence": percent("95%", low=0.5, high=0.999),
    "start": duration("2m", low_s=1.0),
    "service": text("the name of a service", "web"),
}
POOL_KEYS: Mapping[str, Unit] = {
    "service": text("the name of a service", "web"),
    "region": text("the name of a region", "europe-west1"),
}


class BadMetadata(Exception):
    """The ScaledObject can't be served as it is written; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Who asks: a ScaledObject's namespace and name, and its trigger's metadata, sorted by key."""

    namespace: str
    name: str
    metadata: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Asked:
    """A pool to be thought for: `query` tells its load and `replicas_query`, where there is one, how many instances are ready. One holds
    `holds` of that load, and serves `start_s` after it was wished for. `service` has the bounds and the forecast."""

    query: str
    holds: float
    replicas_query: str | None
    start_s: float
    service: Service


def read(metadata: Mapping[str, str], keys: Mapping[str, Unit], needed: tuple[str, ...]) -> dict[str, Any]:
    """The values of `metadata` by key. Raises `BadMetadata` for a key that is not one of `keys`, a value that is none, or one of
    `needed` that is missing."""
    found: dict[str, Any] = {}
    for written, value in metadata.items():
        key = written.removesuffix(FROM_ENV)
        if key in OF_KEDA:
            continue
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}"
            raise BadMetadata(f"metadata {written[:80]}: there is no such key; {advice}")
        if key in found:
            raise BadMetadata(f"metadata {key}: it is there twice, as {key} and as {key}{FROM_ENV}")
        if len(value) > TEXT_LENGTH_MAX:
            raise BadMetadata(f"metadata {written}: it is longer than {TEXT_LENGTH_MAX} characters")
        try:
            found[key] = keys[key].parse(value.strip())
        except ValueError as error:
            shown = " ".join(value[:80].split())
            raise BadMetadata(f'metadata {written}: {error}, found "{shown}"; try {keys[key].example}') from None
    for key in needed:
        if key not in found:
            raise BadMetadata(f"metadata {key} is missing: it is {keys[key].what}, such as {keys[key].example}")
    return found


def asked_of(ref: Ref, services: Mapping[str, Service], holds: Mapping[str, float]) -> Asked:
    """What `ref` asks for; `services` are those of the blueprint, and `holds` what one instance was measured to hold, by service. Raises
    `BadMetadata`."""
    found = read(dict(ref.metadata), QUERY_KEYS, ("query",))
    named = found.get("service")
    if named is not None and named not in services:
        near = difflib.get_close_matches(named, services, 1) or list(services)[:5]
        there = f"it has {', '.join(near)}" if near else "there is none where the scaler runs"
        raise BadMetadata(f"metadata service: the blueprint has no service {named[:80]}; {there}")
    load = found.get("holds", holds.get(named or ""))
    if load is None:
        raise BadMetadata(
            "metadata holds is missing: it is how much of the query's figure one instance holds, such as 50 requests/s"
        )
    scaling = _scaling(services[named].scaling if named is not None else None, found)
    start_s = found.get("start", START_S)
    # Something listens there, so that a request may wake it; the name is what its decisions are called by.
    service = Service(
        named or ref.name or "pool", "", paths=("/",), health=Health(starts_within_s=2 * start_s), scaling=scaling
    )
    return Asked(found["query"], load, found.get("replicas_query"), start_s, service)


def _scaling(own: Scaling | None, found: Mapping[str, Any]) -> Scaling:
    """The blueprint's scaling (None: there is none), as far as the metadata does not say otherwise. Of the triggers only `capacity`
    has a figure here."""
    base = own or Scaling(1, MAX_DEFAULT, forecast=Forecast())
    low, high = found.get("min", base.instances_min), found.get("max", base.instances_max)
    if own is None and "max" not in found:
        high = max(high, low)
    if low > high:
        raise BadMetadata(f"metadata min: {low} is above max, which is {high}")
    forecast = base.forecast
    if "horizon" in found or "confidence" in found:
        usual = forecast or Forecast()
        forecast = Forecast(found.get("horizon", usual.horizon_s), found.get("confidence", usual.confidence_ratio))
    triggers = tuple(each for each in base.triggers if each.metric == "capacity")
    return replace(base, instances_min=low, instances_max=high, forecast=forecast, triggers=triggers)
