"""What is told of one tick: sentences, alerts, targets, the metrics of Prometheus."""

import math
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenfold.console import parts
from tenfold.console.prometheus import exposition
from tenfold.console.view import Moment, state_of
from tenfold.deciders import Intent
from tenfold.deciders.memory import (
    AlertMemory,
    AlertsMemory,
    Failures,
    HealMemory,
    Memory,
    PoolScale,
    ReleaseMemory,
    ScaleMemory,
)
from tenfold.facts import (
    ColdStartSeen,
    EngineSeen,
    EngineState,
    MetricSeen,
    ObjectiveSeen,
    PoolSeen,
    Snapshot,
    SpendSeen,
)
from tenfold.loop import Tick
from tenfold.model import Model, Region, Service, Targets
from tests.console.conftest import Here

NOW = 1_750_000_000.0
MODEL = Model("shop", {"web": Service("web", "serve")}, {"local": Region("local")})
UP = Memory(release=ReleaseMemory(Intent.UP, "r1"))


def told(model: Model = MODEL, memory: Memory = UP, trouble: str = "", **seen: object) -> str:
    """The sentence about a tick that saw this."""
    return state(model, memory, trouble, **seen).health.sentence


def state(model: Model = MODEL, memory: Memory = UP, trouble: str = "", **seen: object):  # type: ignore[no-untyped-def]
    """The state of a tick that saw this."""
    snapshot = Snapshot(NOW, observed={"process": NOW, "gateway": NOW}, **seen)  # type: ignore[arg-type]
    return state_of(Moment(model, Tick(1, NOW, 1, "m", snapshot, memory, memory), (), {}, True, "", trouble))


def pool(**figures: object) -> dict[str, PoolSeen]:
    """The traffic of the only pool."""
    return {"web@local": PoolSeen("web", "local", NOW, **figures)}  # type: ignore[arg-type]


def test_alerts_are_told_the_worst_first() -> None:
    """An alert that fires makes the state not well, the worst first; one that is over does not."""

    alerts = {
        "latency/warning": AlertMemory("warning", "late", 1.0, since=2.0),
        "availability/critical": AlertMemory("critical", "budget burns", 1.0, since=3.0, answered_by=("d4",)),
        "pending": AlertMemory("critical", "not yet", 1.0),
    }
    memory = replace(Memory(), alerts=AlertsMemory(alerts))
    tick = Tick(1, 5.0, 1, "m", Snapshot(5.0), Memory(), memory)
    assert [(a.key, a.answered_by, a.is_firing) for a in parts.alerts_now(tick)] == [
        ("availability/critical", ["d4"], True),
        ("latency/warning", [], True),
    ]


def test_the_worst_comes_first_in_the_sentence() -> None:
    """No instance that is ready is told before anything else, and how many troubles there are besides."""
    engines = {"postgres/local": EngineSeen("postgres", "local", EngineState.EXITED, NOW, NOW, note="killed")}
    assert told(engines=engines) == "not well: no instance of web is ready (and 1 more)"
    assert told(trouble="nothing is decided any more").startswith("not well: nothing is decided any more (and")


def test_what_cannot_be_seen_is_trouble() -> None:
    """A driver that has not answered for a while leaves old facts: who looks is told which."""
    snapshot = Snapshot(NOW, observed={"process": NOW - 60, "gateway": NOW})
    moment = Moment(MODEL, Tick(1, NOW, 1, "m", snapshot, UP, UP), (), {}, True, "")
    assert "instances can't be seen now" in state_of(moment).health.troubles


def test_what_was_given_up_is_told() -> None:
    """A service that does not start says why."""
    failures = {"web@local/r1": Failures(9, NOW, NOW, "exit code 3", gave_up=True)}
    found = state(memory=replace(UP, heal=HealMemory(failures=failures))).health.troubles
    assert "web@local/r1 does not start (exit code 3)" in found


def test_a_project_that_is_down_is_not_said_to_be_well() -> None:
    """Nothing runs, and nothing is meant to."""
    assert told(memory=Memory()) == "down: nothing is meant to run; data and releases stay"
    ending = Memory(release=ReleaseMemory(Intent.DOWN, "r1"))
    assert told(memory=ending) == "down: everything is being drained and stopped"


@pytest.mark.parametrize(("errors_per_s", "is_told"), [(0.0, False), (0.05, False), (0.2, True)])
def test_errors_beyond_the_target_are_trouble(errors_per_s: float, is_told: bool) -> None:
    """One in a thousand is what the blueprint allows."""
    model = replace(MODEL, targets=Targets(error_ratio=0.001))
    found = state(model, pools=pool(requests_per_s=100.0, errors_per_s=errors_per_s)).health.troubles
    assert any("of the requests fail" in text for text in found) is is_told


def test_users_are_what_the_app_says_else_sockets_else_requests() -> None:
    """The best figure there is, and its kind."""
    busy = pool(requests_per_s=50.0, in_flight=3.26, sockets=0)
    assert (state(pools=busy).summary.users, state(pools=busy).summary.users_are) == (3.3, "requests at hand")
    held = pool(requests_per_s=50.0, in_flight=3.0, sockets=40)
    assert (state(pools=held).summary.users, state(pools=held).summary.users_are) == (40, "open sockets")
    metrics = {"m": MetricSeen("web", "local", "concurrent_users", 312.0, NOW - 30)}
    asked = state(pools=held, metrics=metrics).summary
    assert (asked.users, asked.users_are) == (312, "measured")
    old = {"m": replace(metrics["m"], seen_at=NOW - 100)}
    assert state(pools=held, metrics=old).summary.users == 40


def test_figures_that_are_old_are_not_shown_as_zero() -> None:
    """What was seen a minute ago is not known now."""
    old = {"web@local": replace(pool(requests_per_s=50.0)["web@local"], seen_at=NOW - 60)}
    summary = state(pools=old).summary
    assert (summary.users, summary.requests_per_s, summary.p95_ms, summary.errors_per_s) == (None, None, None, None)


def test_availability_is_told_with_its_error_budget() -> None:
    """How far it is from the target is how much of the budget is spent."""
    model = replace(MODEL, targets=Targets(availability_ratio=0.999))
    seen = ObjectiveSeen("availability", 0.999, 28, total=10_000, bad=5, budget_left_ratio=0.5, seen_at=NOW)
    [target] = state(model, objectives={"availability": seen}).targets
    assert (target.target_text, target.measured_text) == ("at least 99.9%", "99.95%")
    assert (target.ratio_of_target, target.is_met) == (0.5, True)
    assert "50% of the error budget is spent" in target.how
    [target] = state(model, objectives={"availability": replace(seen, bad=20, budget_left_ratio=-1.0)}).targets
    assert target.is_met is False


def test_a_service_that_sleeps_is_no_trouble() -> None:
    """Nothing is missing where nothing is wanted; what its cold starts cost is told, to people and to Prometheus."""
    pools = {"web@local": PoolScale(0, "web@local sleeps", NOW)}
    seen = ColdStartSeen("web", "local", NOW, starts=3, held=20, refused=2, wait_ms_p50=800.0, wait_ms_max=2400.0)
    engines = {"gateway/local": EngineSeen("gateway", "local", EngineState.READY, NOW, NOW)}
    memory = replace(UP, scale=ScaleMemory(pools))
    found = state(memory=memory, engines=engines, cold_starts={seen.key: seen})
    assert found.health.troubles == []
    (web,) = found.services
    assert (web.wanted, web.ready, web.cold_starts, web.cold_wait_ms) == (0, 0, 3, (800.0, 2400.0))
    tick = Tick(1, NOW, 1, "m", Snapshot(NOW, cold_starts={seen.key: seen}), memory, memory)
    samples = [s for family in text_string_to_metric_families(exposition(tick)) for s in family.samples]
    cold = {(s.name, s.labels.get("outcome", s.labels.get("of"))): s.value for s in samples if "cold_start" in s.name}
    assert cold == {
        ("tenfold_cold_starts_total", None): 3.0,
        ("tenfold_cold_start_requests_total", "served"): 20.0,
        ("tenfold_cold_start_requests_total", "refused"): 2.0,
        ("tenfold_cold_start_wait_seconds", "median"): 0.8,
        ("tenfold_cold_start_wait_seconds", "most"): 2.4,
    }


def test_costs_are_told_against_the_budget() -> None:
    """Without a budget there is nothing to be against; without figures nothing at all."""
    assert state().cost is None
    spend = {"month": SpendSeen("USD", 0.1, 12.3, 72.0, NOW, 3600.0, "2026-06-17", NOW)}
    cost = state(spend=spend).cost
    assert cost is not None
    assert (cost.per_hour, cost.month_forecast, cost.budget_monthly) == (0.1, 72.0, None)


async def test_prometheus_reads_the_metrics(spread: Here) -> None:
    """Its own parser takes the text; each family is told once, counters are counters, and the figures are those of the state."""
    status, text = await spread.ask("/api/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)
    kinds = {family.name: family.type for family in families}
    assert kinds["tenfold_decisions"] == "counter"
    assert kinds["tenfold_requests_per_second"] == "gauge"
    rates = next(f for f in families if f.name == "tenfold_requests_per_second").samples
    _, now = await spread.ask("/api/state")
    assert sum(s.value for s in rates) == pytest.approx(now["summary"]["requests_per_s"], abs=0.1)
    states = next(f for f in families if f.name == "tenfold_region_state").samples
    assert {s.labels["region"] for s in states if s.labels["state"] == "serving" and s.value == 1.0} == {
        "west",
        "north",
        "south",
    }


def test_labels_are_escaped() -> None:
    """Whatever an app calls its metrics, the text can be read."""
    metrics = {"m": MetricSeen('we"b', "lo\\cal\n", "users", math.pi, NOW)}
    text = exposition(Tick(1, NOW, 1, "m", Snapshot(NOW, metrics=metrics), UP, UP))
    [family] = [f for f in text_string_to_metric_families(text) if f.name == "tenfold_app_metric"]
    assert family.samples[0].labels == {"service": 'we"b', "region": "lo\\cal\n", "name": "users"}
    assert family.samples[0].value == math.pi


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("nan")}, {"value": float("inf")}, {"value": True}, {"value": "5"}, {"value": None}, {"value": [1]},
        {"value": 1e300}, {"name": "Users"}, {"name": "users-now"}, {"name": "u" * 65}, {"name": ""}, {"name": 5},
        {"service": ""}, {"service": "s" * 101}, {"region": None}, {"instance": {"a": 1}}, {"name": "users\n"},
    ],
)  # fmt: skip
async def test_a_metric_that_is_none_is_refused_with_a_sentence(here: Here, change: dict[str, object]) -> None:
    """Names and types are checked; what is wrong is named, and nothing is kept."""
    body = {"service": "web", "region": "local", "instance": "web-1", "name": "users", "value": 5} | change
    status, text = await here.send("POST", "/api/metrics", json=body)
    assert status == 400
    assert text.strip()
    assert not await here.console.posted.observe()
