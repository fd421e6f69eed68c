"""Deploys as stories: every step, every way to fail, and what people may ask for in between."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tenfold.deciders.memory import HealMemory, Intent, ReleaseMemory, RouteMemory
from tenfold.deciders.release import release as go_on
from tenfold.effects import (
    AnswerRequest,
    Operation,
    PublishRoutes,
    RemoveRelease,
    RunTask,
    StartInstance,
    Step,
    StepState,
)
from tenfold.facts import (
    DeployRequest,
    DownRequest,
    GatewaySeen,
    InstanceState,
    RollbackRequest,
    Snapshot,
    TaskSeen,
    TaskState,
    UpRequest,
)
from tenfold.model import Data, Model, Region, RouteTable, StoreEnd
from tests.deciders.conftest import START, release, service

Story = Any


class Shop:
    """A serving story whose releases r2.. can be shipped; instances obey orders at once."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.answers: dict[str, AnswerRequest] = {}
        self.ran: list[str] = []
        self.broken: set[str] = set()
        self.table: RouteTable | None = None
        self.tasks: dict[str, TaskSeen] = {}
        self.requests: dict[str, Any] = {}

    def add(self, id_: str, **changes: Any) -> None:
        """A further release, of the same services changed so."""
        release = replace(self.story.model.releases["r1"], id=id_, source_digest=id_, **changes)
        self.story.model = replace(self.story.model, releases={**self.story.model.releases, id_: release})

    def deploy(self, id_: str) -> None:
        """Ask to ship it."""
        release = self.story.model.releases[id_]
        self.requests[f"ship {id_}"] = DeployRequest(f"ship {id_}", self.story.now, release)

    def run(self, seconds: int) -> None:
        """Let time pass; whatever is ordered happens."""
        for _ in range(seconds):
            self.story.extra["requests"] = dict(self.requests)
            self.story.extra["tasks"] = dict(self.tasks)
            self.story.traffic(in_flight=80.0)
            for decision in self.story.tick().decisions:
                for effect in decision.effects:
                    self.obey(effect)

    def obey(self, effect: Any) -> None:
        """The world does what it is told, except for what is broken."""
        now = self.story.now
        match effect:
            case StartInstance():
                if effect.release in self.broken:
                    self.story.ready(
                        effect.instance, release=effect.release, state=InstanceState.EXITED, note="exit code 3"
                    )
                else:
                    self.story.ready(effect.instance, release=effect.release, since=now)
            case PublishRoutes():
                self.table = effect.table
            case RunTask():
                self.ran.append(effect.task)
                state = TaskState.FAILED if effect.release in self.broken else TaskState.SUCCEEDED
                self.tasks[effect.task] = TaskSeen(
                    effect.task, effect.kind, effect.service, effect.release, state, now, now, now, 1, "no such table\n"
                )
            case AnswerRequest():
                self.answers[effect.request] = effect
                self.requests.pop(effect.request, None)
            case _ if effect.key.startswith("stop:"):
                self.story.instances.pop(effect.instance, None)

    @property
    def serving(self) -> str | None:
        return self.story.memory.release.serving  # type: ignore[no-any-return]


@pytest.fixture
def shop(serving: Story) -> Shop:
    """r1 serves; r2 can be shipped."""
    made = Shop(serving)
    made.add("r2")
    return made


def test_a_good_release_takes_over_and_the_old_one_is_kept_until_the_minute_is_over(shop: Shop) -> None:
    """r2's instances start beside r1's, get the traffic, and only after the watch r1's are let go; then the person is told."""
    shop.deploy("r2")
    shop.run(10)
    assert shop.serving == "r2"
    assert {i.release for i in shop.story.instances.values()} == {"r1", "r2"}
    assert "ship r2" not in shop.answers
    shop.run(70)
    assert {i.release for i in shop.story.instances.values()} == {"r2"}
    assert shop.answers["ship r2"].ok


def test_build_and_hook_run_once_each_and_in_order(shop: Shop) -> None:
    """A release with a build and a hook runs the one, then the other, each once."""
    web = replace(shop.story.model.releases["r1"].services["web"], build="make", release_hook="migrate")
    shop.add("r3", services={"web": web})
    shop.deploy("r3")
    shop.run(90)
    assert shop.ran == ["r3-build-web", "r3-release-web"]
    assert shop.answers["ship r3"].ok


@pytest.mark.parametrize(("part", "step"), [("build", "build"), ("release_hook", "hook")])
def test_a_command_that_fails_leaves_the_old_release_and_its_last_line_is_told(
    shop: Shop, part: str, step: str
) -> None:
    """Build or hook ending badly stops the deploy before anything is started."""
    web = replace(shop.story.model.releases["r1"].services["web"], **{part: "do it"})
    shop.add("r3", services={"web": web})
    shop.broken.add("r3")
    shop.deploy("r3")
    shop.run(10)
    answer = shop.answers["ship r3"]
    assert not answer.ok
    assert answer.text == f"r3 failed at {step}: `do it` ended with exit code 1: no such table; r1 serves as before"
    assert {i.release for i in shop.story.instances.values()} == {"r1"}


def test_a_hook_whose_end_was_not_seen_is_not_run_again(shop: Shop) -> None:
    """A hook that was interrupted may have taken effect: the deploy fails and says so, rather than running it twice."""
    web = replace(shop.story.model.releases["r1"].services["web"], release_hook="migrate")
    shop.add("r3", services={"web": web})
    now = shop.story.now
    shop.tasks["r3-release-web"] = TaskSeen("r3-release-web", "release", "web", "r3", TaskState.UNKNOWN, now, now)
    shop.deploy("r3")
    shop.run(10)
    assert "it is not run twice" in shop.answers["ship r3"].text
    assert shop.ran == []


def test_a_release_that_does_not_start_leaves_the_old_one_serving(shop: Shop) -> None:
    """Two failed starts are enough: the deploy is undone, the old release never lost its traffic."""
    shop.broken.add("r2")
    shop.deploy("r2")
    shop.run(20)
    answer = shop.answers["ship r2"]
    assert not answer.ok
    assert answer.text == "r2 failed at start: web does not start: exit code 3; r1 serves as before"
    assert shop.serving == "r1"


def test_a_release_that_dies_in_its_first_minute_is_taken_back_at_once(shop: Shop) -> None:
    """When the new instances end while they are watched, traffic is on the warm old ones in the same tick."""
    shop.deploy("r2")
    shop.run(10)
    assert shop.serving == "r2"
    shop.broken.add("r2")
    for id_, seen in list(shop.story.instances.items()):
        if seen.release == "r2":
            shop.story.ready(id_, release="r2", state=InstanceState.EXITED, note="killed by signal 11")
    shop.run(1)
    assert shop.table is not None
    serving = {e.instance for e in shop.table.services[0].endpoints if e.state == "serving"}
    assert serving == {"web-1", "web-2"}
    shop.run(10)
    assert shop.serving == "r1"
    assert "did not stay well" in shop.answers["ship r2"].text


def test_a_release_that_answers_with_errors_is_taken_back(shop: Shop) -> None:
    """Instances that live but answer 5xx to a tenth of the requests do not survive the watch."""
    shop.deploy("r2")
    shop.run(10)
    for _ in range(15):
        shop.story.extra["requests"] = dict(shop.requests)
        shop.story.traffic(in_flight=80.0, errors_per_s=10.0)
        for decision in shop.story.tick().decisions:
            for effect in decision.effects:
                shop.obey(effect)
    shop.run(5)
    assert shop.serving == "r1"
    assert "answers were errors" in shop.answers["ship r2"].text


def test_rollback_goes_back_to_what_served_before(shop: Shop) -> None:
    """After r2 took over, a rollback starts r1 beside it and moves the traffic, without build or hook."""
    shop.deploy("r2")
    shop.run(90)
    shop.requests["back"] = RollbackRequest("back", shop.story.now)
    shop.run(15)
    assert shop.answers["back"].ok
    assert shop.serving == "r1"
    assert {i.release for i in shop.story.instances.values()} == {"r1"}


def test_rollback_during_a_deploy_stops_and_undoes_it(shop: Shop) -> None:
    """While r2 is watched a rollback is answered yes, the deploy no, and r1 serves."""
    shop.deploy("r2")
    shop.run(10)
    shop.requests["back"] = RollbackRequest("back", shop.story.now)
    shop.run(10)
    assert shop.answers["back"].ok
    assert not shop.answers["ship r2"].ok
    assert shop.serving == "r1"


@pytest.mark.parametrize(
    ("to", "text"),
    [
        (None, "no release served before this one: there is nothing to go back to"),
        ("r1", "r1 serves already"),
        ("r9", "the files of r9 are not here any more; to go back to: none"),
    ],
)
def test_a_rollback_that_makes_no_sense_is_answered_plainly(shop: Shop, to: str | None, text: str) -> None:
    """Nothing to go back to, already there, and files gone are each said."""
    shop.requests["back"] = RollbackRequest("back", shop.story.now, to)
    shop.run(2)
    assert shop.answers["back"].text == text


def test_a_second_deploy_waits_for_nobody_and_is_refused(shop: Shop) -> None:
    """Two deploys at once: the second hears what to do, the first goes on."""
    shop.add("r3")
    shop.deploy("r2")
    shop.run(3)
    shop.deploy("r3")
    shop.run(2)
    assert shop.answers["ship r3"].text == (
        "r2 is being shipped right now: wait for it to end, or `tenfold rollback` to stop it"
    )
    shop.run(90)
    assert shop.serving == "r2"


def test_down_in_the_middle_of_a_deploy_stops_everything_and_tells_both(shop: Shop) -> None:
    """Going down ends the deploy with a no, lets go of all instances, and answers once nothing is left."""
    shop.deploy("r2")
    shop.run(10)
    shop.requests["down"] = DownRequest("down", shop.story.now)
    shop.run(5)
    assert not shop.answers["ship r2"].ok
    for _ in range(20):
        shop.story.engines.pop("gateway/local", None)
        shop.run(1)
    assert shop.answers["down"].ok
    assert not shop.story.instances


def test_up_again_with_nothing_changed_goes_on_from_memory(shop: Shop) -> None:
    """A control plane that comes back and finds its release running answers yes and starts nothing."""
    shop.requests["again"] = UpRequest("again", shop.story.now, shop.story.model.releases["r1"])
    before = set(shop.story.instances)
    shop.run(3)
    assert shop.answers["again"].ok
    assert set(shop.story.instances) == before


def test_only_the_last_releases_are_kept(shop: Shop) -> None:
    """After many deploys the files of those that can't be gone back to are removed, never those that can."""
    removed: list[str] = []
    obey = shop.obey

    def watch(effect: Any) -> None:
        if isinstance(effect, RemoveRelease):
            removed.append(effect.release)
        obey(effect)

    shop.obey = watch  # type: ignore[method-assign]
    for number in range(2, 10):
        shop.add(f"r{number}")
        shop.deploy(f"r{number}")
        shop.run(90)
    assert shop.serving == "r9"
    assert set(removed) == {"r1", "r2", "r3"}


def test_a_first_release_that_fails_says_that_nothing_serves(new_story: Callable[..., Story]) -> None:
    """With nothing to go back to, the person who asked to be up hears why, and that nothing serves."""
    shop = Shop(new_story())
    shop.broken.add("r1")
    shop.requests["up"] = UpRequest("up", shop.story.now, shop.story.model.releases["r1"])
    shop.run(20)
    assert shop.answers["up"].text == (
        "r1 failed at start: web does not start: exit code 3; nothing serves: mend it and run `tenfold up` again"
    )


NO_WAY = "waits for the way from b to postgres, the way from b to valkey"


@pytest.mark.parametrize(
    ("seen", "note"),
    [
        (None, NO_WAY),
        (("now", 6.0, "postgres", "valkey"), NO_WAY),
        (("an older one", 0.0, "postgres", "valkey"), NO_WAY),
        (("now", 0.0, "postgres"), "waits for the way from b to valkey"),
        (("now", 0.0, "postgres", "valkey"), "release hook: `migrate`"),
    ],
)
def test_a_hook_begins_when_its_ways_are_open_now(seen: tuple[Any, ...] | None, note: str) -> None:
    """It has one try: the gateway where it runs, at its newest table, was just seen to be answered by each store, as it was before."""
    r1 = release("r1", service(release_hook="migrate"))
    regions = {name: Region(name, (0.0, 40.0 * at)) for at, name in enumerate("ab")}
    model = Model("shop", r1.services, regions, data=Data(), releases={"r1": r1})
    snapshot = Snapshot(START, led_from="b")
    if seen is not None:
        digest, age_s, *kinds = seen
        stores = tuple(StoreEnd(kind, "127.0.0.1", 4) for kind in kinds)
        snapshot = replace(snapshot, gateways={"b": GatewaySeen("b", digest, START - age_s, stores=stores)})
    step = Step("hook", StepState.RUNNING, started_at=START)
    operation = Operation("deploy-r1-1", "deploy", "r1", "1", START, (step,), ("release/r1",))
    routes = RouteMemory({"b": "now"}, stores={"b": ("postgres", "valkey")})
    memory = ReleaseMemory(intent=Intent.UP, operation=operation)
    after, decisions = go_on(model, snapshot, memory, HealMemory(), routes, {}, "")
    assert after.operation is not None
    assert after.operation.steps[0].note == note
    assert any(isinstance(effect, RunTask) for d in decisions for effect in d.effects) == note.startswith("release")
