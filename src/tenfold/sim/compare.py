"""Policies side by side: the same demand, the same blows, the same seed, and only the numbers of the pools are chosen otherwise.

Stage: a `Setting` (a blueprint, its demand, what its programs are like) and the name of a policy -> an `Outcome`. All the rest of the
brain runs as it always does: healing, routing, failover. Before the counted time begins the project is brought up and its users come
within a quarter of an hour, so that no policy is measured at its first start.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from tenfold.deciders import decide
from tenfold.effects.faults import Fault, Kill
from tenfold.facts import CapacitySeen, UpRequest
from tenfold.model import Forecast, Model, Release, Service
from tenfold.ports import Permanent
from tenfold.sim.behaviour import Behaviour
from tenfold.sim.clock import VirtualClock
from tenfold.sim.estimates import Estimates, Forecaster, History
from tenfold.sim.policies import Truth, policy
from tenfold.sim.policies.kpa import TARGET_RATIO
from tenfold.sim.queue import Station, station
from tenfold.sim.rates import Rate
from tenfold.sim.simulation import Simulation
from tenfold.sim.tally import Outcome, Tally
from tenfold.sim.world import World

COME_S = 900.0
"""Within so long all users come, before the counted time."""
SETTLE_S = 2700.0
"""So long all of them are there before anything counts: longer than any usual cooldown."""
UP_S = 300.0
"""What a project takes to be up beside its instances' start: builds, hooks, stores."""
FINE_STEP_S = 1.0
"""Time passes in steps of the real loop around a blow."""
FINE_BEFORE_S, FINE_AFTER_S = 30.0, 600.0
STARTS_WITHIN_RATIO = 1.5
CONTROL = "control"
OURS = "tenfold"
"""The one policy that looks ahead."""
NEVER_S = 1e9
TELL_EVERY_STEPS = 500


class CannotRun(Exception):
    """The project does not come up in the simulator; the text says why."""


@dataclass(frozen=True, slots=True)
class Blow:
    """Harm at `at_s` (since the counted time began) for `lasts_s`: `faults` are done, and the load is `times` what it would be."""

    name: str
    at_s: float
    lasts_s: float
    faults: tuple[Fault, ...] = ()
    times: float = 1.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What is simulated.

    `rates` are by pool requests/s over the seconds since the counted time began, which was at `began_at` (seconds since the epoch) and goes
    on for `seconds`; before it, its rate at -1 s and so on is asked for too. `behaviours` are by service. `latency_ms` is within what 95 of
    100 answers should come. `forecasts` makes what forecasts for a blueprint (None: nothing does),
    and `history` is what it knows of before; `capacities` are what was measured, `residents` as in `World`.
    """

    model: Model
    rates: Mapping[str, Rate]
    behaviours: Mapping[str, Behaviour]
    began_at: float
    seconds: float
    step_s: float = 10.0
    seed: int = 1
    latency_ms: float = 500.0
    blows: tuple[Blow, ...] = ()
    history: History = field(default_factory=dict)
    capacities: tuple[CapacitySeen, ...] = ()
    residents: Mapping[str, float] = field(default_factory=dict)
    forecasts: Callable[[Model], Forecaster] | None = None

    @property
    def holds_per_s(self) -> dict[str, float]:
        """By service, what one of its instances holds."""
        return {name: self.held(service) for name, service in self.model.services.items() if service.runs_always}

    def held(self, service: Service) -> float:
        """At how many requests/s 95 of 100 answers of one instance come within the bound."""
        return self._station(service).holds_per_s(self.latency_ms)

    def at_hand(self, service: Service, ratio: float) -> float:
        """How many requests one instance has at hand that bears such a share of what it holds (Little's law)."""
        per_s = ratio * self.held(service)
        return per_s * self._station(service).response_s(per_s, 0.0)

    def _station(self, service: Service) -> Station:
        cost, size = self.behaviours.get(service.name, Behaviour()), service.instance
        return station(cost.cpu_ms, cost.wait_ms, size.cpu_cores, size.concurrency)


def run(setting: Setting, name: str, tell: Callable[[float], None] = lambda _: None) -> Outcome:
    """One policy. The same setting gives the same outcome. `tell` hears now and then how far it is (0..1).

    Raises `ValueError` for a policy that there is not, `CannotRun` when the project does not come up.
    """
    warm_s = _warm_s(setting)
    simulation = prepared(setting, name, warm_s)
    world = simulation.world
    _advance(simulation, warm_s, lambda: None, setting.step_s)
    answer = simulation.answers.get("up")
    if answer is None or not answer.ok:
        why = answer.text if answer is not None else "it was still starting after an hour"
        raise CannotRun(f"the simulated project does not come up under {name}: {why}")
    tally = Tally(simulation, setting.holds_per_s, world.rates, setting.seconds)
    steps = 0

    def counted() -> None:
        nonlocal steps
        tally.step()
        steps += 1
        if steps % TELL_EVERY_STEPS == 0:
            tell((world.clock.elapsed_s - warm_s) / setting.seconds)

    for until_s, step_s, blow in _stretches(setting):
        _advance(simulation, warm_s + until_s, counted, step_s)
        if blow is not None:
            _inflict(simulation, blow)
            tally.strike(blow.name, blow.lasts_s)
    return tally.outcome(name)


def _stretches(setting: Setting) -> Iterator[tuple[float, float, Blow | None]]:
    """How time passes: until when (of the counted time), in which steps, and what is done then."""
    coarse_s, fine_s, end_s = setting.step_s, min(FINE_STEP_S, setting.step_s), setting.seconds
    blows = sorted(setting.blows, key=lambda blow: blow.at_s)
    for place, blow in enumerate(blows):
        next_s = min([end_s, *(later.at_s for later in blows[place + 1 :])])
        over_s = blow.at_s + blow.lasts_s
        yield blow.at_s - FINE_BEFORE_S, coarse_s, None
        yield blow.at_s, fine_s, blow
        yield min(blow.at_s + FINE_AFTER_S, next_s), fine_s, None
        yield min(over_s - FINE_BEFORE_S, next_s), coarse_s, None
        yield min(over_s + FINE_AFTER_S, next_s), fine_s, None
    yield end_s, coarse_s, None


def prepared(setting: Setting, name: str, warm_s: float) -> Simulation:
    """The project under that policy at its first moment, `warm_s` before anything counts."""
    model = _under(setting, name)
    rates = {key: _coming(rate, setting, warm_s) for key, rate in setting.rates.items()}
    clock = VirtualClock(setting.began_at - warm_s)
    world = World(
        model,
        setting.seed,
        clock=clock,
        rates=rates,
        behaviours=setting.behaviours,
        step_s=setting.step_s,
        residents=setting.residents,
    )
    starts = {name: world.behaviour(name).start_s for name in model.services}
    at_hand = {
        name: setting.at_hand(service, TARGET_RATIO) for name, service in model.services.items() if service.runs_always
    }
    truth = Truth(rates, clock.started_at, setting.holds_per_s, starts, setting.step_s, at_hand)
    scaler = policy(name, truth)
    # Also without forecasts it is learnt what requests and starts take.
    forecaster = setting.forecasts(model) if setting.forecasts is not None else None
    estimates = Estimates(model, forecaster, setting.history, setting.capacities)
    simulation = Simulation(world, partial(decide, scaler=scaler), estimates=estimates)
    digest = setting.capacities[0].release if setting.capacities else "simulated"
    release = Release("r1", model.services, digest, clock.now(), model.env)
    simulation.ask(UpRequest("up", clock.now(), release))
    return simulation


def _warm_s(setting: Setting) -> float:
    """How long before the counted time the world begins, in whole steps."""
    starts_s = max((b.start_s for b in setting.behaviours.values()), default=0.0)
    steps = -(-(UP_S + 2 * starts_s + COME_S + SETTLE_S) // setting.step_s)
    return float(steps * setting.step_s)


def _under(setting: Setting, name: str) -> Model:
    """The blueprint under that policy: with a forecast, or without; and with the patience that its starts take."""
    services = {}
    for key, service in setting.model.services.items():
        start_s = setting.behaviours.get(key, Behaviour()).start_s
        patience_s = max(service.health.starts_within_s, STARTS_WITHIN_RATIO * start_s)
        forecast = (service.scaling.forecast or Forecast()) if name == OURS and service.http else None
        services[key] = replace(
            service,
            health=replace(service.health, starts_within_s=patience_s),
            scaling=replace(service.scaling, forecast=forecast),
        )
    return replace(setting.model, services=services, releases={})


def _coming(rate: Rate, setting: Setting, warm_s: float) -> Rate:
    """The demand since the world began: nobody at first, then more and more, and all of them long before anything counts."""
    from_s = warm_s - COME_S - SETTLE_S
    surges = [(b.at_s, b.at_s + b.lasts_s, b.times) for b in setting.blows if b.times != 1.0]

    def coming(elapsed_s: float) -> float:
        at_s = elapsed_s - warm_s
        there = min(max((elapsed_s - from_s) / COME_S, 0.0), 1.0)
        for begins_s, ends_s, times in surges:
            if begins_s < at_s <= ends_s:
                there *= times
        return rate(at_s) * there if there > 0 else 0.0

    return coming


def _advance(simulation: Simulation, until_s: float, after_step: Callable[[], None], step_s: float) -> None:
    world = simulation.world
    while (left_s := until_s - world.clock.elapsed_s) > 1e-6:
        world.step_s = min(step_s, left_s)
        simulation.step()
        after_step()
    world.step_s = step_s


def _inflict(simulation: Simulation, blow: Blow) -> None:
    for fault in blow.faults:
        if isinstance(fault, Kill) and fault.subject == CONTROL:
            simulation.crash(blow.lasts_s or NEVER_S)
            continue
        try:
            simulation.world.inflict(fault)
        except Permanent as error:
            raise CannotRun(f"{blow.name}: {error}") from None
