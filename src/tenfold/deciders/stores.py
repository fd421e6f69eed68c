"""Where each store's primary is, who follows it, and when that one takes over. Stage: decide, before the engines are kept.

The primary begins where the blueprint says. When it is lost, the standby is promoted: the old one is fenced first, so that never two
take writes, and follows the new one once its region is back. Data go before speed: nothing is promoted that is not known, from fresh
facts, to hold what may not be lost; then it is held, with what a person can do.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tenfold.deciders.memory import RegionsMemory, StoreMemory
from tenfold.effects import Decision, Effect, Promote, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, ReplicaRole, ReplicaSeen, Snapshot
from tenfold.model import Data, Model

FRESH_S = 3.0
"""What was seen longer ago is no ground for a promotion."""
LOST_S = 3.0
"""A primary that does not serve for this long is lost. One that crashed is back within a second: that is better than any other."""
OUT_S = 1.0
"""The same where its region is known not to answer at all."""
SILENT_S = 5.0
"""A primary whose process runs and does not answer for this long is lost."""
SILENT_OUT_S = 2.0
"""The same where its region is known not to answer at all."""
UNHEALTHY_S = 2.0
"""How long a store has not answered, at the least, when it is first seen unhealthy."""
FENCE_S = 3.0
"""How long a promotion waits for a synchronous primary to be fenced: one that can't be reached can acknowledge nothing. Any other is
waited for until it is."""
APART_S = 10.0
"""Without its standby for this long, a synchronous primary goes on alone, unless the blueprint allows no loss at all (`rpo: 0s`)."""
ANEW_S = 60.0
"""A standby that runs and does not follow for this long is started anew: it may need a copy."""
SETTLED_LAG_S = 1.0
"""A standby this close behind has caught up: writes may wait for it."""
WHOLE_LAG_S = 0.5
"""A primary is seen to wait when it has done so for this long: a standby that is no further behind has all that came before."""
VALKEY_RPO_S = 2.0
"""Valkey never waits for a standby, and syncs its own log each second: what is newer than this can't be promised."""

Starts = Mapping[str, StartEngine]
"""By key (`postgres/local`): how each embedded store that should run is to be started."""
Kept = tuple[StoreMemory, tuple[Decision, ...]]


def keep_stores(
    model: Model,
    snapshot: Snapshot,
    regions: RegionsMemory,
    memory: Mapping[str, StoreMemory],
    *,
    is_up: bool = True,
) -> tuple[Mapping[str, StoreMemory], Starts, tuple[Decision, ...]]:
    """The embedded stores that should run, and what must be done to keep a primary of each; nothing of that while all goes down."""
    if model.data is None:
        return memory, {}, ()
    kinds = [kind for kind, url in (("postgres", model.data.url), ("valkey", model.data.valkey_url)) if url is None]
    kept: dict[str, StoreMemory] = {}
    starts: dict[str, StartEngine] = {}
    decisions: list[Decision] = []
    for kind in kinds:
        store = memory.get(kind)
        if store is None or store.primary not in model.regions:
            store = StoreMemory(model.store_regions[0])
        look = _look(model, model.data, kind, snapshot, regions, store)
        if is_up and model.is_spread and snapshot.fresh(kind, FRESH_S):
            store, made = _keep(look, store)
            decisions += made
            look = _look(model, model.data, kind, snapshot, regions, store)
        kept[kind] = store
        starts |= _starts(look, store)
    return kept, starts, tuple(decisions)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is seen of one kind of store now: of its primary and of the other region that holds one (empty: none does)."""

    kind: str
    data: Data
    snapshot: Snapshot
    regions: RegionsMemory
    primary: str
    other: str

    @property
    def now(self) -> float:
        return self.snapshot.taken_at

    def engine(self, region: str) -> EngineSeen | None:
        """Its engine, as it was last seen."""
        return self.snapshot.engines.get(f"{self.kind}/{region}")

    def is_ready(self, region: str) -> bool:
        """True while it answers."""
        engine = self.engine(region)
        return engine is not None and engine.state is EngineState.READY

    def runs(self, region: str) -> bool:
        """True while it has a process."""
        engine = self.engine(region)
        return engine is not None and engine.state is not EngineState.EXITED

    def part(self, region: str, age_s_max: float) -> ReplicaSeen | None:
        """What part it plays; None when that is older, or of an engine that does not answer any more."""
        seen = self.snapshot.replicas.get(f"{self.kind}/{region}")
        if seen is None or not self.is_ready(region) or not -1.0 <= self.now - seen.seen_at <= age_s_max:
            return None
        return seen

    def is_out(self, region: str) -> bool:
        """True while its region can't answer at all."""
        judged = self.regions.regions.get(region)
        return judged is not None and judged.is_hard

    def fence(self, region: str) -> StopEngine:
        """What keeps a store from ever taking writes again."""
        engine = self.engine(region)
        return StopEngine(self.kind, region, engine.generation if engine else 0, at_once=True)

    def says(self, region: str, why: str, *effects: Effect, facts: tuple[str, ...] = ()) -> Decision:
        """A decision about the store of `region`."""
        return Decision("", "failover", f"engine/{self.kind}/{region}", effects, why, facts)


def _look(model: Model, data: Data, kind: str, snapshot: Snapshot, regions: RegionsMemory, store: StoreMemory) -> _Look:
    other = next((region for region in model.store_regions if region != store.primary), "")
    # What was begun is ended, also when the blueprint meanwhile wants no standby any more.
    is_wanted = data.replicas > 0 or store.promoting_since is not None
    return _Look(kind, data, snapshot, regions, store.primary, other if is_wanted else "")


def _starts(look: _Look, store: StoreMemory) -> Starts:
    """The primary always; the standby once there is a primary to follow, unless its region is lost."""
    kind = look.kind
    starts = {f"{kind}/{look.primary}": StartEngine(kind, look.primary, is_synchronous=_waits(look, store))}
    part = look.part(look.primary, SILENT_S)
    leads = part is not None and part.role is ReplicaRole.PRIMARY
    if look.other and (look.runs(look.other) or (leads and not look.is_out(look.other))):
        starts[f"{kind}/{look.other}"] = StartEngine(kind, look.other, follow=look.primary)
    return starts


def _waits(look: _Look, store: StoreMemory) -> bool:
    """Whether the primary is to let each write wait for the standby."""
    if look.kind != "postgres" or not look.data.is_synchronous or not look.other:
        return False
    part = look.part(look.primary, SILENT_S)
    if store.apart_since is None and part is not None and look.other in part.standbys:
        return store.is_synchronous or (part.lag_s is not None and part.lag_s <= SETTLED_LAG_S)
    apart_s = 0.0 if store.apart_since is None else look.now - store.apart_since
    return store.is_synchronous and (look.data.rpo_s == 0 or apart_s < APART_S)


def _keep(look: _Look, store: StoreMemory) -> Kept:
    """One look at the stores of one kind."""
    if store.promoting_since is not None:
        return _go_on(look, store)
    ours, theirs = look.part(look.primary, SILENT_S), look.part(look.other, FRESH_S)
    if ours is not None and ours.role is ReplicaRole.STANDBY:
        return _find_primary(look, store, theirs)
    if ours is not None and theirs is not None and theirs.role is ReplicaRole.PRIMARY:
        return _leave_one(look, store, ours, theirs)
    lost = _lost_since(look, store)
    if lost is None:
        return _well(look, store)
    store = replace(store, lost_since=lost)
    return _fail_over(look, store)


def _find_primary(look: _Look, store: StoreMemory, theirs: ReplicaSeen | None) -> Kept:
    """What is taken for the primary follows another: then that one is the primary. Facts go before memory and blueprint."""
    if not look.other or (theirs is not None and theirs.role is ReplicaRole.STANDBY):
        why = f"{look.kind}/{look.primary} follows another store, and none takes writes: bring back the one that it followed"
        return _tell(look, store, why)
    why = f"the data in {look.primary} follow those in {look.other}, so {look.kind} takes writes in {look.other}"
    found = StoreMemory(look.other, store.number, has_served=store.has_served, told=why)
    return found, (look.says(look.other, why),)


def _leave_one(look: _Look, store: StoreMemory, ours: ReplicaSeen, theirs: ReplicaSeen) -> Kept:
    """Two take writes: the one whose data parted later stays, the other is fenced."""
    stays, goes = (look.primary, look.other) if ours.timeline >= theirs.timeline else (look.other, look.primary)
    why = f"{look.kind} takes writes in {look.primary} and in {look.other}: the one in {goes}, whose data are older, is fenced"
    return replace(store, primary=stays, old=(goes,)), (look.says(goes, why, look.fence(goes)),)


def _lost_since(look: _Look, store: StoreMemory) -> float | None:
    """Since when the primary has not served; None while it does."""
    engine, now = look.engine(look.primary), look.now
    before = min(store.lost_since, now) if store.lost_since is not None else None
    if engine is None:
        return before if before is not None else now
    if engine.state is not EngineState.READY:
        # What is called unhealthy has not answered for a while.
        silent_s = UNHEALTHY_S if engine.state is EngineState.UNHEALTHY else 0.0
        return before if before is not None else min(engine.since, now) - silent_s
    is_out = look.is_out(look.primary)
    if look.part(look.primary, SILENT_OUT_S if is_out else SILENT_S) is None:
        seen = look.snapshot.replicas.get(f"{look.kind}/{look.primary}")
        silent_since = engine.since if seen is None else min(max(seen.seen_at, engine.since), now)
        return before if before is not None else silent_since
    theirs = look.part(look.other, FRESH_S)
    if is_out and theirs is not None and theirs.follows != look.primary:
        # It answers us, and neither its region's clients nor its standby.
        return before if before is not None else now
    return None


def _well(look: _Look, store: StoreMemory) -> Kept:
    """The primary serves: note how much would be lost with it, and let the standby follow."""
    ours = look.part(look.primary, SILENT_S)
    assert ours is not None, "it was seen to serve"
    theirs = look.part(look.other, FRESH_S)
    follows = look.other in ours.standbys
    # What was not seen may have happened just after the last look.
    parted_at = look.now if store.well_at is None or not store.has_served else min(store.well_at, look.now)
    apart_since = None if follows or not look.other else min(store.apart_since or parted_at, look.now)
    old = store.old
    if theirs is not None and theirs.role is ReplicaRole.STANDBY and theirs.follows == look.primary:
        old = ()
    after = replace(store, lost_since=None, has_served=True, apart_since=apart_since, old=old, told="")
    after = replace(after, lag_s=_lag_s(look, store, ours, apart_since), well_at=min(ours.seen_at, look.now))
    after = replace(after, is_synchronous=_is_synchronous(look, after, ours))
    made = []
    if store.is_synchronous and not after.is_synchronous and ours.is_synchronous:
        why = (
            f"{look.kind} in {look.primary} goes on alone: {look.other} has not followed for {APART_S:.0f} s, "
            "and the blueprint does not say `rpo: 0s`"
        )
        made.append(look.says(look.primary, why))
    if apart_since is not None and theirs is not None and look.now - apart_since >= ANEW_S:
        engine = look.engine(look.other)
        assert engine is not None, "it plays a part"
        why = (
            f"{look.kind}/{look.other} runs and has not followed {look.primary} for {ANEW_S:.0f} s: it is started anew"
        )
        made.append(look.says(look.other, why, StopEngine(look.kind, look.other, engine.generation)))
        after = replace(after, apart_since=look.now)
    return after, tuple(made)


def _is_synchronous(look: _Look, store: StoreMemory, ours: ReplicaSeen) -> bool:
    """Whether the standby has all that is acknowledged: what was seen counts, for as long as it is meant to be so."""
    if not ours.is_synchronous or not _waits(look, replace(store, is_synchronous=True)):
        return False
    # It was told to go on alone: that it does not yet is no promise.
    is_told = any(key.startswith(f"start-engine:{look.kind}/{look.primary}#") for key in look.snapshot.pending)
    # What was acknowledged before writes began to wait must have arrived too.
    is_whole = ours.lag_s is not None and ours.lag_s <= WHOLE_LAG_S
    return store.is_synchronous or (is_whole and not is_told)


def _lag_s(look: _Look, store: StoreMemory, ours: ReplicaSeen, apart_since: float | None) -> float | None:
    """How many seconds of writes the standby lacks, at the most; None when it never followed."""
    if not look.other:
        return None
    if apart_since is None:
        return _up(ours.lag_s or 0.0)
    if store.lag_s is None or store.old:
        return None
    return max(store.lag_s, _up(look.now - apart_since))


def _behind_s(store: StoreMemory) -> float | None:
    """How many seconds of writes are lost with a primary that is lost, at the most; None when nobody knows. Between the last look
    and the loss it may have acknowledged writes that its standby never got."""
    if store.lag_s is None or store.well_at is None or store.lost_since is None:
        return None
    return _up(store.lag_s + max(0.0, store.lost_since - store.well_at))


def _up(seconds: float) -> float:
    """To the next tenth: a finer figure would change, and be written down, at each tick."""
    return math.ceil(seconds * 10) / 10


def _fail_over(look: _Look, store: StoreMemory) -> Kept:
    """The primary does not serve: give it the time it needs to come back, then let the standby take over, or say why not."""
    assert store.lost_since is not None, "it is lost"
    lost_s, is_out = look.now - store.lost_since, look.is_out(look.primary)
    patience_s = OUT_S if is_out else SILENT_S if look.is_ready(look.primary) else LOST_S
    if lost_s < patience_s or not store.has_served:
        return store, ()
    veto, engine = _veto(look, store), look.engine(look.primary)
    if veto and engine is not None and engine.state is EngineState.STARTING:
        return store, ()
    if veto:
        return _tell(look, store, f"{look.kind}/{look.primary} does not serve, and it is held: {veto}")
    region = look.regions.regions.get(look.primary)
    cause = f"{look.primary} is out ({region.why})" if is_out and region else _cause(engine)
    loss = (
        "it has every acknowledged write"
        if store.is_synchronous
        else f"it is {_behind_s(store)} s of writes behind at the most, which are lost with the old one"
    )
    why = f"{look.kind} moves from {look.primary} to {look.other}: {cause}; {loss}"
    facts = (
        f"not served for: {lost_s:.1f} s, patience {patience_s:.0f} s",
        f"lag when last seen: {store.lag_s} s, behind at the loss: {_behind_s(store)} s at the most, rpo {_rpo_s(look)} s",
        f"synchronous: {store.is_synchronous}",
    )
    begun = replace(
        store, primary=look.other, number=store.number + 1, promoting_since=look.now, old=(), apart_since=None, told=""
    )
    return begun, (look.says(look.primary, why, look.fence(look.primary), facts=facts),)


def _cause(engine: EngineSeen | None) -> str:
    if engine is None:
        return "it is gone"
    said = f" ({engine.note})" if engine.note and engine.state is not EngineState.READY else ""
    match engine.state:
        case EngineState.EXITED:
            return f"it ended and did not come back{said}"
        case EngineState.STARTING:
            return f"it is starting for too long{said}"
        case EngineState.READY | EngineState.UNHEALTHY:
            return f"it does not answer{said}"


def _rpo_s(look: _Look) -> float | None:
    """How many seconds of writes may be lost; None: the blueprint does not say. Who wants synchronous writes wants to lose none."""
    rpo_s = 0.0 if look.data.rpo_s is None and look.data.is_synchronous else look.data.rpo_s
    return rpo_s if rpo_s is None or look.kind == "postgres" else max(rpo_s, VALKEY_RPO_S)


def _veto(look: _Look, store: StoreMemory) -> str:
    """Why the standby may not take over, in words; empty when it may."""
    here, there = look.primary, look.other
    if not there:
        return f"there is no standby, so it waits for {here} (data.replicas: 1 would keep one)"
    if look.is_out(there):
        return f"{there}, where the standby is, is out too; bring back either of them"
    if not look.is_ready(there):
        return f"the standby in {there} does not answer either; bring back either of them"
    part = look.part(there, FRESH_S)
    if part is None:
        return f"nothing fresh is known of the standby in {there}"
    if part.role is not ReplicaRole.STANDBY:
        return f"the store in {there} is no standby"
    if there in store.old:
        return f"{there} was primary before and has not followed since, so its data are older; bring back {here}"
    if store.is_synchronous:
        return ""
    behind_s = _behind_s(store)
    if behind_s is None:
        return f"nobody knows how far behind {there} is; bring back {here}"
    rpo_s = _rpo_s(look)
    if rpo_s is not None and behind_s > rpo_s:
        return (
            f"{there} was up to {behind_s} s of writes behind when {here} was lost, and data.rpo allows {rpo_s:g} s; "
            f"bring back {here}, or accept that loss with a larger rpo"
        )
    return ""


def _go_on(look: _Look, store: StoreMemory) -> Kept:
    """A promotion is under way: fence the old one, then promote, then see it take writes. Each step shows in facts or a receipt."""
    assert store.promoting_since is not None, "it is promoting"
    here, old = look.primary, look.other
    part = look.part(here, FRESH_S)
    since = min(store.promoting_since, look.now)
    if part is not None and part.role is ReplicaRole.PRIMARY:
        return _finish(look, store)
    made: list[Decision] = []
    if old and old not in store.old:
        fence = look.fence(old)
        prefix = f"fence-engine:{look.kind}/{old}@"
        done = any(r.outcome == "done" and r.key.startswith(prefix) for r in look.snapshot.receipts.values())
        # It was told, and is gone: the receipt may come later or never.
        done = done or (look.now - since > 0 and not look.runs(old))
        if not done and look.now - since < FENCE_S:
            return store, (look.says(old, f"{look.kind}/{old} is fenced before {here} takes over", fence),)
        if not done and not store.is_synchronous:
            why = (
                f"{look.kind}/{old} can't be fenced, and what it still acknowledges would be lost: {here} takes over once it is; "
                f"bring {old} back, or end its {look.kind}"
            )
            store, told = _tell(look, store, why)
            return store, (*told, look.says(old, f"{look.kind}/{old} is fenced before {here} takes over", fence))
        if not done:
            cause = "it can acknowledge nothing without its standby"
            made.append(
                look.says(old, f"{look.kind}/{old} can't be fenced within {FENCE_S:.0f} s: {here} takes over; {cause}")
            )
        store = replace(store, old=(old,))
    engine = look.engine(here)
    if part is None or engine is None:
        store, told = _tell(look, store, f"{look.kind} waits for {here}, which was about to take over: bring it back")
        return store, (*made, *told)
    why = f"{look.kind}/{here} takes over from {old or 'nobody'}, which can take no more writes"
    made.append(look.says(here, why, Promote(look.kind, here, store.number, engine.generation)))
    return store, tuple(made)


def _finish(look: _Look, store: StoreMemory) -> Kept:
    """It takes writes: tell how long that took."""
    took_s = look.now - (store.lost_since if store.lost_since is not None else look.now)
    rto_s = look.data.rto_s
    judged = "" if rto_s is None else ", within" if took_s <= rto_s else ", beyond"
    why = f"{look.kind} takes writes in {look.primary}, {took_s:.1f} s after they ceased{judged}"
    if rto_s is not None:
        why += f" the {rto_s:g} s of data.rto"
    after = StoreMemory(
        look.primary, store.number, old=store.old or ((look.other,) if look.other else ()), has_served=True
    )
    return after, (look.says(look.primary, why),)


def _tell(look: _Look, store: StoreMemory, why: str) -> Kept:
    """Say it once."""
    if store.told == why:
        return store, ()
    return replace(store, told=why), (look.says(look.primary, why),)
