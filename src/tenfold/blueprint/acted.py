"""What a blueprint says that is read and checked, and not acted on yet.
Said to the operator, so that nobody relies on it."""

from collections.abc import Iterable

from tenfold.model import CacheTimes, Data, Limits, Model


def not_acted_on(model: Model) -> tuple[str, ...]:
    """A sentence for each part of `model` that changes nothing yet; none for a blueprint that is acted on whole."""
    pooled = {service.tier for service in model.services.values()}
    alike = [name for name in model.tiers if name not in pooled]
    edged = [t.name for t in model.tiers.values() if (t.cache_s, t.preload, t.requests) != (None, False, None)]
    residents = [name for name, region in model.regions.items() if region.residency]
    data = model.data
    sentences = (
        (
            bool(residents),
            f"regions: residency ({_listed(residents)}) binds where requests are served, not yet where rows lie",
        ),
        (
            not model.is_spread and any(region.latency_ms is not None for region in model.regions.values()),
            "regions: latency limits what a region takes from others, and there is one",
        ),
        (data is not None and data.shards > 1, "data.shards: all tenants share one database; shards come later"),
        (data is not None and data.replicas > 1, "data.replicas: one copy is kept so far, in the second region"),
        (
            data is not None and data.url is not None and _is_placed(data),
            "data: region, replicas, synchronous, rpo and rto are of embedded databases; url names your own, which keeps its own copies",
        ),
        (data is not None and data.tenant_key is not None, "data.tenant_key: rows are not yet told apart by tenant"),
        (
            bool(alike),
            f"tiers: no service gives {_listed(alike)} a pool of its own (scaling.tiers), so they share that of all",
        ),
        (bool(edged), f"tiers: cache, preload and requests ({_listed(edged)}) change nothing yet"),
        (
            not model.is_spread and bool(model.edge.trust or model.edge.geoip),
            "edge: trust and geoip tell which region is nearest, and there is one",
        ),
        (model.edge.cache != CacheTimes(), "edge.cache: the edge keeps no answers yet"),
        (model.edge.limits != Limits(), "edge.limits: the edge limits no caller yet"),
        (model.targets.cache_hit_ratio is not None, "targets.cache_hit: never met while the edge keeps no answers"),
    )
    return tuple(sentence for is_given, sentence in sentences if is_given)


def _is_placed(data: Data) -> bool:
    own = (data.region, data.rpo_s, data.rto_s)
    return data.replicas > 0 or data.is_synchronous or any(each is not None for each in own)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
