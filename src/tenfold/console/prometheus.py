"""The last tick as Prometheus text (exposition format 0.0.4). Stage: snapshot -> whoever scrapes."""

from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.facts import InstanceState
from tenfold.loop import Tick

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric with its help and its samples (labels, value)."""

    name: str
    help: str
    samples: list[tuple[dict[str, str], float]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} gauge"
        for labels, value in self.samples:
            text = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
            yield f"{self.name}{{{text}}} {value!r}" if text else f"{self.name} {value!r}"


def exposition(tick: Tick) -> str:
    """Gauges of services, instances and engines as they were seen in `tick`."""
    return "\n".join(line for family in _families(tick) for line in family.lines()) + "\n"


def _families(tick: Tick) -> Iterator[_Family]:
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
        "Response time over the last look, by quantile.",
        [
            ({**labels, "quantile": quantile}, ms / 1000)
            for labels, p in pools
            for quantile, ms in (("0.5", p.response_ms_p50), ("0.95", p.response_ms_p95), ("0.99", p.response_ms_p99))
            if ms is not None
        ],
    )
    counts: dict[tuple[str, str, str, str], int] = {}
    for seen in snapshot.instances.values():
        key = (seen.service, seen.region, seen.release, str(seen.state))
        counts[key] = counts.get(key, 0) + 1
    names = ("service", "region", "release", "state")
    instances = [(dict(zip(names, key, strict=True)), float(n)) for key, n in sorted(counts.items())]
    yield _Family("tenfold_instances", "Instances by state.", instances)
    wanted = [({"pool": k}, float(p.wanted)) for k, p in tick.memory.scale.pools.items()]
    yield _Family("tenfold_instances_wanted", "Instances that a service should have.", wanted)
    each = [({"instance": i.id, "service": i.service}, i) for i in snapshot.instances.values()]
    cpu = [(k, i.cpu_cores) for k, i in each if i.cpu_cores is not None]
    yield _Family("tenfold_instance_cpu_cores", "Processor cores an instance uses.", cpu)
    memory = [(k, float(i.memory_bytes)) for k, i in each if i.memory_bytes is not None]
    yield _Family("tenfold_instance_memory_bytes", "Memory an instance uses.", memory)
    ready = [({"engine": e.key}, float(e.state == InstanceState.READY.value)) for e in snapshot.engines.values()]
    yield _Family("tenfold_engine_ready", "1 while an engine answers.", ready)
    yield _Family("tenfold_decisions_total", "Decisions made so far.", [({}, float(tick.memory.decisions))])


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
