"""A brain over a false world at full speed: look, decide, remember, act, a step at a time, without a journal and without asyncio.

It does what the loop does with a journal (remember first, then act; an order under way is not sent again; a receipt that does not come is
unknown after a while), so that thousands of seeds can be tried. A `ControlCrash` forgets everything but what was remembered. With several
regions the journal is one that every control plane reaches, as on one machine; who leads is told by `sim.planes`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tenfold.deciders import Decided
from tenfold.deciders.memory import Memory
from tenfold.effects import AnswerRequest, Decision, Order, Outcome, Rejection
from tenfold.facts import PLACES, DeployRequest, Fact, PersonRequest, ReceiptSeen, Snapshot, UpRequest
from tenfold.model import Model
from tenfold.ports import DriverError, Permanent, Refused, Retryable, Unknown
from tenfold.sim.estimates import Estimates
from tenfold.sim.faults import ControlCrash, FaultSchedule
from tenfold.sim.planes import Life, Planes
from tenfold.sim.ports import deliver
from tenfold.sim.world import World

RECEIPT_WITHIN_S = 60.0
"""An order without a receipt for this long has an unknown end."""


Brain = Callable[[Model, Snapshot, Memory], Decided]
"""Something that decides: pure, a snapshot and a memory in, decisions and a memory out."""


class Simulation:
    """`brain` runs `world`.

    `decided` holds every decision with its elapsed second, `snapshot` the last look, `answers` what people were told.
    """

    def __init__(
        self, world: World, brain: Brain, faults: FaultSchedule | None = None, estimates: Estimates | None = None
    ) -> None:
        """Nothing happens until `step` or `run`; `faults` that can't be done (nothing of that name runs) are passed over. `estimates`
        are run beside the ticks (None: none are)."""
        self.world, self.brain, self.faults = world, brain, faults or FaultSchedule()
        self.estimates = estimates
        self.model = world.model
        self.memory = Memory()
        self.requests: dict[str, PersonRequest] = {}
        self.answers: dict[str, AnswerRequest] = {}
        self.decided: list[tuple[float, Decision]] = []
        self.rejected: list[tuple[float, Rejection]] = []
        self.snapshot = Snapshot(world.clock.now())
        self.crashes = 0
        self.planes = Planes(world)

    def ask(self, request: PersonRequest) -> None:
        """A person asks; a release that comes with it is at hand from now on, as after its capture by the command line."""
        if isinstance(request, UpRequest | DeployRequest):
            self.world.add_release(request.release)
            releases = {**self.model.releases, request.release.id: request.release}
            self.model = replace(self.model, releases=releases)
        self.requests[request.id] = request

    def crash(self, down_s: float = 2.0) -> None:
        """Kill the control plane; it comes back after `down_s`, or another takes over. Orders that were sent are carried out, their
        receipts are lost."""
        self.planes.crash(down_s)
        self.crashes += 1

    def run(self, seconds: float, each_step: Callable[[], None] | None = None) -> None:
        """Let `seconds` pass; `each_step` looks on after each step."""
        until_s = self.world.clock.elapsed_s + seconds
        while self.world.clock.elapsed_s < until_s - 1e-9:
            self.step()
            if each_step is not None:
                each_step()

    def run_until(self, reached: Callable[[], bool], within_s: float) -> float:
        """Step until `reached`; gives back how many seconds it took. Raises `AssertionError` when it is not within `within_s`."""
        from_s = self.world.clock.elapsed_s
        while not reached():
            if self.world.clock.elapsed_s - from_s >= within_s:
                last = "; ".join(f"{at:.0f} s {d.why}" for at, d in self.decided[-5:])
                raise AssertionError(
                    f"seed {self.world.seed}: not reached within {within_s:g} s; last decisions: {last}"
                )
            self.step()
        return self.world.clock.elapsed_s - from_s

    def step(self) -> None:
        """One step of the world, then one tick of the brain."""
        world, from_s = self.world, self.world.clock.elapsed_s
        world.clock.advance(world.step_s)
        world.step()
        for fault in self.faults.between(from_s, world.clock.elapsed_s):
            if isinstance(fault, ControlCrash):
                self.crash(fault.seconds)
                continue
            try:
                world.inflict(fault)
            except Permanent:
                continue
        self._tick()

    def _tick(self) -> None:
        life = self.planes.lead(self.memory)
        while self.planes.late:
            self._act_late(self.planes.late.pop())
        if life is None:
            return
        self.snapshot = self._look(life)
        if self.estimates is not None:
            self.snapshot = self.estimates.look(self.snapshot)
        decided = self.brain(self.model, self.snapshot, self.memory)
        self.memory = decided.memory
        now_s = self.world.clock.elapsed_s
        self.decided.extend((now_s, decision) for decision in decided.decisions)
        self.rejected.extend((now_s, rejection) for rejection in decided.rejected)
        for decision in decided.decisions:
            for effect in decision.effects:
                self._send(Order(effect, life.epoch, decision.id, self.world.clock.now()), life)

    def _act_late(self, life: Life) -> None:
        """One that was frozen while another took over decides once more upon what it remembers, and sends its orders."""
        assert life.memory is not None
        snapshot = replace(self._look(life), requests={})
        for decision in self.brain(self.model, snapshot, life.memory).decisions:
            for effect in decision.effects:
                if not isinstance(effect, AnswerRequest):
                    deliver(self.world, Order(effect, life.epoch, decision.id, self.world.clock.now()))

    def _look(self, life: Life) -> Snapshot:
        world, now, now_s = self.world, self.world.clock.now(), self.world.clock.elapsed_s
        for source in world.sources:
            try:
                facts = world.look(source)
            except DriverError:
                continue
            life.facts[source] = facts
            life.observed[source] = world.asked_at(source)
        receipts = {receipt.key: receipt for due_s, receipt in life.due if due_s <= now_s}
        life.due = [(due_s, receipt) for due_s, receipt in life.due if due_s > now_s]
        for key in receipts:
            life.pending.pop(key, None)
            life.subjects = {subject: busy for subject, busy in life.subjects.items() if busy != key}
        shown = _by_kind([fact for facts in life.facts.values() for fact in facts])
        return Snapshot(
            taken_at=now,
            epoch=life.epoch,
            led_from=life.region,
            observed=dict(life.observed),
            pending=dict(life.pending),
            receipts=receipts,
            requests=dict(self.requests),
            **shown,  # type: ignore[arg-type]
        )

    def _send(self, order: Order, life: Life) -> None:
        now, now_s, key = self.world.clock.now(), self.world.clock.elapsed_s, order.key
        if isinstance(order.effect, AnswerRequest):
            self.answers[order.effect.request] = order.effect
            self.requests.pop(order.effect.request, None)
            life.due.append((now_s, ReceiptSeen(key, Outcome.DONE, "", now)))
            return
        if key in life.pending:
            return
        busy = life.subjects.get(order.effect.subject)
        if busy is not None:
            life.due.append((now_s, ReceiptSeen(key, Outcome.RETRYABLE, f"not sent: {busy} is still under way", now)))
            return
        delivery = deliver(self.world, order)
        life.pending[key], life.subjects[order.effect.subject] = now, key
        if delivery.after_s is None:
            lost = ReceiptSeen(
                key, Outcome.UNKNOWN, f"no receipt within {RECEIPT_WITHIN_S:.0f} s", now + RECEIPT_WITHIN_S
            )
            life.due.append((now_s + RECEIPT_WITHIN_S, lost))
            return
        outcome = outcome_of(delivery.error)
        receipt = ReceiptSeen(key, outcome, str(delivery.error or ""), now + delivery.after_s)
        life.due.append((now_s + delivery.after_s, receipt))


def outcome_of(error: DriverError | None) -> Outcome:
    """How an order ended whose driver raised `error`."""
    match error:
        case None:
            return Outcome.DONE
        case Retryable():
            return Outcome.RETRYABLE
        case Refused():
            return Outcome.REFUSED
        case Unknown():
            return Outcome.UNKNOWN
        case _:
            return Outcome.FAILED


def _by_kind(facts: list[Fact]) -> Mapping[str, Mapping[str, Fact]]:
    shown: dict[str, dict[str, Fact]] = {name: {} for name in PLACES.values()}
    for fact in facts:
        shown[PLACES[type(fact)]][fact.key] = fact
    return shown
