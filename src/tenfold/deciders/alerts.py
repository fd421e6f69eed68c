"""Tells people what is wrong: which alerts fire, who hears of them and when, and which decisions answered them.
Stage: the last of the deciders.

An alert acts on nothing but people. It fires when its sign (`deciders.signs`) has held for long enough, and is over when that has been
gone for a while; what can't be told changes nothing. Each change of state goes to the rungs of `alerts.escalation` that are due; what did
not arrive is sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenfold.deciders.memory import Act, AlertMemory, AlertsMemory, Memory, Sending
from tenfold.deciders.signs import CRITICAL, Sign, gone, signs
from tenfold.effects import Decision, Notify
from tenfold.facts import Snapshot
from tenfold.model import Model

BY = "alert"
ANSWERS = ("failover", "heal", "release", "route", "scale")
"""The deciders whose decisions answer alerts."""
ACTS_S = 120.0
"""A decision this short before an alert may have been the first to see what is wrong."""
ACTS_MAX = 20
ANSWERED_MAX = 12
"""So many decisions are named with an alert, the first ones: later ones answer it no less, and are in the journal."""
BLIND_S_MAX = 3600.0
"""An alert of which nothing was seen for so long is over: nobody is kept awake by what may be long gone."""
ATTEMPTS_MAX = 8
BACKOFF_S = (4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 120.0)
"""Wait before a notification is sent again after its first, second, ... failure: longer than `arbitrate` holds back what was just sent."""
LOST_S = 90.0
"""A notification under way when its control plane died has no receipt: after this long it is sent again."""
SENDING_MAX = 100


@dataclass(slots=True)
class _Draft:
    """The next memory and the decisions, while they are made."""

    model: Model
    now: float
    alerts: dict[str, AlertMemory]
    sending: dict[str, Sending]
    decisions: list[Decision] = field(default_factory=list)

    def decide(self, key: str, why: str, *notifies: Notify, facts: tuple[str, ...] = ()) -> None:
        """One decision about the alert `key`; what it sends is watched until it arrives."""
        for notify in notifies:
            self.sending[notify.key] = Sending(notify, 1, self.now)
        while len(self.sending) > SENDING_MAX:
            del self.sending[next(iter(self.sending))]
        self.decisions.append(Decision("", BY, f"alert/{key}", notifies, why, facts))


def alert(
    model: Model, snapshot: Snapshot, memory: Memory, made: tuple[Decision, ...], *, is_up: bool
) -> tuple[AlertsMemory, tuple[Decision, ...]]:
    """What fires, what is over, who is told. `made` are the decisions of this tick that will be carried out."""
    before, now = memory.alerts, snapshot.taken_at
    acts = _acts(before.acts, made, now)
    if not is_up and before.sending and not before.alerts:
        # Nobody is told tomorrow, at the next start, of what was wrong today.
        under_way = {key: one for key, one in before.sending.items() if key in snapshot.pending}
        before = replace(before, sending=under_way)
    known = signs(model, snapshot, memory) if is_up else {}
    if not known and not before.alerts and not before.sending:
        return (before if acts == before.acts else replace(before, acts=acts)), ()
    if is_up:
        known |= gone({key: found.severity for key, found in before.alerts.items()}, known)
    draft = _Draft(model, now, dict(before.alerts), dict(before.sending))
    _receipts(draft, snapshot)
    for key in [*before.alerts, *(key for key in known if key not in before.alerts)]:
        sign = known.get(key)
        if sign is None:
            _end(draft, key, before.alerts[key], "the project goes down")
        else:
            _look(draft, sign, before.alerts.get(key), acts)
    for key, found in draft.alerts.items():
        if found.is_firing:
            sign = known.get(key)
            fresh = [act for act in acts if act.at == now and sign is not None and _answers(sign, act)]
            found = _answered(found, fresh)
            # One that is about to be over wakes nobody else.
            draft.alerts[key] = found if found.well_since is not None else _climb(draft, key, found)
    after = AlertsMemory(draft.alerts, draft.sending, acts)
    return (before if after == before else after), tuple(draft.decisions)


def _acts(before: tuple[Act, ...], made: tuple[Decision, ...], now: float) -> tuple[Act, ...]:
    """What was done in the last minutes."""
    fresh = tuple(Act(d.id, now, d.by, d.subject) for d in made if d.by in ANSWERS)
    kept = tuple(act for act in before if 0 <= now - act.at <= ACTS_S)
    return (*kept, *fresh)[-ACTS_MAX:]


def _answers(sign: Sign, act: Act) -> bool:
    return act.subject.startswith(sign.subject) and not sign.key.startswith("spend/")


def _answered(found: AlertMemory, acts: list[Act]) -> AlertMemory:
    names = dict.fromkeys((*found.answered_by, *(act.id for act in acts)))
    answered = tuple(names)[:ANSWERED_MAX]
    return found if answered == found.answered_by else replace(found, answered_by=answered)


# --- one alert --------------------------------------------------------------------------------------------------------


def _look(draft: _Draft, sign: Sign, before: AlertMemory | None, acts: tuple[Act, ...]) -> None:
    """Take in how `sign` is now."""
    now, key = draft.now, sign.key
    if before is None:
        if sign.holds:
            _wait_or_fire(draft, sign, AlertMemory(sign.severity, sign.text, now), acts)
        return
    before = _dated(before, now)
    if sign.holds is None:
        draft.alerts[key] = _blind(before, now)
        if before.blind_since is not None and now - before.blind_since >= BLIND_S_MAX:
            _end(draft, key, before, f"nothing was seen of it for {_span(BLIND_S_MAX)}")
        return
    if before.blind_since is not None:
        # What nobody saw does not count as time in which it held.
        blind_s = now - before.blind_since
        before = replace(before, blind_since=None, pending_since=min(now, before.pending_since + blind_s))
    if not before.is_firing:
        if sign.holds:
            _wait_or_fire(draft, sign, before, acts)
        else:
            del draft.alerts[key]
    elif sign.holds:
        draft.alerts[key] = before if before.well_since is None else replace(before, well_since=None)
    else:
        well_since = before.well_since if before.well_since is not None else now
        draft.alerts[key] = replace(before, well_since=well_since)
        if now - well_since >= sign.clear_s:
            _end(draft, key, before, "")


def _dated(found: AlertMemory, now: float) -> AlertMemory:
    """With no time that is still to come, whatever became of the clock."""
    if now >= max(found.pending_since, found.well_since or 0.0, found.blind_since or 0.0):
        return found
    well_since = None if found.well_since is None else min(found.well_since, now)
    blind_since = None if found.blind_since is None else min(found.blind_since, now)
    pending_since = min(found.pending_since, now)
    return replace(found, pending_since=pending_since, well_since=well_since, blind_since=blind_since)


def _blind(found: AlertMemory, now: float) -> AlertMemory:
    return found if found.blind_since is not None else replace(found, blind_since=now, well_since=None)


def _wait_or_fire(draft: _Draft, sign: Sign, found: AlertMemory, acts: tuple[Act, ...]) -> None:
    if draft.now - found.pending_since < sign.after_s:
        draft.alerts[sign.key] = found
        return
    fired = replace(found, severity=sign.severity, text=sign.text, since=draft.now)
    # What was done just before may have been the answer already.
    fired = _answered(fired, [act for act in acts if _answers(sign, act)])
    notifies = _notifies(draft, sign.key, fired, "firing", draft.now)
    draft.alerts[sign.key] = replace(fired, told=tuple(n.rung for n in notifies))
    draft.decide(sign.key, f"{sign.severity}: {sign.text}", *notifies, facts=sign.facts)


def _end(draft: _Draft, key: str, found: AlertMemory, why: str) -> None:
    """It is over; who heard of it hears that."""
    draft.alerts.pop(key, None)
    if found.since is None:
        return
    lasted, answers = _span(draft.now - found.since), _by(found)
    notifies = tuple(_notify(draft.model, key, found, "resolved", rung) for rung in found.told)
    sent = tuple(n for n in notifies if n is not None)
    draft.decide(key, f"resolved after {lasted}{f' ({why})' if why else ''}: {found.text}{answers}", *sent)


def _by(found: AlertMemory) -> str:
    return f"; answered by {', '.join(found.answered_by)}" if found.answered_by else ""


# --- who is told ------------------------------------------------------------------------------------------------------


def _climb(draft: _Draft, key: str, found: AlertMemory) -> AlertMemory:
    """Tell the rungs that have become due meanwhile."""
    assert found.since is not None
    notifies = _notifies(draft, key, found, "still_firing", found.since)
    if not notifies:
        return found
    draft.decide(key, f"still firing after {_span(draft.now - found.since)}: {found.text}{_by(found)}", *notifies)
    return replace(found, told=(*found.told, *(n.rung for n in notifies)))


def _notifies(draft: _Draft, key: str, found: AlertMemory, state: str, since: float) -> tuple[Notify, ...]:
    """To each rung that is due and has not heard of it."""
    due = []
    for number, rung in enumerate(draft.model.alerts.escalation):
        is_for_it = rung.only in (None, found.severity)
        if is_for_it and number not in found.told and draft.now - since >= rung.after_s:
            due.append(_notify(draft.model, key, found, state, number))
    return tuple(n for n in due if n is not None)


def _notify(model: Model, key: str, found: AlertMemory, state: str, number: int) -> Notify | None:
    """What rung `number` gets; None when the blueprint has that rung no more."""
    if number >= len(model.alerts.escalation):
        return None
    rung = model.alerts.escalation[number]
    assert found.since is not None
    return Notify(
        alert=key,
        severity=found.severity,
        state=state,
        since=found.since,
        text=found.text,
        rung=number,
        webhook=rung.webhook,
        command=rung.command,
        answered_by=found.answered_by,
    )


def _receipts(draft: _Draft, snapshot: Snapshot) -> None:
    """Forget what arrived, send again what did not, and say when that is of no use."""
    for key, sending in list(draft.sending.items()):
        receipt, notify = snapshot.receipts.get(key), sending.notify
        if receipt is not None and receipt.outcome == "done":
            del draft.sending[key]
        elif receipt is not None and (receipt.outcome == "failed" or sending.attempts >= ATTEMPTS_MAX):
            del draft.sending[key]
            what = f"nobody hears by rung {notify.rung + 1} that {notify.alert} is {notify.state.replace('_', ' ')}"
            draft.decide(notify.alert, f"{what}: {receipt.note}")
        elif receipt is not None:
            wait_s = BACKOFF_S[min(sending.attempts, len(BACKOFF_S)) - 1]
            draft.sending[key] = replace(sending, next_at=draft.now + wait_s)
        elif key not in snapshot.pending and _is_due(sending, draft.now):
            again = replace(sending, attempts=sending.attempts + 1, sent_at=draft.now, next_at=0.0)
            draft.sending[key] = again
            why = f"{notify.alert}: rung {notify.rung + 1} is told again (attempt {again.attempts})"
            draft.decisions.append(Decision("", BY, f"alert/{notify.alert}", (notify,), why))


def _is_due(sending: Sending, now: float) -> bool:
    """One that failed when its wait is over; one that was never heard of after a while. A clock that was set back ends any wait."""
    if sending.next_at:
        return not 0 < sending.next_at - now <= BACKOFF_S[-1]
    return not 0 <= now - sending.sent_at < LOST_S


def _span(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def firing(alerts: Mapping[str, AlertMemory]) -> dict[str, AlertMemory]:
    """Those that fire, critical ones first, then the oldest."""
    found = [(key, one) for key, one in alerts.items() if one.is_firing]
    return dict(sorted(found, key=lambda item: (item[1].severity != CRITICAL, item[1].since or 0.0)))
