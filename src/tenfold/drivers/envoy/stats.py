"""Two readings of an Envoy's statistics become the traffic of each pool in between.
Stage: world -> facts, without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tenfold.facts import PoolSeen
from tenfold.model import StoreEnd
from tenfold.render.envoy import SOCKETS_SUFFIX
from tenfold.render.envoy_behind import PROBE_PREFIX, STORE_PREFIX
from tenfold.render.envoy_sleep import WAKER

STATS_PATH = "/stats?format=json&histogram_buckets=detailed&type=All"
GATHER_PATH = "/stats?filter=^server.uptime$"
CLUSTERS_PATH = "/clusters?format=json"
CONTROL_CLUSTER = "control"

RATES_OVER_S = 0.9
"""Rates are of at least this long: a look that a wake-up brought forward would show noise."""

_UNSENT = ("upstream_cx_none_healthy", "upstream_rq_pending_overflow")
_VERSION = "listener_manager.lds.version_text"
_CONNECTIONS = "http.edge.downstream_cx_active"
_ROUTES_VERSION = "http.edge.rds.routes.version_text"
VERSION_PATH = f"/stats?format=json&type=TextReadouts&filter=^{_VERSION}$"


def version(stats: Any) -> str | None:
    """Which table an Envoy runs, from its answer to VERSION_PATH; None when it does not tell that."""
    return next((stat["value"] for stat in stats["stats"] if stat.get("name") == _VERSION), None)


@dataclass(frozen=True, slots=True)
class HostReading:
    """What one pool counted at one of its endpoints since this became one, and how it is now.

    `placed` tries found a connection; of these and of those that found none, `answered` got an answer that is no 5xx, and
    `failed` a 5xx or none at all. The rest waits for its answer or was given up for another. `is_well` is what the Envoy's
    own checks say.
    """

    placed: int = 0
    answered: int = 0
    failed: int = 0
    active: int = 0
    is_well: bool = True


@dataclass(frozen=True, slots=True)
class PoolReading:
    """One pool's counters since its Envoy began, and what its instances have at hand now.

    `unsent` counts requests for which no instance was left or there was no room; they are not among the `attempts`. `completed`
    are requests whose client got an answer, Envoy's own included; of these `errors` were a 5xx. What was tried again counts once.
    `bins` counts answers by time: (lower bound, width) in milliseconds,
    so fine that a bin's middle stands for all of it (2 digits).
    """

    attempts: int = 0
    unsent: int = 0
    retries: int = 0
    errors: int = 0
    completed: int = 0
    bins: Mapping[tuple[float, float], int] = field(default_factory=dict)
    active_by_instance: Mapping[str, int] = field(default_factory=dict)
    hosts: Mapping[str, HostReading] = field(default_factory=dict)

    @property
    def active(self) -> int:
        """Requests at hand now, hedges included."""
        return sum(self.active_by_instance.values())


@dataclass(frozen=True, slots=True)
class Reading:
    """All pools at `at_s` (of a clock that never jumps), and which table the gateway runs (None: it was started by a Tenfold that
    did not have it tell that). `connections` are those that clients hold open, `stores` those that answer its checks."""

    at_s: float
    version: str | None
    pools: Mapping[str, PoolReading]
    connections: int = 0
    stores: tuple[StoreEnd, ...] = ()


def read(stats: Any, clusters: Any, at_s: float) -> Reading:
    """From the answers to STATS_PATH and CLUSTERS_PATH. What is no pool of a service or of the entry is left out."""
    values: dict[str, Any] = {}
    bins: dict[str, dict[tuple[float, float], int]] = {}
    for stat in stats["stats"]:
        if "histograms" in stat:
            for found in stat["histograms"].get("details", ()):
                bins[found["name"]] = {(b["lower_bound"], b["width"]): b["count"] for b in found.get("totals", ())}
        else:
            values[stat["name"]] = stat["value"]
    pools = {}
    for cluster in clusters.get("cluster_statuses", ()):
        name = cluster["name"]
        if name in (CONTROL_CLUSTER, WAKER) or name.startswith((PROBE_PREFIX, STORE_PREFIX)):
            continue
        prefix = f"cluster.{name}."
        hosts = {host.get("hostname", ""): _host(host) for host in cluster.get("host_statuses", ())}
        pools[name] = PoolReading(
            attempts=int(values.get(prefix + "upstream_rq_total", 0)),
            unsent=sum(int(values.get(prefix + name, 0)) for name in _UNSENT),
            retries=int(values.get(prefix + "upstream_rq_retry", 0)),
            errors=int(values.get(prefix + "upstream_rq_5xx", 0)),
            completed=int(values.get(prefix + "upstream_rq_completed", 0)),
            bins=bins.get(prefix + "upstream_rq_time", {}),
            active_by_instance={instance: host.active for instance, host in hosts.items()},
            hosts=hosts,
        )
    # A process that has just begun knows its listeners before their routes, and serves by neither.
    serves = _VERSION not in values or values.get(_ROUTES_VERSION)
    version = values.get(_VERSION) if serves else ""
    return Reading(at_s, version, pools, int(values.get(_CONNECTIONS, 0)), stores_well(clusters))


def stores_well(clusters: Any) -> tuple[StoreEnd, ...]:
    """The stores that answer an Envoy's checks, from its answer to CLUSTERS_PATH, by kind. One that was never checked is not among
    them, nor is one whose pool still warms up."""
    return tuple(
        StoreEnd(cluster["name"].removeprefix(STORE_PREFIX), at["address"], at["port_value"])
        for cluster in sorted(clusters.get("cluster_statuses", ()), key=lambda cluster: cluster["name"])
        if cluster["name"].startswith(STORE_PREFIX)
        for host in cluster.get("host_statuses", ())
        if _is_well(host)
        for at in (host["address"]["socket_address"],)
    )


def _is_well(status: Any) -> bool:
    return not status.get("health_status", {}).get("failed_active_health_check", False)


def _host(status: Any) -> HostReading:
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in status["stats"]}
    return HostReading(
        placed=stats.get("rq_total", 0),
        answered=stats.get("rq_success", 0),
        failed=stats.get("rq_error", 0),
        active=stats.get("rq_active", 0),
        is_well=_is_well(status),
    )


def pools_seen(before: Reading, now: Reading, region: str, seen_at: float) -> tuple[PoolSeen, ...]:
    """The traffic of each service between two readings of the same process."""
    return tuple(
        _pool_seen(name, before, now, region, seen_at) for name in now.pools if not name.endswith(SOCKETS_SUFFIX)
    )


def at_hand(pools: tuple[PoolSeen, ...], now: Reading, seen_at: float) -> tuple[PoolSeen, ...]:
    """The same traffic, with what each instance has at hand now."""
    nothing = PoolReading()
    return tuple(
        replace(
            pool,
            seen_at=seen_at,
            sockets=now.pools.get(pool.service + SOCKETS_SUFFIX, nothing).active,
            in_flight_by_instance=dict(now.pools.get(pool.service, nothing).active_by_instance),
            sockets_by_instance=dict(now.pools.get(pool.service + SOCKETS_SUFFIX, nothing).active_by_instance),
        )
        for pool in pools
    )


def _pool_seen(service: str, before: Reading, now: Reading, region: str, seen_at: float) -> PoolSeen:
    elapsed_s = now.at_s - before.at_s
    first, last = before.pools.get(service, PoolReading()), now.pools[service]
    if last.attempts < first.attempts:
        first = PoolReading()  # the pool was taken away and came again: it counts from nothing
    sockets = now.pools.get(service + SOCKETS_SUFFIX, PoolReading())
    bins = {bin_: count - first.bins.get(bin_, 0) for bin_, count in sorted(last.bins.items())}
    answered = sum(bins.values())
    busy_ms = sum(count * (low + width / 2) for (low, width), count in bins.items())
    mean_ms = busy_ms / answered if answered else None
    retries = last.retries - first.retries
    # Little's law on arrivals and their mean time, not on the sum of the times: Envoy sometimes gathers times a look
    # late, and two seconds' worth of them would pass for twice the requests. A second try is no arrival: it is short.
    arrived = max(0, last.attempts - first.attempts - retries)
    requests = last.attempts + last.unsent - first.attempts - first.unsent - retries
    return PoolSeen(
        service=service,
        region=region,
        seen_at=seen_at,
        requests_per_s=max(0, requests) / elapsed_s,
        errors_per_s=(last.errors - first.errors) / elapsed_s,
        # Short requests are rarely caught by a look at what is at hand, long ones are not among those that ended: the
        # larger figure is the true one.
        in_flight=max(arrived / elapsed_s * (mean_ms or 0.0) / 1000, (first.active + last.active) / 2),
        sockets=sockets.active,
        response_ms_mean=mean_ms,
        response_ms_p50=percentile(bins, 0.50),
        response_ms_p95=percentile(bins, 0.95),
        response_ms_p99=percentile(bins, 0.99),
        retries_per_s=retries / elapsed_s,
        in_flight_by_instance=dict(last.active_by_instance),
        sockets_by_instance=dict(sockets.active_by_instance),
    )


def percentile(bins: Mapping[tuple[float, float], int], ratio: float) -> float | None:
    """The time, in milliseconds, that `ratio` (0..1) of the answers did not exceed; None when there were none.

    `bins` are in ascending order; inside a bin answers are taken to be spread evenly.
    """
    left = ratio * sum(bins.values())
    found = None
    for (low, width), count in bins.items():
        if count > 0:
            found = low + width * min(1.0, left / count)
            if left <= count:
                return found
            left -= count
    return found
