"""Instances over a change of control planes: found again, never doubled, never ended by the one that lets go."""

import asyncio
import errno
import os
import signal
import sys
from typing import Any

import pytest

from tenfold.drivers.proctable import read_stat
from tenfold.model import Health
from tenfold.ports import Retryable

CONTROLLER = """
import asyncio, sys, time
from pathlib import Path
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.process import ProcessDriver
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.effects import Order, StartInstance, StopInstance
from tenfold.model import Health, Release, Service

async def main():
    project = Project(Path(sys.argv[1]), "shop")
    quick = Health(path="/health", every_s=0.1, timeout_s=0.5)
    services = {
        name: Service(name, f"{sys.executable} -S -E app.py {name} {{port}}", health=quick)
        for name in ("good", "titled", "parent", "never", "deaf")
    }
    release = Release("r1", services, "digest", 1.0)
    driver = ProcessDriver(project, {"r1": release}.get, Secrets(project.secrets("x")), Fence(project.run / "fence"), FreePorts(project))
    for name in services:
        await driver.apply(Order(StartInstance(f"{name}-1", name, "local", "r1"), 1, "d", time.time()))
    while sum(fact.state == "ready" for fact in await driver.observe() if hasattr(fact, "port")) < 4:
        await asyncio.sleep(0.05)
    asyncio.create_task(driver.apply(Order(StopInstance("deaf-1", 6.0), 1, "d", time.time())))
    await asyncio.sleep(0.3)
    print("up", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_taking_over_is_begun_again_when_it_failed_half_way(bench: Any, habit: Any) -> None:
    """What could not be taken over at the first look is not taken for gone: the next look takes it over."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    await bench.start("web-2")
    pids = {(await bench.reaches(name, "ready")).pid for name in ("web-1", "web-2")}
    await bench.driver.close()
    bench.driver = bench.new_driver()
    adopt, calls = bench.driver.processes.adopt, []

    def adopt_or_fail(tree: Any) -> Any:
        calls.append(tree)
        if len(calls) == 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return adopt(tree)

    bench.driver.processes.adopt = adopt_or_fail
    with pytest.raises(OSError, match="Too many open files"):
        await bench.driver.observe()
    assert {(await bench.instance(name)).pid for name in ("web-1", "web-2")} == pids


async def test_an_instance_is_taken_over_before_its_stores_are_known(bench: Any, habit: Any) -> None:
    """Stores that were added to the blueprint and never ran yet keep nobody from being taken over."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    before = await bench.reaches("web-1", "ready")
    await bench.driver.close()
    bench.driver = bench.new_driver()

    def not_yet(region: str) -> dict[str, str]:
        raise Retryable(f"the database of {region} has not been started yet.")

    bench.driver._store_urls = not_yet
    assert (await bench.instance("web-1")).pid == before.pid


async def test_letting_go_ends_nobody(bench: Any, habit: Any) -> None:
    """A control plane that lost its place to another leaves alone what that one has started since."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    old, bench.driver = bench.driver, bench.new_driver()
    await bench.start("web-2")
    seen = await bench.reaches("web-2", "ready")
    await old.close()
    assert read_stat(seen.pid) is not None and (await bench.instance("web-2")).state == "ready"


async def test_a_new_control_plane_takes_over_after_the_old_was_killed(bench: Any, habit: Any, until: Any) -> None:
    """After kill -9 every instance is found again as it was, whatever it does; one being ended is ended, none is doubled."""
    quick = Health(path="/health", every_s=0.1, timeout_s=0.5)
    names = ("good", "titled", "parent", "never", "deaf")
    bench.release(**{name: habit(name, health=quick) for name in names})
    command = [sys.executable, "-c", CONTROLLER, str(bench.project.root)]
    old = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert old.stdout is not None
        assert await old.stdout.readline() == b"up\n"
        before = bench.driver.processes.look()
    finally:
        old.kill()
        await old.wait()
    seen = await bench.facts()
    states = {name: seen[f"{name}-1"].state for name in names}
    expected = dict.fromkeys(names, "ready") | {"never": "starting", "deaf": "stopping"}
    assert states == expected
    for name in names:
        fact = seen[f"{name}-1"]
        assert (fact.service, fact.region, fact.release) == (name, "local", "r1")
        assert fact.port is not None and fact.pid is not None and fact.since >= fact.started_at > 0
    pids = {key.id: tree.leader.pid for key, tree in before.items()}
    assert {f"{name}-1": seen[f"{name}-1"].pid for name in names} == pids
    for name in ("good", "titled", "parent"):
        await bench.start(f"{name}-1", name)
    for _ in range(20):
        facts = await bench.facts()
        assert all(facts[f"{name}-1"].state == "ready" for name in ("good", "titled", "parent"))
        assert all(facts[f"{name}-1"].since == seen[f"{name}-1"].since for name in ("good", "titled", "parent"))
        await asyncio.sleep(0.02)

    async def ended() -> bool:
        return "deaf-1" not in await bench.facts()

    await until(ended)
    os.kill(pids["titled-1"], signal.SIGKILL)
    gone = await bench.reaches("titled-1", "exited")
    assert gone.note == "ended, its exit code unknown because an earlier control plane had started it"
    ports = {seen[f"{name}-1"].port for name in names}
    await bench.start("good-2", "good")
    assert (await bench.instance("good-2")).port not in ports


async def test_what_a_dead_leader_left_is_ended_by_the_next_control_plane(bench: Any, habit: Any, until: Any) -> None:
    """Children whose leader died while nobody looked are ended, and not taken for an instance."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    (tree,) = bench.driver.processes.look().values()
    await bench.driver.close()
    os.kill(seen.pid, signal.SIGKILL)
    bench.driver = bench.new_driver()
    assert await bench.instance("web-1") is None

    async def empty() -> bool:
        return not bench.driver.processes.look()

    await until(empty)
    bench.driver.limits.sweep(frozenset())
    # One child has shed its environment, its session and its log: only a control group still tells whose it was.
    allowed = 1 if bench.driver.notices else 0

    def left() -> list[int]:
        return [member.pid for member in tree.members if (stat := read_stat(member.pid)) and stat.alive]

    async def ended() -> bool:
        return len(left()) <= allowed

    await until(ended)
    for pid in left():
        os.kill(pid, signal.SIGKILL)
