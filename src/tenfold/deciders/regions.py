"""Which regions may take traffic, judged from what is seen of them. Stage: decide, before ways are chosen.

A region is judged by signals. A hard one says that it can't answer at all, and takes it out at once; a soft one says that it
answers worse than the others do, and must last for two looks. What all regions show alike (errors of a bad release, a slow
database) is no region's fault. Nor is it ill that answers late because its processors are full: all of its traffic elsewhere would fill
those there, and then come back; ways lead away what is too much. A source that is not fresh says nothing: its signals stand as they were.

Once nothing has been amiss for a while the region returns in steps, and one that fails again waits longer each time. The last
region is never taken out: a poor answer is better than none.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tenfold.deciders.busy import OVERLOADED, PRESSED_RATIO, RELAXED_RATIO, processor_ratio
from tenfold.deciders.memory import RegionMemory, RegionsMemory, RegionState
from tenfold.effects import Decision
from tenfold.facts import EngineState, InstanceState, LinkSeen, RegionSeen, Snapshot
from tenfold.model import Model, Release

FACT_AGE_S_MAX = 5.0
"""Older facts say nothing."""
SOFT_S = 1.5
"""A soft signal takes a region out when it has shown for this long: two looks."""
WELL_S = 5.0
"""Without any signal for this long, a region returns."""
BLIND_WELL_S = 20.0
"""The same after a signal that only traffic shows: without traffic its absence says little."""
WAIT_S_MAX = 120.0
"""The longest that a region waits to return, however often it was taken out."""
STEPS = (0.05, 0.2, 0.5, 1.0)
"""How much of what is meant for it a returning region takes, step by step."""
STEP_S = 4.0
STEADY_S = 300.0
"""A region that served this long begins anew: earlier times out do not count."""

DATA_BACK_S = 30.0
"""So long after the data were away instances may still be sick for it: their health is asked every few seconds."""

TRIES_MIN_PER_S = 2.0
"""Fewer tries than this say nothing about a ratio."""
TAIL_TRIES_MIN_PER_S = 20.0
"""Fewer tries than this say nothing about the slowest percent."""
UNANSWERED_RATIO_MAX = 0.2
ERROR_RATIO_MAX = 0.1
SLOW_MS = 150.0
"""A region whose usual answer, or whose tail, takes this much longer than twice that of its peers is slow."""
LATE_RATIO_MAX = 0.03
"""A region to which, from everywhere, more than this share of probes comes late loses packets."""
FAR_MS = 50.0
"""When the probes that do come back, from everywhere, take this much longer than usual, that is why they are late."""
CUT_RATIO = 0.9
"""A region to which, from everywhere, this share of probes is lost is cut off."""

DOUBLINGS_MAX = 20
"""The wait is at its bound long before; a region that is taken out thousands of times must not overflow a float."""

TAKING = (RegionState.SERVING, RegionState.RETURNING)
"""The states in which a region takes traffic."""
HARD = ("gateway", "instances", "checks", "cut")
UNREACHED = ("gateway", "checks", "cut")
BY_TRAFFIC = ("unanswered", "errors", "slow", "tail")


@dataclass(frozen=True, slots=True)
class Signals:
    """What one region shows now: by signal, the reason in words. `unknown` are signals whose source is not fresh."""

    shown: Mapping[str, str]
    unknown: frozenset[str]

    @property
    def is_hard(self) -> bool:
        """True when it can't answer at all."""
        return any(name in HARD for name in self.shown)

    @property
    def severity(self) -> int:
        """How little is to be hoped of it, when no region is well: sick instances may answer one thing or another, and who can't
        be reached nothing."""
        if any(name in UNREACHED for name in self.shown):
            return 3
        return 2 if self.is_hard else bool(self.shown)


def judge(
    model: Model,
    serving: Release | None,
    snapshot: Snapshot,
    memory: RegionsMemory,
    is_data_away: bool = False,
    drained: Container[str] = (),
) -> tuple[RegionsMemory, tuple[Decision, ...]]:
    """The state of every region now, and a decision for each that changed. `is_data_away` tells that a store's primary does not
    serve: then instances are sick everywhere, and no region is better for its clients than their own. People want the `drained` ones
    to take no traffic.

    A region that was never well is not known yet: it enters as serving the first time that it is.
    """
    if not model.is_spread or serving is None:
        return memory, ()
    now = snapshot.taken_at
    if is_data_away:
        memory = replace(memory, data_away_at=now)
    look = _Look(model, serving, snapshot, memory)
    regions: dict[str, RegionMemory] = {}
    decisions: list[Decision] = []
    signals = {region: look.signals(region) for region in model.regions}
    for region in model.regions:
        before, seen = memory.regions.get(region), signals[region]
        if before is None:
            if not seen.shown and not seen.unknown:
                regions[region] = RegionMemory(since=now, well_since=now)
            continue
        excused = look.excused(region, seen)
        regions[region] = _next(before, seen, now, region in drained, excused)
    _keep_one(regions, memory.regions, signals, now)
    for region, after in regions.items():
        why = _told(region, memory.regions.get(region), after)
        if why:
            decisions.append(
                Decision("", "failover", f"region/{region}", (), why, tuple(signals[region].shown.values()))
            )
    return replace(memory, regions=regions), tuple(decisions)


def _next(before: RegionMemory, seen: Signals, now: float, is_drained: bool, excused: Container[str]) -> RegionMemory:
    """The region's state after one more look at it alone; signals that are `excused` take no region out."""
    kept = {name: at for name, at in before.ailing_since.items() if name in seen.unknown}
    ailing = {name: min(before.ailing_since.get(name, now), now) for name in seen.shown} | kept
    well_since = None if ailing else min(before.well_since if before.well_since is not None else now, now)
    after = before
    if (ailing, well_since) != (before.ailing_since, before.well_since):
        after = replace(before, ailing_since=ailing, well_since=well_since)
    if is_drained:
        since = before.since if before.state is RegionState.DRAINED else now
        return replace(
            after, state=RegionState.DRAINED, since=since, signal="", why="it is drained until it is asked back",
            is_hard=seen.is_hard, share_ratio=0.0,
        )  # fmt: skip
    acting = [name for name in seen.shown if name not in excused]
    if before.state is not RegionState.RETURNING:
        acting = [name for name in acting if name in HARD or now - ailing[name] >= SOFT_S]
    if acting and (before.state is not RegionState.OUT or seen.is_hard != before.is_hard):
        worst = min(acting, key=lambda name: (name not in HARD, name))
        again = before.state is not RegionState.OUT
        steady = before.state is RegionState.SERVING and now - before.since >= STEADY_S
        outs = (0 if steady else before.outs) + again
        return replace(
            after, state=RegionState.OUT, since=now if again else before.since, signal=worst, why=seen.shown[worst],
            is_hard=seen.is_hard, share_ratio=0.0, outs=outs,
        )  # fmt: skip
    if before.state is RegionState.DRAINED:
        return replace(after, state=RegionState.RETURNING, since=now, why="", is_hard=False, share_ratio=STEPS[0])
    if before.state is RegionState.OUT:
        if before.is_hard and not seen.is_hard and not seen.unknown:
            # It can answer: those who must not be served elsewhere need not wait until it returns.
            after = replace(after, is_hard=False)
        wait_s = min(WAIT_S_MAX, _wait_s(before) * 2 ** min(max(0, before.outs - 1), DOUBLINGS_MAX))
        if well_since is None or seen.unknown or not 0 <= wait_s <= now - well_since:
            return after
        return replace(after, state=RegionState.RETURNING, since=now, is_hard=False, share_ratio=STEPS[0])
    if before.state is RegionState.RETURNING and not ailing:
        step = min(len(STEPS) - 1, int(max(0.0, now - before.since) / STEP_S))
        if STEPS[step] >= 1.0:
            return replace(after, state=RegionState.SERVING, since=now, signal="", why="", share_ratio=1.0)
        return after if STEPS[step] == before.share_ratio else replace(after, share_ratio=STEPS[step])
    if before.state is RegionState.SERVING and before.why and not ailing:
        return replace(after, signal="", why="")
    return after


def _wait_s(before: RegionMemory) -> float:
    return BLIND_WELL_S if before.signal in BY_TRAFFIC else WELL_S


def _keep_one(
    regions: dict[str, RegionMemory], before: Mapping[str, RegionMemory], signals: Mapping[str, Signals], now: float
) -> None:
    """When none would take traffic, those that show the least stay in, and it is not held against them: a drained one only when no
    other is as well."""
    if not regions or any(r.state in TAKING for r in regions.values()):
        return
    severity = {name: (signals[name].severity, r.state is RegionState.DRAINED) for name, r in regions.items()}
    least = min(severity.values())
    for name, region in regions.items():
        if severity[name] == least:
            why = f"{region.why}; it is kept, since no region is better"
            was = before.get(name, region)
            since = was.since if was.state is RegionState.SERVING else now
            regions[name] = replace(
                region, state=RegionState.SERVING, since=since, why=why, is_hard=False, share_ratio=1.0, outs=was.outs
            )


def _told(region: str, before: RegionMemory | None, after: RegionMemory) -> str:
    """What to say of a change; empty when there is none."""
    if before is None or (before.state, before.is_hard, before.signal, before.share_ratio) == (
        after.state, after.is_hard, after.signal, after.share_ratio,
    ):  # fmt: skip
        return ""
    match after.state:
        case RegionState.OUT if before.state is RegionState.OUT:
            if after.signal == before.signal:
                return f"{region} can answer again, and stays out for a while"
            return f"{region} {'is lost now' if after.is_hard else 'is there again, and stays out'}: {after.why}"
        case RegionState.OUT:
            return f"{region} is taken out: {after.why}"
        case RegionState.DRAINED:
            return ""  # who drained it has told
        case RegionState.RETURNING if before.state is RegionState.DRAINED:
            return f"{region} is asked back and takes {after.share_ratio:.0%} of what is meant for it"
        case RegionState.RETURNING:
            return f"{region} is well again and takes {after.share_ratio:.0%} of what is meant for it"
        case RegionState.SERVING if before.state is RegionState.SERVING:
            return ""
        case RegionState.SERVING:
            return f"{region} serves: {after.why}" if after.why else f"{region} serves again in full"


class _Look:
    """What one snapshot shows of every region, and how its peers compare."""

    def __init__(self, model: Model, serving: Release, snapshot: Snapshot, memory: RegionsMemory) -> None:
        self._model = model
        self._serving = serving
        self._snapshot = snapshot
        self._memory = memory
        # A tier whose pool has nobody is served by the pool of all.
        self._listening = [s.name for s in serving.services.values() if s.is_behind_edge and s.tier is None]
        # Where a service sleeps its requests wait, and nothing is lost.
        self._awake = [name for name in self._listening if not serving.services[name].may_sleep]
        away_s = snapshot.taken_at - memory.data_away_at
        well = {InstanceState.READY} | ({InstanceState.UNHEALTHY} if -1.0 <= away_s < DATA_BACK_S else set())
        self._ready = {
            (i.service, i.region)
            for i in snapshot.instances.values()
            if i.release == serving.id and i.state in well and not i.frozen
        }
        self._seen = {
            name: seen
            for name, seen in snapshot.regions.items()
            if -1.0 <= snapshot.taken_at - seen.seen_at <= FACT_AGE_S_MAX
        }
        self._ways_ms: dict[tuple[str, float], float] = {}
        self._has_entry = bool(self._listening) and f"entry/{model.entry_region}" in snapshot.engines

    def signals(self, region: str) -> Signals:
        """What `region` shows, by signal."""
        groups: tuple[tuple[str, tuple[str, ...], Callable[[str], Mapping[str, str]]], ...] = (
            ("gateway", ("gateway",), self._gateway),
            ("process", ("instances",), self._instances),
            ("entry", ("checks", *BY_TRAFFIC), self._traffic),
            ("links", ("cut", "far", "lossy"), self._links),
        )
        shown: dict[str, str] = {}
        unknown: set[str] = set()
        for source, names, look in groups:
            if source in ("entry", "links") and not self._has_entry:
                continue
            if not self._snapshot.fresh(source, FACT_AGE_S_MAX):
                unknown.update(names)
                continue
            shown |= look(region)
        return Signals(shown, frozenset(unknown))

    def excused(self, region: str, seen: Signals) -> tuple[str, ...]:
        """The signals that say no more than that it has too much to do."""
        if not any(name in OVERLOADED for name in seen.shown):
            return ()
        # What came before ways led some away is still to be answered.
        least = RELAXED_RATIO if region in self._memory.room_per_s else PRESSED_RATIO
        ratios = (
            processor_ratio(region, self._serving, self._snapshot, may_grow=may_grow) for may_grow in (False, True)
        )
        return OVERLOADED if max(ratios) > least else ()

    def _gateway(self, region: str) -> Mapping[str, str]:
        engine = self._snapshot.engines.get(f"gateway/{region}")
        if engine is None or engine.state is EngineState.EXITED:
            return {"gateway": f"its gateway ended{_note(engine.note if engine else '')}"}
        if engine.state is EngineState.UNHEALTHY:
            return {"gateway": "its gateway does not answer"}
        if engine.state is EngineState.STARTING:
            return {"gateway": "its gateway is starting"}
        return {}

    def _instances(self, region: str) -> Mapping[str, str]:
        lacking = [name for name in self._awake if (name, region) not in self._ready]
        return {"instances": f"no instance of {', '.join(lacking)} is ready there"} if lacking else {}

    def _traffic(self, region: str) -> Mapping[str, str]:
        seen = self._seen.get(region)
        if seen is None:
            return {}
        shown = {}
        if not seen.is_well:
            shown["checks"] = "the entry's own checks of its gateway fail"
        if seen.tries_per_s >= TRIES_MIN_PER_S:
            for name, text, bound, ratio in (
                ("unanswered", "of the tries sent there got no answer", UNANSWERED_RATIO_MAX, _unanswered),
                ("errors", "of its answers are errors", ERROR_RATIO_MAX, _errors),
            ):
                mine, theirs = ratio(seen), self._peers(region, TRIES_MIN_PER_S, ratio)
                # Without a peer that has traffic, errors may be the app's own.
                told = name != "errors" or self._has_peers(region, TRIES_MIN_PER_S)
                if told and mine > bound and mine > 2 * theirs:
                    shown[name] = f"{mine:.0%} {text}, {theirs:.0%} elsewhere"
            shown |= self._slowness(region, seen)
        return shown

    def _slowness(self, region: str, seen: RegionSeen) -> Mapping[str, str]:
        shown = {}
        typical, peers = self._typical(seen), self._peers(region, TRIES_MIN_PER_S, self._typical)
        if typical > SLOW_MS + 2 * peers and self._has_peers(region, TRIES_MIN_PER_S):
            shown["slow"] = (
                f"half of its answers take over {typical:.0f} ms beyond the way there, {peers:.0f} ms elsewhere"
            )
        if seen.tries_per_s >= TAIL_TRIES_MIN_PER_S:
            tail, peers = self._tail(seen), self._peers(region, TAIL_TRIES_MIN_PER_S, self._tail)
            if tail > SLOW_MS + 2 * peers and self._has_peers(region, TAIL_TRIES_MIN_PER_S):
                shown["tail"] = f"one answer in a hundred comes {tail:.0f} ms late, {peers:.0f} ms elsewhere"
        return shown

    def _links(self, region: str) -> Mapping[str, str]:
        others = [
            name for name in self._model.regions
            if name != region and ((m := self._memory.regions.get(name)) is None or m.state is not RegionState.OUT)
        ]  # fmt: skip
        late = [ratio for other in others if (ratio := self._late(region, other)) is not None]
        # With one other region both ends look alike: who is cut off is then told by the entry's checks.
        if len(late) < 2:
            return {}
        if min(late) >= CUT_RATIO and not any(self._passes(region, other) for other in others):
            return {"cut": "no other region reaches it"}
        if min(late) > LATE_RATIO_MAX and (longer_ms := self._longer_ms(region, others)) > FAR_MS:
            return {"far": f"every way to it takes {longer_ms:.0f} ms longer than usual"}
        if min(late) > LATE_RATIO_MAX:
            return {"lossy": f"packets are lost: {min(late):.0%} or more of all probes to and from it come late"}
        return {}

    def _late(self, region: str, other: str) -> float | None:
        """The share of probes that came late between two regions, both ways; None when neither was seen lately."""
        links = [self._snapshot.links.get(f"{a}>{b}") for a, b in ((region, other), (other, region))]
        fresh = [link for link in links if link is not None and link.probes and self._is_fresh(link)]
        probes = sum(link.probes for link in fresh)
        return sum(link.late_ratio * link.probes for link in fresh) / probes if probes else None

    def _longer_ms(self, region: str, others: Sequence[str]) -> float:
        """By how much every probe that comes back takes longer than usual: on a way that only loses some, it does not."""
        more = [
            link.rtt_ms - self._memory.usual_ms[link.key]
            for other in others
            if (link := self._snapshot.links.get(f"{other}>{region}")) is not None
            and link.rtt_ms is not None
            and link.key in self._memory.usual_ms
            and self._is_fresh(link)
        ]
        return min(more, default=0.0)

    def _passes(self, region: str, other: str) -> bool:
        """Whether anything came back of late between two regions: what is only slow is not cut off."""
        links = [self._snapshot.links.get(f"{a}>{b}") for a, b in ((region, other), (other, region))]
        return any(link is not None and link.rtt_ms is not None and self._is_fresh(link) for link in links)

    def _is_fresh(self, link: LinkSeen) -> bool:
        return -1.0 <= self._snapshot.taken_at - link.seen_at <= FACT_AGE_S_MAX

    def _typical(self, seen: RegionSeen) -> float:
        """The usual time of an answer beyond the longest way that many of its requests take, in milliseconds."""
        return 0.0 if seen.first_byte_ms_p50 is None else max(0.0, seen.first_byte_ms_p50 - self._way_ms(seen, 0.05))

    def _tail(self, seen: RegionSeen) -> float:
        """How much longer than usual, or than the longest way that any of its requests take, the slowest percent takes."""
        if seen.first_byte_ms_p99 is None or seen.first_byte_ms_p50 is None:
            return 0.0
        return max(0.0, seen.first_byte_ms_p99 - max(seen.first_byte_ms_p50, self._way_ms(seen, 0.0)))

    def _way_ms(self, seen: RegionSeen, above_ratio: float) -> float:
        """The longest way of those by which more than `above_ratio` of an origin's requests come."""
        found = self._ways_ms.get((seen.region, above_ratio))
        if found is None:
            ways = [
                self._memory.rtt_ms.get(f"{key.partition('|')[0]}>{seen.region}", 0.0)
                for key, shares in self._memory.ways.items()
                if shares.get(seen.region, 0.0) > above_ratio
            ]
            found = self._ways_ms[seen.region, above_ratio] = max(ways, default=0.0)
        return found

    def _peers(self, region: str, tries_min_per_s: float, figure: Callable[[RegionSeen], float]) -> float:
        return median(self._figures(region, tries_min_per_s, figure) or [0.0])

    def _has_peers(self, region: str, tries_min_per_s: float) -> bool:
        return bool(self._figures(region, tries_min_per_s, lambda seen: 0.0))

    def _figures(self, region: str, tries_min_per_s: float, figure: Callable[[RegionSeen], float]) -> list[float]:
        peers: Iterable[RegionSeen] = (seen for name, seen in self._seen.items() if name != region)
        return [figure(seen) for seen in peers if seen.tries_per_s >= tries_min_per_s]


def _unanswered(seen: RegionSeen) -> float:
    return seen.unanswered_per_s / seen.tries_per_s


def _errors(seen: RegionSeen) -> float:
    return seen.errors_per_s / seen.tries_per_s


def _note(note: str) -> str:
    return f" ({note})" if note else ""
