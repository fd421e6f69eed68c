"""Traffic of one service in one region, as a fluid: a seeded count of arrivals per step, shared over the endpoints of a table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tenfold.facts import InstanceState, PoolSeen, RouteSeen, ServedSeen
from tenfold.sim.behaviour import Breakage
from tenfold.sim.door import Door
from tenfold.sim.parts import Instance, Shares
from tenfold.sim.queue import Station, quantile_ms

USUAL_S = 60.0
"""Over how long a gateway learns what its routes usually take."""
KNOWN_AFTER = 100.0
"""So many answers make the usual time of a route known."""
TIMEOUT_S = 60.0
"""How long an instance may be silent where no table says it."""
SETTLES_S = 10.0
"""How long a queue takes to become as long as it will be at another rate of arrivals."""
NOBODY = 0.01
"""Fewer requests than this in flight are none: a fluid's tail never quite ends."""


@dataclass(slots=True)
class Totals:
    """The truth since the world began, in requests; what a client outside would count. `failed` includes those that could not connect, of
    which no gateway knows (`unseen`). `late` were answered later than the target. `written` are those of the answered that wrote to the
    database, where there is one region."""

    offered: float = 0.0
    answered: float = 0.0
    failed: float = 0.0
    retried: float = 0.0
    unseen: float = 0.0
    late: float = 0.0
    written: float = 0.0


@dataclass(slots=True)
class Step:
    """What happened in one step. `fixed_s` and `random_s` are sums over answered requests of the parts of their response time."""

    seconds: float = 1.0
    arrived: float = 0.0
    answered: float = 0.0
    failed: float = 0.0
    retried: float = 0.0
    fixed_s: float = 0.0
    random_s: float = 0.0
    timed_out: float = 0.0


@dataclass(slots=True)
class Pool:
    """One service in one region. `members` are its living instances, by id, kept by the world.

    `has_spare`: other regions may take what this one could not. `within_ms` is the target of most answers. `shares` are what its
    gateway would do with requests now, and `is_able` that one of these instances answers, or that it sleeps (`is_asleep`): then requests
    wait at its `door`.
    """

    service: str
    region: str
    idempotent_ratio: float = 0.9
    has_spare: bool = False
    within_ms: float | None = None
    members: dict[str, Instance] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    last: Step = field(default_factory=Step)
    sockets: int = 0
    shares: Shares = ()
    timeout_s: float = TIMEOUT_S
    is_able: bool = False
    is_asleep: bool = False
    door: Door = field(default_factory=Door)
    key: str = field(init=False)
    _lost: float = 0.0
    _known: float = 0.0
    _usual: tuple[float, float] = (0.0, 0.0)
    _has_sockets: bool = False

    def __post_init__(self) -> None:
        self.key = f"{self.service}@{self.region}"

    def plan(self, serving: Shares, warm: Shares, now_s: float, *, may_wait: bool, timeout_s: float) -> None:
        """Note what the gateway would do with requests now: they go to those that are `serving`, to the `warm` ones too where none of these
        answers, and with `may_wait` they wait where none does. An instance may be silent for `timeout_s`."""
        self.timeout_s = timeout_s
        self.shares, self.is_able = serving, any(self.answers(instance, now_s) for instance, _ in serving)
        if not self.is_able and warm:
            self.shares, self.is_able = (*serving, *warm), any(self.answers(instance, now_s) for instance, _ in warm)
        self.is_asleep = may_wait and not self.is_able
        self.is_able = self.is_able or self.is_asleep

    def admit(self, arrivals: float, held_s: float, is_led: bool, now_s: float, at: float) -> tuple[float, float]:
        """Of the `arrivals` of a step and of those that wait, how many go on to instances, and how many are turned away. While the pool
        sleeps they wait, for `held_s` at most, where a control plane is there to wake it (`is_led`)."""
        door = self.door
        if not self.is_asleep:
            if not door.waiting:
                return arrivals, 0.0
            if not self.is_able:
                # Their pool was given up: nobody waits any more.
                self._turn_away(away := door.drop())
                return arrivals, away
            if self.within_ms is not None:
                late_s = self.within_ms / 1000
                self.totals.late += sum(count for since_s, count in door.waiting if now_s - since_s > late_s)
            return arrivals + door.open(now_s), 0.0
        away = door.hold(arrivals, held_s, now_s, at) if is_led else arrivals + door.drop()
        self._turn_away(away)
        return 0.0, away

    def _turn_away(self, count: float) -> None:
        """They fail, and no pool's figures tell of it."""
        self.totals.offered += count
        self.totals.failed += count
        self.totals.unseen += count

    def step(
        self,
        arrivals: float,
        sockets: int,
        seconds: float,
        now_s: float,
        error_ratio: float = 0.0,
    ) -> None:
        """Let `seconds` pass in which `arrivals` requests reach the gateway, which shares them by weight as it was planned.

        The share of an endpoint that does not answer is tried elsewhere; with none that does, every request fails. Of those that
        instances answer, `error_ratio` is answered with an error.
        """
        step = Step(seconds, float(arrivals))
        answering = []
        weight_all = weight_answering = 0
        for instance_id, weight in self.shares:
            weight_all += weight
            if self.answers(instance_id, now_s):
                weight_answering += weight
                answering.append((self.members[instance_id], weight))
        if answering:
            step.retried = arrivals * (1 - weight_answering / weight_all)
        else:
            step.failed += arrivals
        served = _Served(step, self.timeout_s)
        for member, weight in answering:
            served.by(member, arrivals * weight / weight_answering)
        if len(answering) < len(self.members):
            busy = {member.id for member, _ in answering}
            for member in self.members.values():
                if (
                    member.id not in busy
                    and member.frozen_until_s <= now_s
                    and member.state is not InstanceState.STARTING
                ):
                    served.by(member, 0.0)
        self._hold_sockets(sockets, [member for member, _ in answering])
        if error_ratio > 0:
            step.failed += step.answered * error_ratio
            step.answered *= 1 - error_ratio
            step.fixed_s *= 1 - error_ratio
            step.random_s *= 1 - error_ratio
        step.failed += self._lost
        self._lost = 0.0
        self.last = step
        self._count(step)
        self._learn(step)

    def answers(self, instance: str, now_s: float) -> bool:
        """Whether an instance answers requests now."""
        member = self.members.get(instance)
        return member is not None and member.state is InstanceState.READY and member.frozen_until_s <= now_s

    def error_ratio(self) -> float:
        """Which share (0..1) of what its instances answer now is an error, since it comes from a release that answers so."""
        known = [(self.members[id_], weight) for id_, weight in self.shares if id_ in self.members]
        answering = [(member, weight) for member, weight in known if member.state is InstanceState.READY]
        whole = sum(weight for _, weight in answering)
        bad = sum(weight for member, weight in answering if member.breakage is Breakage.ERRORS)
        return bad / whole if whole else 0.0

    def unreachable(self, arrivals: int, seconds: float) -> None:
        """Let `seconds` pass in which no gateway was there to take the requests: they fail, and nobody inside sees them."""
        self.last = Step(seconds)
        self.totals.offered += arrivals
        self.totals.failed += arrivals + self._lost
        self.totals.unseen += arrivals + self._lost
        self._lost = 0.0
        self._turn_away(self.door.drop())

    def lose(self, instance: Instance) -> None:
        """`instance` ended with requests in flight: the idempotent ones are tried elsewhere, if there is an elsewhere; the rest fail."""
        others = any(m.state is InstanceState.READY for m in self.members.values() if m is not instance)
        others = others or self.has_spare
        held = max(instance.in_flight, instance.backlog)
        self._lost += held * (1 - instance.behaviour.idempotent_ratio) if others else held
        instance.in_flight = instance.backlog = 0.0
        instance.rate_per_s = None
        instance.sockets = 0

    def seen(self, at: float) -> PoolSeen:
        """The fact a gateway's driver would make of the last step. Quantiles take the pool as one queue with the mean of its parts."""
        step, members = self.last, self.members.values()
        done = step.answered
        fixed, random = (step.fixed_s / done, step.random_s / done) if done > 0 else (0.0, 0.0)
        return PoolSeen(
            service=self.service,
            region=self.region,
            seen_at=at,
            requests_per_s=step.arrived / step.seconds,
            errors_per_s=step.failed / step.seconds,
            in_flight=sum(m.in_flight for m in members),
            sockets=sum(m.sockets for m in members),
            response_ms_mean=(fixed + random) * 1000.0 if done > 0 else None,
            response_ms_p50=quantile_ms(fixed, random, 0.5) if done > 0 else None,
            response_ms_p95=quantile_ms(fixed, random, 0.95) if done > 0 else None,
            response_ms_p99=quantile_ms(fixed, random, 0.99) if done > 0 else None,
            retries_per_s=step.retried / step.seconds,
            in_flight_by_instance={m.id: round(m.in_flight) for m in members},
            sockets_by_instance={m.id: m.sockets for m in members},
        )

    def route(self, prefix: str, at: float) -> RouteSeen | None:
        """What its gateway knows of the time that its requests take; None before it has answered enough."""
        if self._known < KNOWN_AFTER:
            return None
        p50, p99 = (quantile_ms(*self._usual, at_ratio) for at_ratio in (0.5, 0.99))
        return RouteSeen(self.service, self.region, prefix, int(self._known), p50, p99, at)

    def _learn(self, step: Step) -> None:
        if step.answered <= 0:
            return
        weight = 1.0 if not self._known else min(1.0, step.seconds / USUAL_S)
        fixed_s, random_s = step.fixed_s / step.answered, step.random_s / step.answered
        before_fixed_s, before_random_s = self._usual
        self._usual = (
            before_fixed_s + weight * (fixed_s - before_fixed_s),
            before_random_s + weight * (random_s - before_random_s),
        )
        self._known += step.answered

    def _hold_sockets(self, wanted: int, answering: Sequence[Instance]) -> None:
        """Instances that take new connections share the sockets evenly; those that are let go keep theirs until they end."""
        if wanted <= 0 and not self._has_sockets:
            return
        for member in answering:
            member.sockets = 0
        held = sum(m.sockets for m in self.members.values())
        if answering:
            each, rest = divmod(max(0, wanted - held), len(answering))
            for index, member in enumerate(answering):
                member.sockets = each + (index < rest)
        self._has_sockets = any(m.sockets for m in self.members.values())

    def _count(self, step: Step) -> None:
        totals = self.totals
        totals.offered += step.arrived
        totals.answered += step.answered
        totals.failed += step.failed
        totals.retried += step.retried
        if self.within_ms is not None and step.answered > 0:
            over_s = self.within_ms / 1000.0 - step.fixed_s / step.answered
            random_s = step.random_s / step.answered
            late_ratio = 1.0 if over_s <= 0 else math.exp(-over_s / random_s) if random_s > 0 else 0.0
            totals.late += step.answered * late_ratio


def served_by(region: str, pools: Iterable[Pool], at: float) -> ServedSeen:
    """What the gateway of `region` has counted since the world began: its own observers count on, whoever asks."""
    totals = [pool.totals for pool in pools if pool.region == region]
    answered, failed = sum(t.answered for t in totals), sum(t.failed - t.unseen for t in totals)
    late = sum(t.late for t in totals)
    return ServedSeen(region, at, int(answered) + int(failed), int(failed), int(answered), int(late))


@dataclass(slots=True)
class _Served:
    """One step, instance by instance: each answers what its capacity allows, times out what has waited `timeout_s`, keeps the rest (see
    sim.queue). Equal instances with equal work fare alike, and most are equal to the one before: that one's figures are taken then."""

    step: Step
    timeout_s: float
    queue: Station | None = None
    before: tuple[float, float, float | None, float] = (0.0, 0.0, None, 0.0)
    after: tuple[float, float, float, float, float, float, float, float, float] = (0.0,) * 9

    def by(self, member: Instance, arrivals: float) -> None:
        """`member` gets `arrivals` more requests."""
        work = (member.backlog, member.in_flight, member.rate_per_s, arrivals)
        if member.queue is not self.queue or work != self.before:
            self.queue, self.before = member.queue, work
            self.after = self._reckoned(member, arrivals)
        done, timed_out, fixed_s, random_s, member.backlog, member.response_s, member.in_flight, used, rate_per_s = (
            self.after
        )
        member.rate_per_s = rate_per_s
        member.cpu_cores = member.behaviour.idle_cpu_cores + used
        step = self.step
        step.answered += done
        step.failed += timed_out
        step.timed_out += timed_out
        step.fixed_s += fixed_s
        step.random_s += random_s

    def _reckoned(
        self, member: Instance, arrivals: float
    ) -> tuple[float, float, float, float, float, float, float, float, float]:
        """What is done, what times out, the sums of the two parts of its time, and how the instance is afterwards."""
        queue, seconds = member.queue, self.step.seconds
        behind = member.backlog + arrivals
        done = min(behind, queue.capacity_per_s * seconds)
        backlog = behind - done
        timed_out = max(0.0, backlog - queue.capacity_per_s * self.timeout_s)
        backlog -= timed_out
        fixed = queue.wait_s + backlog / queue.capacity_per_s
        # The formula for a steady rate has the noise of arrivals in it: that of single seconds would be counted twice.
        rate_per_s = arrivals / seconds
        if member.rate_per_s is not None:
            rate_per_s += (member.rate_per_s - rate_per_s) * math.exp(-seconds / SETTLES_S)
        random = queue.cpu_s + (queue.queueing_s(rate_per_s) if arrivals > 0 else 0.0)
        response_s = fixed + random
        still = member.in_flight * math.exp(-seconds / (queue.wait_s + queue.cpu_s + 1e-9))
        still = still if still >= NOBODY else 0.0
        in_flight = max(done / seconds * response_s, backlog, still)
        return (
            done,
            timed_out,
            done * fixed,
            done * random,
            backlog,
            response_s,
            in_flight,
            done * queue.cpu_s / seconds,
            rate_per_s,
        )
