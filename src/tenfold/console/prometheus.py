"""The last tick as Prometheus text (exposition format 0.0.4). Stage: snapshot -> whoever scrapes."""

from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.deciders import RegionState
from tenfold.facts import InstanceState
from tenfold.loop import Tick

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric with its help, its samples (labels, value) and its kind."""

    name: str
    help: str
    samples: list[tuple[dict[str, str], float]]
    kind: str = "gauge"

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            text = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
            yield f"{self.name}{{{text}}} {value!r}" if text else f"{self.name} {value!r}"


def exposition(tick: Tick) -> str:
    """Services, instances, engines, regions and levels as they were seen in `tick`. A family without samples is left out."""
    families = (*_of_services(tick), *_of_instances(tick), *_of_regions(tick), *_of_levels(tick))
    return "".join(f"{line}\n" for family in families if family.samples for line in family.lines())


def _of_services(tick: Tick) -> Iterator[_Family]:
    snapshot = tick.snapshot
    pools = [({"service": p.service, "region": p.region}, p) for p in snapshot.pools.values()]
    yield _Family(
        "tenfold_requests_per_second", "Requests answered each second.", [(k, p.requests_per_s) for k, p in pools]
    )
    yield _Family(
        "tenfold_errors_per_second", "5xx given to clients each second.", [(k, p.errors_per_s) for k, p in pools]
    )
    yield _Family(
        "tenfold_requests_in_flight", "Mean number of requests at hand.", [(k, p.in_flight) for k, p in pools]
    )
    yield _Family("tenfold_websockets_open", "Open WebSockets.", [(k, float(p.sockets)) for k, p in pools])
    yield _Family(
        "tenfold_response_seconds",
        "Response time over the last look, by percentile.",
        [
            ({**labels, "percentile": percentile}, ms / 1000)
            for labels, p in pools
            for percentile, ms in (("50", p.response_ms_p50), ("95", p.response_ms_p95), ("99", p.response_ms_p99))
            if ms is not None
        ],
    )
    wanted = [({"pool": k}, float(p.wanted)) for k, p in tick.memory.scale.pools.items()]
    yield _Family("tenfold_instances_wanted", "Instances that a service should have.", wanted)
    cold = [({"service": c.service, "region": c.region}, c) for c in snapshot.cold_starts.values()]
    yield _Family(
        "tenfold_cold_starts_total",
        "Times a sleeping service was woken by requests.",
        [(k, float(c.starts)) for k, c in cold],
        "counter",
    )
    yield _Family(
        "tenfold_cold_start_requests_total",
        "Requests that waited for a cold start, by how it ended.",
        [
            ({**k, "outcome": name}, float(n))
            for k, c in cold
            for name, n in (("served", c.held), ("refused", c.refused))
        ],
        "counter",
    )
    yield _Family(
        "tenfold_cold_start_wait_seconds",
        "How long the newest requests waited for a cold start.",
        [
            ({**labels, "of": name}, ms / 1000)
            for labels, c in cold
            for name, ms in (("median", c.wait_ms_p50), ("most", c.wait_ms_max))
            if ms is not None
        ],
    )
    posted = [({"service": m.service, "region": m.region, "name": m.name}, m.value) for m in snapshot.metrics.values()]
    yield _Family("tenfold_app_metric", "Metrics that the app posts, by their name.", posted)


def _of_instances(tick: Tick) -> Iterator[_Family]:
    snapshot = tick.snapshot
    counts: dict[tuple[str, str, str, str], int] = {}
    for seen in snapshot.instances.values():
        key = (seen.service, seen.region, seen.release, str(seen.state))
        counts[key] = counts.get(key, 0) + 1
    names = ("service", "region", "release", "state")
    instances = [(dict(zip(names, key, strict=True)), float(n)) for key, n in sorted(counts.items())]
    yield _Family("tenfold_instances", "Instances by state.", instances)
    each = [({"instance": i.id, "service": i.service}, i) for i in snapshot.instances.values()]
    cpu = [(k, i.cpu_cores) for k, i in each if i.cpu_cores is not None]
    yield _Family("tenfold_instance_cpu_cores", "Processor cores an instance uses.", cpu)
    memory = [(k, float(i.memory_bytes)) for k, i in each if i.memory_bytes is not None]
    yield _Family("tenfold_instance_memory_bytes", "Memory an instance uses.", memory)
    ready = [({"engine": e.key}, float(e.state == InstanceState.READY.value)) for e in snapshot.engines.values()]
    yield _Family("tenfold_engine_ready", "1 while an engine answers.", ready)


def _of_regions(tick: Tick) -> Iterator[_Family]:
    snapshot = tick.snapshot
    open_ = [
        ({"gateway": g.region}, float(g.connections)) for g in snapshot.gateways.values() if g.connections is not None
    ]
    yield _Family("tenfold_connections_open", "Connections that clients hold open.", open_)
    states = [
        ({"region": name, "state": str(state)}, float(region.state is state))
        for name, region in tick.memory.regions.regions.items()
        for state in RegionState
    ]
    yield _Family("tenfold_region_state", "1 for the state that a region is in.", states)
    links = [({"from": k.origin, "to": k.region}, k) for k in snapshot.links.values()]
    rtts = [(labels, link.rtt_ms / 1000) for labels, link in links if link.rtt_ms is not None]
    yield _Family("tenfold_link_round_trip_seconds", "Round trip between two regions.", rtts)


def _of_levels(tick: Tick) -> Iterator[_Family]:
    snapshot = tick.snapshot
    objectives = [({"objective": o.objective}, o) for o in snapshot.objectives.values()]
    left = [(labels, o.budget_left_ratio) for labels, o in objectives]
    yield _Family("tenfold_error_budget_left_ratio", "What is left of an error budget (1: all).", left)
    burns = [({**labels, "window": window}, burn) for labels, o in objectives for window, burn in o.burn.items()]
    yield _Family("tenfold_error_budget_burn", "How fast an error budget is spent (1: exactly in its window).", burns)
    firing = [
        ({"alert": key, "severity": alert.severity}, 1.0)
        for key, alert in tick.memory.alerts.alerts.items()
        if alert.is_firing
    ]
    yield _Family("tenfold_alert_firing", "1 for each alert that fires.", firing)
    costs = [({"currency": s.currency}, s.per_hour) for s in snapshot.spend.values()]
    yield _Family("tenfold_cost_per_hour", "What the instances cost each hour.", costs)
    yield _Family("tenfold_decisions_total", "Decisions made so far.", [({}, float(tick.memory.decisions))], "counter")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
