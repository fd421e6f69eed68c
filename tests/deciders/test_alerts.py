"""Which alerts fire and which do not, who hears of them, and what answered them: facts in, decisions out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.alerts import (
    ATTEMPTS_MAX,
    BLIND_S_MAX,
    LOST_S,
    alert,
    firing,
)
from tenfold.deciders.decide import decide
from tenfold.deciders.memory import (
    AlertMemory,
    EngineMemory,
    Failures,
    HealMemory,
    Intent,
    Memory,
    RegionMemory,
    RegionsMemory,
    RegionState,
    ReleaseMemory,
    StoreMemory,
)
from tenfold.effects import Decision, Notify, StartInstance
from tenfold.facts import AnomalySeen, EngineSeen, EngineState, ObjectiveSeen, ReceiptSeen, Snapshot, SpendSeen
from tenfold.model import Alerts, Budget, Data, Escalation, Model, Money, Region

START = 1_750_000_000.0
AT_ONCE = Escalation(webhook="https://pager.example/x")
MINUTES_15 = Escalation(after_s=900.0, command="call-them", only="critical")
QUIET = {"5m": 0.1, "30m": 0.1, "1h": 0.1, "6h": 0.1, "3d": 0.1}
FAST = {**QUIET, "5m": 40.0, "1h": 20.0}
SLOW = {**QUIET, "30m": 7.0, "6h": 6.5}
CREEPING = {**QUIET, "6h": 1.2, "3d": 1.1}
MANY = dict.fromkeys(QUIET, 500)
SERVING = Memory(release=ReleaseMemory(intent=Intent.UP, serving="r1"))


@dataclass
class Watch:
    """A project whose alerts are looked at tick by tick."""

    model: Model = field(
        default_factory=lambda: Model(
            "shop", {}, {"local": Region("local")}, data=Data(), alerts=Alerts((AT_ONCE, MINUTES_15))
        )
    )
    now: float = START
    memory: Memory = field(default_factory=Memory)
    facts: dict[str, object] = field(default_factory=dict)
    made: tuple[Decision, ...] = ()
    receipts: dict[str, ReceiptSeen] = field(default_factory=dict)
    pending: dict[str, float] = field(default_factory=dict)
    is_up: bool = True
    said: list[str] = field(default_factory=list)

    def tick(self, seconds: float = 1.0) -> list[Notify]:
        """Let `seconds` pass; what is sent."""
        self.now += seconds
        observed = dict.fromkeys(("process", "gateway", "postgres", "valkey"), self.now)
        snapshot = Snapshot(  # type: ignore[arg-type]
            taken_at=self.now,
            observed=observed,
            receipts=self.receipts,
            pending=self.pending,
            **self.facts,  # type: ignore[arg-type]
        )
        alerts, decisions = alert(self.model, snapshot, self.memory, self.made, is_up=self.is_up)
        self.memory, self.made, self.receipts = replace(self.memory, alerts=alerts), (), {}
        self.said = [decision.why for decision in decisions]
        assert all(decision.by == "alert" and decision.why for decision in decisions)
        effects = [effect for decision in decisions for effect in decision.effects]
        assert all(isinstance(effect, Notify) for effect in effects)
        return [effect for effect in effects if isinstance(effect, Notify)]

    def run(self, seconds: float) -> list[Notify]:
        """Tick each second; all that is sent."""
        return [notify for _ in range(int(seconds)) for notify in self.tick()]

    def burn(self, burn: Mapping[str, float], bad: Mapping[str, int] = MANY, age_s: float = 0.0) -> "Watch":
        """The availability objective is seen so from now on (each tick anew)."""
        self.facts["objectives"] = {
            "availability": ObjectiveSeen(
                "availability", 0.999, 30, 1e6, 1e3, 0.5, self.now + 1.0 - age_s, burn, bad, 3600.0
            )
        }
        return self

    def burning(self, seconds: float, burn: Mapping[str, float], bad: Mapping[str, int] = MANY) -> list[Notify]:
        """`run` with a fresh objective each second."""
        return [n for _ in range(int(seconds)) for n in self.burn(burn, bad).tick()]

    def is_sent(self, *sent: Notify) -> "Watch":
        """What was sent has arrived."""
        self.receipts = {n.key: ReceiptSeen(n.key, "done", "", self.now) for n in sent}
        return self

    @property
    def fires(self) -> dict[str, AlertMemory]:
        return firing(self.memory.alerts.alerts)


@pytest.mark.parametrize(
    ("burn", "fires"),
    [
        (FAST, "availability/critical"),
        (SLOW, "availability/critical"),
        (CREEPING, "availability/warning"),
        (QUIET, None),
        ({**QUIET, "5m": 100.0}, None),
        ({**QUIET, "1h": 100.0}, None),
        ({**QUIET, "5m": 14.3, "1h": 14.3}, None),
        ({"5m": 100.0}, None),
        ({}, None),
    ],
)
def test_burn_rates(burn: Mapping[str, float], fires: str | None) -> None:
    """Both windows of a pair must be over its rate: one alone, or one that is not known, fires nothing."""
    watch = Watch()
    watch.burning(3, burn)
    assert list(watch.fires) == ([fires] if fires else [])


def test_a_few_failures_page_nobody() -> None:
    """With little traffic four failed requests are a high rate, and no alert; five are one."""
    watch = Watch()
    watch.burning(10, FAST, {**MANY, "1h": 4})
    assert not watch.fires
    watch.burning(1, FAST, {**MANY, "1h": 5})
    assert list(watch.fires) == ["availability/critical"]


def test_a_story_of_an_outage() -> None:
    """It is told once when it begins, again after 15 minutes to the next rung, and its end to both, naming what answered it."""
    watch = Watch()
    [first] = watch.burning(5, FAST)
    assert (first.state, first.rung, first.webhook, first.severity) == ("firing", 0, AT_ONCE.webhook, "critical")
    assert "4.00% of the requests fail and 0.1% may" in first.text
    watch.is_sent(first).burning(1, FAST)
    watch.made = (Decision("d9", "heal", "instance/web-2", (StartInstance("web-2", "web", "local", "r1"),), "lost"),)
    watch.burning(1, FAST)
    [second] = watch.burning(900, FAST)
    assert (second.state, second.rung, second.command) == ("still_firing", 1, "call-them")
    assert second.answered_by == ("d9",)
    watch.is_sent(second)
    assert watch.burning(60, QUIET) == []
    ended = watch.burning(1, QUIET)
    assert [(n.state, n.rung) for n in ended] == [("resolved", 0), ("resolved", 1)]
    assert "answered by d9" in watch.said[0]
    watch.is_sent(*ended).burning(1, QUIET)
    assert watch.memory.alerts.alerts == watch.memory.alerts.sending == {}


def test_a_warning_stops_below_a_rung_for_critical_ones() -> None:
    """Who wants critical alerts only is not told of a warning, however long it lasts."""
    watch = Watch()
    [told] = watch.burning(2, CREEPING)
    watch.is_sent(told)
    assert watch.burning(1000, CREEPING) == []


def test_a_critical_one_begins_no_warning_beside() -> None:
    """While the budget goes fast enough to page, the slower alert about the same is not begun."""
    watch = Watch()
    watch.burning(5, {**FAST, "6h": 2.0, "3d": 2.0})
    assert list(watch.fires) == ["availability/critical"]


def test_it_does_not_flap() -> None:
    """A rate that falls below the bound for less than a minute ends nothing, and is told nobody."""
    watch = Watch()
    [first] = watch.burning(1, FAST)
    watch.is_sent(first)
    for _ in range(5):
        assert watch.burning(50, QUIET) == []
        assert watch.burning(10, FAST) == []
    assert watch.fires["availability/critical"].since == START + 1


def test_who_is_about_to_be_over_climbs_no_further() -> None:
    """When the trouble has just gone as the next rung comes due, nobody is woken for it; when it comes back they are."""
    watch = Watch()
    [first] = watch.burning(1, FAST)
    watch.is_sent(first).burning(880, FAST)
    assert watch.burning(40, QUIET) == []
    assert [n.state for n in watch.burning(1, FAST)] == ["still_firing"]


def test_what_is_not_seen_holds() -> None:
    """Facts that are old or missing neither fire nor end an alert; after an hour of blindness it is over."""
    watch = Watch()
    watch.burn(FAST, age_s=60.0)
    watch.run(30)
    assert not watch.fires
    [first] = watch.burning(1, FAST)
    watch.is_sent(first)
    watch.facts.clear()
    assert [n.state for n in watch.run(950)] == ["still_firing"]
    assert list(watch.fires) == ["availability/critical"]
    ended = watch.run(BLIND_S_MAX)
    assert {n.state for n in ended} >= {"resolved"}
    assert not watch.fires


def test_an_anomaly_must_last() -> None:
    """One odd minute warns nobody; three do, where the figure matters and is on the bad side."""
    watch = Watch()

    def odd(series: str, value: float, expected: float, for_s: float) -> list[str]:
        watch.memory = Memory()
        seen = AnomalySeen(series, value, expected, 0.9999, watch.now - for_s, watch.now)
        watch.facts["anomalies"] = {series: seen}
        watch.tick()
        return list(watch.fires)

    assert odd("web@local.errors_per_s", 5.0, 0.1, 240.0) == ["anomaly/web@local.errors_per_s"]
    assert odd("web@local.errors_per_s", 5.0, 0.1, 60.0) == []
    assert odd("web@local.response_ms_p95", 10.0, 200.0, 240.0) == []
    assert odd("web@local.requests_per_s", 0.0, 200.0, 240.0) == ["anomaly/web@local.requests_per_s"]
    assert odd("web@local.in_flight", 500.0, 3.0, 240.0) == []


@pytest.mark.parametrize("gave_up", [True, False])
def test_recovery_that_fails(gave_up: bool) -> None:
    """Instances and engines that were given up are critical; those that are only tried again are not."""
    failures = Failures(8, START, START + 600, "exit code 3", gave_up)
    heal = HealMemory(failures={"web@local/r1": failures}, engines={"gateway/local": EngineMemory(8, START, failures)})
    watch = Watch(memory=Memory(heal=heal))
    told = watch.run(5)
    expected = ["recovery/web@local/r1", "recovery/gateway/local"] if gave_up else []
    assert sorted(watch.fires) == sorted(expected)
    assert all("exit code 3" in n.text for n in told)
    watch.is_sent(*told)
    watch.memory = replace(watch.memory, heal=HealMemory())
    assert {n.state for n in watch.run(62)} == ({"resolved"} if gave_up else set())


@pytest.mark.parametrize(
    ("state", "for_s", "is_lost"),
    [
        (EngineState.EXITED, 6.0, True),
        (EngineState.UNHEALTHY, 6.0, True),
        (EngineState.EXITED, 1.0, False),
        (EngineState.STARTING, 20.0, False),
        (EngineState.STARTING, 70.0, True),
        (EngineState.READY, 500.0, False),
    ],
)
def test_a_store_that_does_not_serve(state: EngineState, for_s: float, is_lost: bool) -> None:
    """A primary that is gone or silent for a few seconds is critical; one that starts gets a minute."""
    watch = Watch(memory=SERVING)
    watch.facts["engines"] = {"postgres/local": EngineSeen("postgres", "local", state, START - for_s, START)}
    watch.tick(0.0)
    assert list(watch.fires) == (["store/postgres"] if is_lost else [])
    watch.memory = Memory()
    watch.tick(0.0)
    assert not watch.fires, "nothing has served yet: somebody is looking on"


@pytest.mark.parametrize(("apart_s", "is_missing"), [(10.0, False), (90.0, True), (None, False)])
def test_a_standby_that_is_missing(apart_s: float | None, is_missing: bool) -> None:
    """A primary without its standby for a minute is a warning."""
    since = None if apart_s is None else START - apart_s
    watch = Watch(memory=replace(SERVING, stores={"postgres": StoreMemory("local", apart_since=since)}))
    watch.facts["engines"] = {"postgres/local": EngineSeen("postgres", "local", EngineState.READY, START - 999, START)}
    watch.tick(0.0)
    assert list(watch.fires) == (["standby/postgres"] if is_missing else [])


@pytest.mark.parametrize("state", list(RegionState))
def test_a_region_that_is_out(state: RegionState) -> None:
    """A region that takes no traffic is a warning that names its reason; what was done just before is named as the answer."""
    watch = Watch(memory=Memory(regions=RegionsMemory({"eu": RegionMemory(state, why="its gateway does not answer")})))
    watch.made = (Decision("d4", "failover", "region/eu", (), "eu is out"),)
    watch.tick()
    is_out = state is RegionState.OUT
    assert list(watch.fires) == (["region/eu"] if is_out else [])
    assert [one.answered_by for one in watch.fires.values()] == ([("d4",)] if is_out else [])


@pytest.mark.parametrize(
    ("so_far", "forecast", "seen_s", "fires"),
    [
        (10.0, 50.0, 9000.0, []),
        (81.0, 99.0, 9000.0, ["spend/budget"]),
        (100.0, 99.0, 9000.0, ["spend/over", "spend/budget"]),
        (10.0, 150.0, 9000.0, ["spend/forecast"]),
        (10.0, 150.0, 60.0, []),
    ],
)
def test_money(so_far: float, forecast: float, seen_s: float, fires: list[str]) -> None:
    """At 80% of the budget, at all of it, and when the month will cost more than it; a forecast from a minute is none."""
    watch = Watch()
    watch.model = replace(watch.model, budget=Budget(Money(Decimal(100), "USD")))
    seen = SpendSeen("USD", 0.1, so_far, forecast, START, seen_s, "2026-06-17", START)
    watch.facts["spend"] = {"month": seen}
    watch.run(605)
    assert list(watch.fires) == fires
    watch.memory = Memory()
    watch.facts["spend"] = {"month": replace(seen, currency="EUR")}
    watch.run(605)
    assert not watch.fires


def test_what_did_not_arrive_is_sent_again() -> None:
    """After a failure it waits a little longer each time, under the same key, and gives up after eight attempts, saying so."""
    watch = Watch()
    [first] = watch.burning(1, FAST)
    sent, ends = [watch.now], []
    for _ in range(ATTEMPTS_MAX):
        watch.receipts = {first.key: ReceiptSeen(first.key, "retryable", "the webhook answered 500.", watch.now)}
        watch.burning(1, FAST)
        ends += watch.said
        while not ends:
            again = watch.burning(1, FAST)
            if again:
                assert [n.key for n in again if n.rung == 0] in ([first.key], [])
                if again[0].rung == 0:
                    sent.append(watch.now)
                    break
    waits = [round(b - a) for a, b in pairwise(sent)]
    assert waits == sorted(waits) and len(sent) == ATTEMPTS_MAX
    assert "nobody hears by rung 1" in ends[-1] and "answered 500" in ends[-1]


def test_one_whose_control_plane_died_is_sent_again() -> None:
    """A notification of which no receipt ever comes is sent again after a while, unless it is still under way."""
    watch = Watch()
    [first] = watch.burning(1, FAST)
    watch.pending = {first.key: watch.now}
    assert watch.burning(LOST_S + 5, FAST) == []
    watch.pending = {}
    assert [n.key for n in watch.burning(1, FAST)] == [first.key]


def test_down_ends_all() -> None:
    """When the project goes down what fires is over, and those who know of it hear why."""
    watch = Watch()
    [first] = watch.burning(1, FAST)
    watch.is_sent(first)
    watch.is_up = False
    [last] = watch.tick()
    assert (last.state, last.key) != (first.state, first.key)
    assert "goes down" in watch.said[0]
    assert watch.run(200) == []
    assert watch.memory.alerts.sending == {}


@given(
    st.lists(
        st.tuples(st.sampled_from([FAST, QUIET, CREEPING, None, {}]), st.sampled_from([1, 30, 90, 1000, -500, 90_000])),
        max_size=30,
    )
)
def test_whatever_happens(steps: list[tuple[Mapping[str, float] | None, float]]) -> None:
    """Each alert begins before it ends, no key is sent twice without a failure, and a clock that jumps breaks nothing."""
    watch, begun, keys = Watch(), set[str](), set[str]()
    for burn, seconds in steps:
        watch.now += seconds
        if burn is None:
            watch.facts.clear()
            sent = watch.tick()
        else:
            sent = watch.burn(burn).tick()
        for notify in sent:
            assert notify.key not in keys
            keys.add(notify.key)
            if notify.state == "resolved":
                assert f"{notify.alert}@{notify.since}/{notify.rung}" in begun
            else:
                begun.add(f"{notify.alert}@{notify.since}/{notify.rung}")
        watch.is_sent(*sent)


def test_a_retry_passes_arbitration() -> None:
    """Through the whole of `decide`, what failed goes out again by itself: not so soon that it counts as a repetition."""
    seen = SpendSeen("USD", 0.1, 99.0, 99.0, START, 60.0, "", START)
    model = Model(
        "shop",
        {},
        {"local": Region("local")},
        budget=Budget(Money(Decimal(100), "USD")),
        alerts=Alerts((AT_ONCE,)),
    )
    memory, sent, receipts = Memory(release=ReleaseMemory(intent=Intent.UP)), list[tuple[float, str]](), {}
    for second in range(20):
        snapshot = Snapshot(START + second, epoch=1, spend={"month": seen}, receipts=receipts)
        decided = decide(model, snapshot, memory)
        memory, receipts = decided.memory, {}
        for effect in (effect for decision in decided.decisions for effect in decision.effects):
            sent.append((second, effect.key))
            receipts = {effect.key: ReceiptSeen(effect.key, "retryable", "the webhook answered 500.", START + second)}
        assert decided.rejected == ()
    assert [second for second, _ in sent] == [0, 5, 14]
    assert len({key for _, key in sent}) == 1
