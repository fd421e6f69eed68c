"""Two control planes: one leads, one stands by in another region, and the loss of the first is only another failover."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tenfold.cli import standby
from tenfold.drivers.controlplane import Post
from tenfold.drivers.fence import Fence
from tenfold.drivers.network import Loopback
from tenfold.drivers.project import Project
from tenfold.drivers.quorum import Sight
from tenfold.drivers.voter import Vote
from tenfold.facts import Snapshot
from tenfold.loop import JournalReader, LeaseError
from tenfold.model import Model, Region
from tenfold.ports import Retryable

Place = Any

REGIONS = "rollout: {watch: 1s}\nregions: {eu: {at: [50.4, 3.8]}, us: {at: [41.3, -95.9]}, au: {at: [-37.8, 144.9]}}\n"
WORKERS = "name: shop\nservices:\n  ticker: {command: sleep 100000, scaling: {instances: {min: 1, max: 1}}}\n" + REGIONS


@pytest.fixture
def spread(place: Place) -> Place:
    """Three regions with a worker in each."""
    place.write("tenfold.yaml", WORKERS)
    return place


def leader(place: Place) -> Any:
    """Where the one that leads stands, and its pid."""
    return json.loads((place.project.run / "leader").read_text())


def newest(place: Place) -> Snapshot:
    """What the control plane saw last."""
    with JournalReader(place.project.journal) as reader:
        tick = reader.latest()
    assert tick is not None
    return tick.snapshot


def stands_by(place: Place, region: str) -> int:
    """Wait until a control plane stands by in `region`, and no other does: its pid."""

    def ready() -> list[Any]:
        engines = [engine for engine in newest(place).engines.values() if engine.kind == "control"]
        return [e.pid for e in engines if [x.key for x in engines] == [f"control/{region}"] and e.state == "ready"]

    (pid,) = place.wait_for(ready, "one that stands by")
    assert isinstance(pid, int)
    return pid


def led_by_another(place: Place, pid: int) -> Any:
    """Wait until another process than `pid` leads and has decided something: where it stands."""

    def leads() -> Any:
        now = leader(place)
        return now if now["pid"] not in (pid, None) and place.control_plane() == now["pid"] else None

    return place.wait_for(leads, "another leader")


def epochs_of_ticks(place: Place) -> list[int]:
    """Under which epoch each tick was written, in their order."""
    with JournalReader(place.project.journal) as reader:
        span = reader.span()
        assert span is not None
        return [tick.epoch for tick in reader.ticks(*span)]


def instances(place: Place) -> dict[str, Any]:
    """What runs of the app: pid by name."""
    return {seen.id: seen.pid for seen in newest(place).instances.values()}


def up(place: Place) -> Any:
    """Up in a terminal, until it serves and another stands by."""
    process = place.popen("up")
    place.say_until(process, "in another terminal")
    stands_by(place, "us")
    return process


def test_a_leader_that_is_killed_is_followed_by_the_one_that_stands_by(spread: Place) -> None:
    """Killed with -9 in the middle of a deploy: another leads under the next epoch and ends it, a new one stands by, commands go on."""
    process = up(spread)
    before, first = instances(spread), leader(spread)
    assert first["region"] == "eu" and first["pid"] == process.pid
    spread.write("tenfold.yaml", WORKERS.replace("command: sleep", "build: sleep 3, command: exec sleep"))
    deploy = spread.popen("deploy")
    spread.say_until(deploy, "build")
    spread.kill(process.pid)
    second = led_by_another(spread, process.pid)
    assert second["region"] == "us"
    assert before.items() <= instances(spread).items()
    spread.run("up").failed(1, "control plane in us", str(second["pid"]), "tenfold deploy")
    spread.end_of(deploy).went_well("r2")
    stands_by(spread, "eu")
    spread.run("down").went_well("everything is stopped")
    spread.nothing_runs()
    assert sorted(set(epochs_of_ticks(spread))) == [1, 2]


def test_a_frozen_leader_is_ended_and_never_acts_again(spread: Place) -> None:
    """Frozen with the locks of lease and journal in its hands: the next one ends it first, so that a thaw finds nobody."""
    process = up(spread)
    os.kill(process.pid, signal.SIGSTOP)
    led_by_another(spread, process.pid)
    process.send_signal(signal.SIGCONT)
    assert process.wait(10) == -signal.SIGKILL
    epochs = epochs_of_ticks(spread)
    assert epochs == sorted(epochs)
    spread.run("down").went_well("everything is stopped")
    spread.nothing_runs()


def test_a_leader_that_was_overtaken_says_who_leads(spread: Place) -> None:
    """It finds a newer epoch at its fence: it stops at once, says so in a sentence, fails, and leaves what runs alone."""
    process = up(spread)
    before = instances(spread)
    Fence(spread.project.run / "fence").check(7)
    ended = spread.end_of(process).plain()
    assert ended.code == 1
    assert "leads now; this one has stopped and what runs goes on: see `tenfold status`" in ended.err
    led_by_another(spread, process.pid)
    stands_by(spread, "eu")
    assert instances(spread) == before
    assert epochs_of_ticks(spread)[-1] == 8
    spread.run("down").went_well("everything is stopped")


def test_voters_and_the_one_that_stands_by_are_replaced(spread: Place) -> None:
    """All voters killed at once, and who stands by: the leader starts them again, under the same epoch; Ctrl-C ends all of it."""
    process = up(spread)
    standby = stands_by(spread, "us")
    voters = {key: pids[0] for key, pids in spread.running().items() if key.startswith("voter/")}
    assert sorted(voters) == ["voter/au", "voter/eu", "voter/us"]
    for pid in (*voters.values(), standby):
        os.kill(pid, signal.SIGKILL)
    spread.wait_for(
        lambda: all(spread.running().get(key, (pid,))[0] != pid for key, pid in voters.items()), "new voters"
    )
    spread.wait_for(lambda: stands_by(spread, "us") != standby, "a new one that stands by")
    assert leader(spread)["pid"] == process.pid
    process.send_signal(signal.SIGINT)
    spread.end_of(process).went_well("everything is stopped")
    spread.nothing_runs()
    assert set(epochs_of_ticks(spread)) == {1}


async def test_one_that_can_not_lead_does_not_ask_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is free and can't be noted on a full disk: it is tried again no more often than the voters are looked at."""
    pauses_s: list[float] = []

    class Votes:
        tries = 0

        async def look(self) -> Sight:
            return Sight(1, {"eu": Vote(False, False, 0, "", 0.0)})

        async def acquire(self) -> int:
            self.tries += 1
            return self.tries

        async def release(self) -> None:
            pass

    async def take_over(project: Any, network: Any, post: Any, votes: Any, epoch: int) -> Any:
        if epoch < 4:
            raise (LeaseError("no space"), Retryable("no space"), OSError("no space"))[epoch - 1]
        return "lease", epoch

    async def sleep(seconds: float) -> None:
        pauses_s.append(seconds)

    monkeypatch.setattr(standby, "votes_of", lambda *around: Votes())
    monkeypatch.setattr(standby, "take_over", take_over)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    model = Model("shop", {}, {"eu": Region("eu"), "us": Region("us")})
    waits = standby._Standby(Project(tmp_path, "shop"), model, Loopback(), Post.own("us"))
    assert await waits.until_it_leads() == ("lease", 4)
    assert pauses_s == [standby.LOOK_EVERY_S] * 3


def test_with_nobody_left_up_leads_at_once(spread: Place) -> None:
    """Leader and the one that stands by both killed: `up` takes over what runs, with a newer epoch."""
    process = up(spread)
    before = instances(spread)
    for pid in (process.pid, stands_by(spread, "us")):
        spread.kill(pid)
    again = spread.popen("up")
    spread.say_until(again, "in another terminal")
    assert instances(spread) == before
    assert epochs_of_ticks(spread)[-1] > 1
    assert spread.control_plane() == again.pid
    spread.run("down").went_well("everything is stopped")
