"""The steady state: what each probe measures in a look, and what is off. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from tenfold.deciders import RegionState
from tenfold.facts import EngineState, InstanceState
from tenfold.proof.drills.drill import Measure, Probe
from tenfold.proof.drills.stage import Look


def off(probes: Iterable[Probe], look: Look) -> dict[Measure, str]:
    """What of `probes` does not hold, each with a sentence; what is not known yet is not off."""
    found = {}
    for probe in probes:
        value = measured(probe.measure, look)
        if value is not None and not probe.lowest <= value <= probe.highest:
            found[probe.measure] = _said(probe, value, look)
    return found


def measured(measure: Measure, look: Look) -> float | None:
    """The value of one measure in a look; None when it is not known."""
    match measure:
        case Measure.EDGE_STATUS:
            return look.edge_status
        case Measure.FAILED:
            return look.failed
        case Measure.LATE_MS:
            return look.late_ms
        case Measure.WRITE_FAILS:
            return look.write_fails
        case Measure.INSTANCES_MISSING:
            return float(sum(missing.values())) if (missing := _missing(look)) else 0.0
        case Measure.ENGINES_DOWN:
            return float(len(_engines_down(look)))
        case Measure.REGIONS_OUT:
            return float(len(_regions_out(look)))
        case Measure.SHIPPING:
            return float(look.memory.release.operation is not None)
        case Measure.CONTROL_AGE_S:
            return max(0.0, look.at - look.seen_at)


def _missing(look: Look) -> dict[str, int]:
    """By pool, how many instances are not ready that are meant to be."""
    ready: dict[str, int] = {}
    for instance in look.snapshot.instances.values():
        if instance.state is InstanceState.READY and not instance.frozen:
            pool = f"{instance.service}@{instance.region}"
            ready[pool] = ready.get(pool, 0) + 1
    pools = look.memory.scale.pools.items()
    return {pool: lacking for pool, scale in pools if (lacking := scale.wanted - ready.get(pool, 0)) > 0}


def _engines_down(look: Look) -> list[str]:
    seen = look.snapshot.engines.values()
    return sorted(engine.key for engine in seen if engine.state is not EngineState.READY)


def _regions_out(look: Look) -> list[str]:
    judged = look.memory.regions.regions.items()
    return [name for name, region in judged if region.state is not RegionState.SERVING]


def _said(probe: Probe, value: float, look: Look) -> str:
    match probe.measure:
        case Measure.EDGE_STATUS:
            return f"the edge answers {value:.0f}" if value else "the edge does not answer"
        case Measure.FAILED:
            return f"{value:.0f} requests of the last second failed"
        case Measure.LATE_MS:
            return f"1% of the answers take {value:,.0f} ms longer than is usual"
        case Measure.WRITE_FAILS:
            return "writes are not acknowledged"
        case Measure.INSTANCES_MISSING:
            lacking = ", ".join(f"{count} of {pool}" for pool, count in sorted(_missing(look).items()))
            return f"instances are not ready: {lacking}"
        case Measure.ENGINES_DOWN:
            return f"{', '.join(_engines_down(look))} does not answer"
        case Measure.REGIONS_OUT:
            return f"{', '.join(_regions_out(look))} does not serve in full"
        case Measure.SHIPPING:
            return "a release is on its way"
        case Measure.CONTROL_AGE_S:
            return f"the control plane has written nothing for {value:.0f} s"


@dataclass(slots=True)
class Lasting:
    """Since when something holds that went on to hold for `for_s`; None while it has not. Once it breaks again it is forgotten."""

    for_s: float
    since: float | None = None
    _from: float | None = None

    def look(self, holds: bool, at: float) -> None:
        """Whether it holds at `at`."""
        if not holds:
            self._from = self.since = None
            return
        self._from = at if self._from is None else self._from
        if self.since is None and at - self._from >= self.for_s - 1e-9:
            self.since = self._from
