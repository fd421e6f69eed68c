"""`tenfold report` over the journal of a simulated run that is over."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tenfold.cli.app import cli
from tenfold.deciders import decide
from tenfold.effects.faults import Kill
from tenfold.facts import DownRequest, UpRequest
from tenfold.loop import Desk, Journal, Loop, World
from tenfold.model import Health, LatencyTargets, Model, Region, Release, Scaling, Service, Targets
from tenfold.sim import Behaviour, Drivers, VirtualClock, run_virtual
from tenfold.sim import World as FalseWorld
from tenfold.sim.rates import constant
from tests.proof.markup import seen

TARGETS = Targets(
    concurrent_users=1000,
    availability_ratio=0.99,
    error_ratio=0.5,
    recovery_s=30.0,
    latency=LatencyTargets(p95_ms=500, page_ms=2000),
)
WEB = Service("web", "serve", paths=("/",), health=Health(path="/health"), scaling=Scaling(2, 2))
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, targets=TARGETS)


async def story(path: Path, clock: VirtualClock) -> None:
    """Up, six minutes of 20 requests/s, an instance that is killed, and down."""
    world = FalseWorld(
        MODEL, 5, clock=clock, rates={"web@local": constant(20.0)}, behaviours={"web": Behaviour(cpu_ms=5, wait_ms=20)}
    )
    turning = asyncio.ensure_future(world.run())
    release = Release("r1", MODEL.services, "source", clock.now())
    world.add_release(release)
    Desk(path).append(UpRequest("up", clock.now(), release))
    drivers = Drivers.of(world)
    epoch = await drivers.lease.acquire()
    assert epoch is not None
    journal = Journal(path)
    journal.open()
    parts = World(drivers.observers, [drivers.actuator], clock)
    loop = Loop(model=MODEL, decide=decide, world=parts, lease=drivers.lease, epoch=epoch, journal=journal)
    running = asyncio.ensure_future(loop.run())
    await clock.sleep(190.0)
    world.inflict(Kill("web-1"))
    await clock.sleep(190.0)
    Desk(path).append(DownRequest("down", clock.now()))
    await running
    journal.close()
    turning.cancel()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with nothing but the journal of the story."""
    folder, clock = tmp_path_factory.mktemp("shop"), VirtualClock()
    (folder / ".tenfold").mkdir()
    run_virtual(story(folder / ".tenfold/journal.db", clock), clock)
    return folder


def call(place: Path, *words: str) -> Any:
    """What the command says, and how it ends."""
    return CliRunner().invoke(cli, ["-C", str(place), "report", *words], env={"COLUMNS": "140"})


@pytest.fixture(scope="module")
def told(place: Path) -> Any:
    """The report for programs."""
    return json.loads(call(place, "--json").output)


def test_what_was_served(told: Any) -> None:
    """Requests, response, users and how they are known, and for how long anybody looked."""
    assert told["name"] == "shop" and told["is_live"] is False
    assert 6_800 < told["requests"] < 8_600
    assert told["mean_ms"] == pytest.approx(25, abs=10)
    assert 330 < told["seen_s"] <= told["end"] - told["start"]
    assert told["users"][2].startswith("requests at hand")
    assert told["peak_rps"][0] == pytest.approx(20, abs=3)


def test_a_failure_and_its_healing(told: Any) -> None:
    """The killed instance is named, with how long it took until two were ready again."""
    [failure] = [event for event in told["failures"] if event["what"].startswith("web-1 ")]
    assert 1 < failure["took_s"] < 30
    assert any("asked to start r1" in event["what"] for event in told["deploys"])


def test_targets_as_far_as_they_were_shown(told: Any) -> None:
    """What the traffic shows is met or missed; what only more of it, or other means, could show is neither."""
    met = {row["name"]: row["is_met"] for row in told["targets"]}
    assert met == {
        "concurrent users": None,
        "latency p95": True,
        "page": None,
        "availability": True,
        "error rate": True,
        "recovery": True,
    }
    assert told["within"][2] == 0
    assert {seen["objective"] for seen in told["objectives"]} == {"availability", "latency"}


def test_what_could_be_better(told: Any) -> None:
    """A pool that ran at its most is told with the minutes; the names of settings are those of the blueprint."""
    [advice] = [text for text in told["advice"] if "at its most" in text]
    assert "web@local ran at its most of 2 for" in advice
    assert "services.web.scaling.instances.max" in advice


def test_for_people(place: Path) -> None:
    """The text has the same figures, and says that nothing runs any more."""
    text = call(place).output
    for word in ("shop (development)", "no control plane runs now", "peak users", "recovery", "what could be better"):
        assert word in text


def test_a_page(place: Path, tmp_path: Path) -> None:
    """It has the tables and plots, loads nothing, and runs nothing."""
    assert call(place, "--html", str(tmp_path / "r.html")).exit_code == 0
    page = seen((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert {"table", "svg", "path", "h2"} <= set(page.tags)
    assert "script" not in page.tags
    assert {value[0] for name, value in page.attributes if name in ("src", "href")} == {"#"}


def test_a_shorter_time(place: Path, told: Any) -> None:
    """Two minutes hold less than six, and end where the journal ends."""
    short = json.loads(call(place, "--since", "2m", "--json").output)
    assert short["end"] == told["end"]
    assert short["end"] - short["start"] <= 125
    assert short["requests"] < told["requests"] / 1.5
    assert short["failures"] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--since", "lots"), 2, "expected a duration"),
        (("--html", "/nonexistent/r.html"), 1, "can't be written: No such file"),
    ],
)
def test_wrong_calls(place: Path, words: tuple[str, ...], code: int, said: str) -> None:
    """A time that is none and a page that can't be written are told in a sentence."""
    ended = call(place, *words)
    assert (ended.exit_code, said in ended.output) == (code, True)


def test_nothing_has_run(tmp_path: Path) -> None:
    """Without a journal it says how to begin."""
    ended = call(tmp_path)
    assert ended.exit_code == 1 and "tenfold up" in ended.output
