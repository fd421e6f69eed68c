"""A whole measurement: a copy of the project with one instance, with two, with four; what each holds, and what was predicted of it.

Stage: a model and a scenario -> trials that come and go -> a `Measurement`, which the command keeps as facts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.estimators.capacity import Bend, Machine, Usl, bend, fit_usl, predicted_rps, users_held
from tenfold.facts import CapacitySeen
from tenfold.model import Action, Model, Scenario, Service, Step
from tenfold.proof.measure.copy import copy_project, cut_down, write_blueprint
from tenfold.proof.measure.cost import CONTROL, cores
from tenfold.proof.measure.probe import OURS_RATIO, TrialProbe
from tenfold.proof.measure.search import Goal, Held, Pace, Point, Standing, search
from tenfold.proof.trial import Tell, Trial

GUESS_STEP = 1.25
"""How far apart the loads are that bracket a prediction."""
ENTER_FACTOR = 3.0
"""How much longer a load rises where users sign in first: that costs a good password check more than many a page."""
PREFIX = "tenfold-measure-"
BUSY_RATIO = 0.85
"""An instance whose program uses this much of one core has no more to give, if it has one thread."""
FULL_RATIO = 0.9
"""A machine of whose cores this much is in use is full."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured: `service` under `scenario`, against `goal`, with so many `instances` one after the other."""

    service: Service
    scenario: Scenario
    goal: Goal
    instances: tuple[int, ...]
    pace: Pace = Pace()


@dataclass(frozen=True, slots=True)
class Count:
    """What `instances` hold together: `requests_per_s` to the service at the edge of the goal, and `above_rate`, in actions/s, is not
    held: `is_lower_bound` when that is only because its figures could not be trusted. `predicted_rps` is what was expected from the fewest
    instances (None of these), `limited_by` what gave out first, in words. `bend` is None when it lies higher than all that was tried.
    `connections` to the database were open at the end."""

    instances: int
    requests_per_s: float
    predicted_rps: float | None
    edge: Point
    above_rate: float
    is_lower_bound: bool
    limited_by: str
    bend: Bend | None
    steps: int
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """The whole of it. `share` (0..1) of the scenario's requests go to the service."""

    service: str
    scenario: str
    goal: Goal
    think_s: float
    share: float
    cores: int
    counts: tuple[Count, ...]

    @property
    def one(self) -> Count:
        """What one instance holds, or the fewest that were measured."""
        return min(self.counts, key=lambda count: count.instances)

    @property
    def usl(self) -> Usl:
        """How throughput grows with instances."""
        return fit_usl([(count.instances, count.requests_per_s) for count in self.counts])

    @property
    def machine(self) -> Machine:
        """What a request costs, as seen at the edge of the fewest instances."""
        return machine_of(self.one.edge, self.cores)

    def fact(self, release: str, command: str, now: float) -> CapacitySeen:
        """What is kept of it; `release` is the digest of the source that was measured."""
        one = self.one
        each = one.instances
        edge = one.edge
        return CapacitySeen(
            service=self.service,
            scenario=self.scenario,
            release=release,
            requests_per_s=one.requests_per_s / each,
            concurrency=edge.offered.concurrency * self.share / each,
            users=users_held(edge.rate, self.think_s, edge.action_ms / 1000) / each,
            latency_ms=self.goal.latency_ms,
            bends_at_rps=one.bend.rps * self.share / each if one.bend is not None else 0.0,
            measured_at=now,
            seen_at=now,
            cores=self.cores,
            scaled={str(count.instances): count.requests_per_s for count in self.counts},
            command=command,
            limited_by=one.limited_by,
            cpu_ms={name: ms for name, ms in cpu_ms(edge).items() if name != CONTROL},
            connections=one.connections / each,
        )


def default_scenario(service: Service) -> Scenario:
    """What is asked when the blueprint names no scenario: the service's first page, again and again."""
    path = next(iter(service.paths), "/")
    return Scenario("default", (Action("look", 1.0, (Step("GET", path),)),))


def service_asked(path: str, services: Iterable[Service]) -> str | None:
    """Which service the edge sends `path` to, of whoever is in no tier: the one with the longest prefix; None when there is none."""
    shared = (each for each in services if each.http and each.tier is None)
    prefixes = [(len(prefix), each.name) for each in shared for prefix in each.paths if _is_below(path, prefix)]
    return max(prefixes)[1] if prefixes else None


def share_of(service: str, scenario: Scenario, services: Sequence[Service]) -> float:
    """The share (0..1) of the scenario's requests that go to `service`."""
    asked: dict[str | None, float] = {}
    for action in scenario.actions:
        for step in action.steps:
            name = service_asked(step.path.partition("?")[0], services)
            asked[name] = asked.get(name, 0.0) + action.share
    return asked.get(service, 0.0) / sum(asked.values())


def requests_per_action(scenario: Scenario) -> float:
    """How many requests an action takes on average."""
    return sum(action.share * len(action.steps) for action in scenario.actions) / sum(a.share for a in scenario.actions)


def cpu_ms(edge: Point) -> dict[str, float]:
    """Processor time that each part spends on one request, in ms."""
    return {name: used * 1000 / edge.answered_rps for name, used in edge.cpu_cores.items() if edge.answered_rps > 0}


def machine_of(edge: Point, machine_cores: int) -> Machine:
    """The machine as it is when nobody else works on it: what the control plane takes, and what a request costs it at `edge`."""
    costs = cpu_ms(edge)
    control = edge.cpu_cores.get(CONTROL, 0.0)
    return Machine(machine_cores, control, sum(ms for name, ms in costs.items() if name != CONTROL))


async def measure(
    project: Project, text: bytes, file: str, model: Model, question: Question, program: Sequence[str], told: "Told"
) -> Measurement:
    """Measure each number of instances in turn. `text` is the blueprint, `file` its name. Raises `TrialError`, `NothingHeld`, `LoadError`,
    `DriverError`."""
    service, scenario = question.service, question.scenario
    share = share_of(service.name, scenario, tuple(model.services.values()))
    machine_cores = cores()
    counts: list[Count] = []
    words = () if model.environment.name == "development" else ("-e", model.environment.name)
    for instances in sorted(set(question.instances)):
        # A fresh copy for each: what the load before has written would weigh on the next.
        async with Trial.opened(project.root.name, PREFIX, program, told.say) as trial:
            told.say(f"starting a copy with {instances} instance{'s' if instances > 1 else ''} of {service.name}")
            copy_project(trial, project, model)
            port = FreePorts(trial.project).take()
            write_blueprint(trial, file, cut_down(text, file, model, service.name, instances, port))
            async with trial.serving(*words):
                told.began(instances)
                counts.append(await _count(trial, question, share, machine_cores, counts, instances, told))
                told.ended(counts[-1])
    return Measurement(
        service.name, scenario.name, question.goal, scenario.think_s, share, machine_cores, tuple(counts)
    )


async def _count(
    trial: Trial,
    question: Question,
    share: float,
    machine_cores: int,
    before: Sequence[Count],
    instances: int,
    told: "Told",
) -> Count:
    scenario, goal = question.scenario, question.goal
    # A user who waits longer than this for an answer has failed anyway.
    warm_up_s = question.pace.warm_up_s * (ENTER_FACTOR if scenario.enter else 1.0)
    timeout_s = max(5.0, 4 * goal.latency_ms / 1000)
    probe = TrialProbe(
        await trial.target(),
        scenario,
        Processes(trial.project),
        trial.control_plane(),
        timeout_s,
        warm_up_s,
    )
    per_action = requests_per_action(scenario)
    predicted = _predicted(before, instances, machine_cores, goal, share)
    guess = question.pace.start_rate if predicted is None else predicted / share / per_action / GUESS_STEP**0.5
    held = await search(
        probe, goal, guess, per_action, told.step, 2.0 if predicted is None else GUESS_STEP, question.pace
    )
    return Count(
        instances=instances,
        # By the rate that was asked for: what a random mix of actions happened to ask for differs from step to step.
        requests_per_s=held.edge.rate * per_action * share,
        predicted_rps=predicted,
        edge=held.edge,
        above_rate=held.above_rate,
        is_lower_bound=held.above is Standing.DOUBTFUL,
        limited_by=limited_by(held, question.service.name, instances, machine_cores),
        bend=bend([p.offered for p in held.points if p.standing(goal) is not Standing.DOUBTFUL]),
        steps=len(held.points),
        connections=sum(s.connections for s in trial.latest().snapshot.stores.values() if s.kind == "postgres"),
    )


def _predicted(before: Sequence[Count], instances: int, machine_cores: int, goal: Goal, share: float) -> float | None:
    """Requests/s to the service that so many instances should hold, from what the fewest did; None of these themselves."""
    if not before:
        return None
    first = before[0]
    machine = machine_of(first.edge, machine_cores)
    whole_rps = predicted_rps(instances, first.requests_per_s / share / first.instances, machine, goal.latency_ms)
    return whole_rps * share


def limited_by(held: Held, service: str, instances: int, machine_cores: int) -> str:
    """What gave out first, in words, by what was in use at the edge."""
    edge = held.edge
    ours = sum(edge.cpu_cores.values())
    if edge.cpu_cores.get(service, 0.0) >= BUSY_RATIO * instances:
        return f"the processor of {'the instance' if instances == 1 else 'the instances'}"
    if ours + edge.taken_cores >= FULL_RATIO * machine_cores and ours >= OURS_RATIO * machine_cores:
        return f"this machine's {machine_cores} cores"
    return "waiting: for what it may do at once, or for what it asks"


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears how far a measurement is: sentences, the beginning and end of each number of instances, each step."""

    say: Tell
    began: Callable[[int], None]
    step: Callable[[Point, Standing], None]
    ended: Callable[[Count], None]


def _is_below(path: str, prefix: str) -> bool:
    return prefix == "/" or path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def shown(measurement: Measurement) -> Mapping[str, object]:
    """For programs: the figures that people see, with units in their names."""
    usl = measurement.usl
    return {
        "service": measurement.service,
        "scenario": measurement.scenario,
        "latency_p95_ms": measurement.goal.latency_ms,
        "error_ratio_max": measurement.goal.error_ratio,
        "cores": measurement.cores,
        "contention": usl.contention,
        "coherency": usl.coherency,
        "instances": [
            {
                "instances": count.instances,
                "requests_per_s": count.requests_per_s,
                "predicted_requests_per_s": count.predicted_rps,
                "actions_per_s": count.edge.rate,
                "not_held_actions_per_s": count.above_rate,
                "users": users_held(count.edge.rate, measurement.think_s, count.edge.action_ms / 1000),
                "p95_ms": count.edge.p95_ms,
                "concurrency": count.edge.offered.concurrency * measurement.share,
                "bends_at_requests_per_s": None if count.bend is None else count.bend.rps * measurement.share,
                "bends_at_concurrency": None if count.bend is None else count.bend.concurrency * measurement.share,
                "is_lower_bound": count.is_lower_bound,
                "limited_by": count.limited_by,
                "cpu_ms_per_request": cpu_ms(count.edge),
                "others_cores": count.edge.taken_cores,
                "steps": count.steps,
            }
            for count in measurement.counts
        ],
    }
