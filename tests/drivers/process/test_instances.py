"""Instances as real processes, with every bad habit a program can have."""

import asyncio
import errno
import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers import logs
from tenfold.drivers.proctable import read_stat
from tenfold.effects import StartInstance, StopInstance
from tenfold.model import Health, InstanceSize, Service
from tenfold.ports import Permanent, Refused, Retryable


async def test_an_instance_is_started_becomes_ready_and_ends(bench: Any, habit: Any) -> None:
    """An instance listens where it was told, is measured, hears SIGTERM, and leaves nothing behind."""
    bench.release(web=habit("good"))
    receipt = await bench.start("web-1")
    assert receipt.outcome == "done"
    seen = await bench.reaches("web-1", "ready")
    assert (seen.service, seen.region, seen.release, seen.host) == ("web", "local", "r1", "127.0.0.1")
    assert seen.pid is not None and read_stat(seen.pid) is not None
    assert seen.memory_bytes is not None and seen.memory_bytes > 1_000_000
    with socket.create_connection((seen.host, seen.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert (await bench.stop("web-1")).outcome == "done"
    assert await bench.instance("web-1") is None
    assert not bench.driver.processes.look()
    assert (await bench.stop("web-1")).outcome == "done"


async def test_the_same_start_sent_twice_runs_once(bench: Any, habit: Any) -> None:
    """A start that is sent again, before and after the instance ended, starts nothing."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    first = await bench.reaches("web-1", "ready")
    assert (await bench.start("web-1")).outcome == "done"
    assert (await bench.instance("web-1")).pid == first.pid
    os.kill(first.pid, signal.SIGKILL)
    await bench.reaches("web-1", "exited")
    assert (await bench.start("web-1")).outcome == "done"
    assert (await bench.instance("web-1")).state == "exited"


async def test_what_is_restarted_goes_elsewhere_where_its_port_was_taken(bench: Any, habit: Any) -> None:
    """In its place and at its port, unless another program listens there meanwhile: there it would end over and over."""
    bench.release(web=habit("serve"))
    await bench.start("web-1")
    first = await bench.reaches("web-1", "ready")
    os.kill(first.pid, signal.SIGKILL)
    await bench.reaches("web-1", "exited")
    assert (await bench.send(StartInstance("web-1", "web", "local", "r1", attempt=2))).outcome == "done"
    again = await bench.reaches("web-1", "ready")
    assert again.port == first.port
    os.kill(again.pid, signal.SIGKILL)
    await bench.reaches("web-1", "exited")
    with socket.create_server(("127.0.0.1", first.port)):
        assert (await bench.send(StartInstance("web-1", "web", "local", "r1", attempt=3))).outcome == "done"
        moved = await bench.reaches("web-1", "ready")
        assert moved.port != first.port


async def test_a_killed_instance_is_reported_at_once_until_it_is_told_to_stop(bench: Any, habit: Any) -> None:
    """The end of a process wakes the loop; how it ended stays known until somebody has dealt with it."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    woken = asyncio.Event()
    bench.driver.subscribe(woken.set)
    os.kill(seen.pid, signal.SIGKILL)
    await asyncio.wait_for(woken.wait(), 30)
    gone = await bench.instance("web-1")
    assert (gone.state, gone.note) == ("exited", "killed by signal 9, SIGKILL")
    assert gone.generation > seen.generation
    await bench.stop("web-1")
    assert await bench.instance("web-1") is None


async def test_a_program_that_fails_says_why_without_its_secret(bench: Any, habit: Any) -> None:
    """The last line of a program that failed is in its note, a secret in that line is not."""
    bench.secrets.set("SESSION_KEY", "hunter2hunter2")
    bench.release(web=habit("fails"), secrets=("SESSION_KEY",))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "exited")
    assert seen.note == "exit code 3: cannot reach the database with ***"


async def test_a_command_that_does_not_exist_is_named(bench: Any, habit: Any) -> None:
    """A misspelt command is told as such, with its name."""
    bench.release(web=Service("web", "gunicron app:app --port {port}"))
    await bench.start("web-1")
    assert (await bench.reaches("web-1", "exited")).note == "command not found: gunicron"


async def test_a_missing_secret_is_named_with_its_remedy(bench: Any, habit: Any) -> None:
    """An instance whose secret is not set is not started, and the error says what to run."""
    bench.release(web=habit("good"), secrets=("SESSION_KEY",))
    with pytest.raises(Permanent, match="secret SESSION_KEY not set; run: tenfold secrets set SESSION_KEY"):
        await bench.start("web-1")
    assert await bench.instance("web-1") is None


async def test_an_instance_that_never_answers_well_keeps_starting(bench: Any, habit: Any) -> None:
    """A health check that says 503 for ever leaves the instance starting, with the reason."""
    bench.release(web=habit("never"))
    await bench.start("web-1")

    async def told() -> bool:
        return (await bench.instance("web-1")).note == "GET /health answered 503"

    deadline = time.monotonic() + 60
    while not await told():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (await bench.instance("web-1")).state == "starting"


async def test_health_goes_and_comes_back(bench: Any, habit: Any, tmp_path: Path) -> None:
    """An instance that answers badly often enough is unhealthy, and ready again once it answers well."""
    switch = tmp_path / "sick"
    bench.release(web=habit("switch", env={"SWITCH": str(switch)}))
    await bench.start("web-1")
    first = await bench.reaches("web-1", "ready")
    switch.touch()
    sick = await bench.reaches("web-1", "unhealthy")
    assert sick.note == "GET /health answered 503" and sick.generation > first.generation
    switch.unlink()
    assert (await bench.reaches("web-1", "ready")).note == ""


async def test_a_frozen_instance_is_seen_and_can_be_stopped(bench: Any, habit: Any, until: Any) -> None:
    """A stopped process is told as frozen at the next look, unhealthy later, and still ends when told to."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    os.kill(seen.pid, signal.SIGSTOP)

    async def frozen() -> bool:
        return (await bench.instance("web-1")).frozen

    await until(frozen)
    sick = await bench.reaches("web-1", "unhealthy")
    assert "got no answer within 0.5 s" in sick.note
    await bench.stop("web-1", grace_s=2.0)
    assert not bench.driver.processes.look()


async def test_a_freeze_wakes_who_listens(bench: Any, habit: Any, until: Any) -> None:
    """Between two health checks far apart, who subscribed hears that an instance was stopped, and that it goes on."""
    bench.release(web=habit("good", health=Health(path="/health", every_s=600.0)))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    woken: list[bool] = []
    bench.driver.subscribe(lambda: woken.append(True))
    for number, signal_ in enumerate((signal.SIGSTOP, signal.SIGCONT), 1):
        os.kill(seen.pid, signal_)

        async def heard(times: int = number) -> bool:
            return len(woken) >= times

        await until(heard)
        assert (await bench.instance("web-1")).frozen is (signal_ is signal.SIGSTOP)


async def test_a_program_deaf_to_sigterm_is_killed(bench: Any, habit: Any) -> None:
    """SIGTERM is given its grace and no more."""
    bench.release(web=habit("deaf"))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    stopping = asyncio.create_task(bench.stop("web-1", grace_s=3.0))
    assert (await bench.reaches("web-1", "stopping")).pid == seen.pid
    await asyncio.wait_for(stopping, 60)
    assert not bench.driver.processes.look() and await bench.instance("web-1") is None


async def test_a_second_stop_with_less_patience_wins(bench: Any, habit: Any) -> None:
    """A stop that waits too long is cut short by one that does not."""
    bench.release(web=habit("deaf"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    patient = asyncio.create_task(bench.stop("web-1", grace_s=600.0))
    await bench.reaches("web-1", "stopping")
    await asyncio.wait_for(bench.stop("web-1", grace_s=0.0), 60)
    await asyncio.wait_for(patient, 60)
    assert not bench.driver.processes.look()


async def test_children_that_left_the_session_end_with_their_parent(bench: Any, habit: Any, until: Any) -> None:
    """Double forks, new sessions and a cleared environment save no child when the instance is stopped."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    (tree,) = bench.driver.processes.look().values()
    assert len(tree.members) == 4
    await bench.stop("web-1")
    assert all(read_stat(member.pid) is None or not read_stat(member.pid).alive for member in tree.members)


async def test_children_of_a_leader_that_died_are_ended(bench: Any, habit: Any, until: Any) -> None:
    """When the process that was started dies, what it started goes too, without an order."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    (tree,) = bench.driver.processes.look().values()
    assert len(tree.members) == 4
    os.kill(seen.pid, signal.SIGKILL)
    await bench.reaches("web-1", "exited")

    async def empty() -> bool:
        return not any((left := read_stat(member.pid)) and left.alive for member in tree.members)

    await until(empty)


async def test_the_port_of_another_program_is_stepped_over(bench: Any, habit: Any) -> None:
    """An instance gets the next free port when something else listens on the one in turn."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    first = (await bench.instance("web-1")).port
    with socket.create_server(("127.0.0.1", first + 1)):
        await bench.start("web-2")
        assert (await bench.reaches("web-2", "ready")).port not in (first, first + 1)


async def test_a_port_taken_in_between_ends_the_instance_with_the_reason(bench: Any, habit: Any) -> None:
    """When another program takes the port between choice and start, the instance ends and says so."""
    bench.release(web=habit("good"))
    held: list[socket.socket] = []
    choose = bench.driver._ports.take

    def choose_and_lose(taken: Any = ()) -> int:
        port: int = choose(taken)
        held.append(socket.create_server(("127.0.0.1", port)))
        return port

    bench.driver._ports.take = choose_and_lose
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "exited")
    assert seen.note.startswith("exit code 1: ") and "Address already in use" in seen.note
    held[0].close()


async def test_a_background_service_is_ready_once_it_has_lived_a_second(bench: Any, habit: Any) -> None:
    """A worker without a port is ready after a second of life; one that fails at once never is."""
    # Nothing ends sooner than a shell that is told to: a program of Python's may need its second to begin with.
    bench.release(worker=habit("good", port=False), broken=Service("broken", "exit 3"))
    await bench.start("worker-1", "worker")
    await bench.start("broken-1", "broken")
    seen = await bench.reaches("worker-1", "ready")
    assert seen.port is None and seen.since - seen.started_at >= 1.0
    broken = await bench.reaches("broken-1", "exited")
    assert broken.generation == 2, "it was never ready in between"


async def test_a_background_service_stays_ready_when_the_clock_is_set_back(
    bench: Any, habit: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is well does not become one that was started only just now."""
    health = Health(every_s=0.05, unhealthy_after=2)
    bench.release(worker=habit("good", port=False, health=health))
    await bench.start("worker-1", "worker")
    await bench.reaches("worker-1", "ready")
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() - 3600)
    asked = bench.driver.instances.all["worker-1"]
    asked.successes = 0

    async def was_asked_thrice() -> bool:
        return asked.successes >= 3 or asked.state != "ready"

    await until(was_asked_thrice)
    assert (await bench.instance("worker-1")).state == "ready"


async def test_a_check_that_we_can_not_make_says_nothing(
    bench: Any, habit: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the control plane itself has no descriptor left, an instance stays what it was."""
    bench.release(web=habit("good", health=Health(path="/health", every_s=0.02, unhealthy_after=2)))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    tried: list[int] = []

    def no_more(*_: object) -> socket.socket:
        tried.append(1)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def was_tried() -> bool:
        return len(tried) >= 5

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", no_more)
        await until(was_tried)
    assert (await bench.instance("web-1")).state == "ready"


async def test_a_program_that_prints_a_megabyte_a_second_keeps_a_bounded_log(
    bench: Any, habit: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is cut while the program goes on writing to it, and holds whole lines of its end."""
    monkeypatch.setattr(logs, "SIZE_BYTES_MAX", 300_000)
    bench.release(web=habit("printer", port=False))
    await bench.start("web-1")
    log = bench.driver.instances.log_file("web-1")

    async def cut_twice() -> bool:
        old = log.with_name("web-1.log.1")
        return old.exists() and old.stat().st_mtime - first_cut > 0.5

    async def cut_once() -> bool:
        return log.with_name("web-1.log.1").exists()

    await bench.driver.observe()
    await until(cut_once)
    first_cut = log.with_name("web-1.log.1").stat().st_mtime
    await until(cut_twice)
    assert log.stat().st_size < 2_000_000
    assert (await bench.instance("web-1")).state in ("starting", "ready")
    assert all(set(line) <= {"x"} for line in logs.tail(log, 5))


async def test_an_instance_that_can_not_be_noted_does_not_start(bench: Any, habit: Any) -> None:
    """On a full disk an instance is not started, and nothing hinders the next try."""
    bench.release(web=habit("good"))
    await bench.stop("web-9")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        with pytest.raises(Retryable, match="web-1 can't start: File too large"):
            await bench.start("web-1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not bench.driver.processes.look() and await bench.instance("web-1") is None
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")


async def test_an_old_epoch_and_an_old_generation_are_refused(bench: Any, habit: Any) -> None:
    """Orders of a control plane that lost its lease, or that rest on what is no longer so, are not carried out."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "ready")
    with pytest.raises(Refused, match="has changed"):
        await bench.send(StopInstance("web-1", 1.0, expected_generation=seen.generation - 1))
    await bench.send(StopInstance("web-9", 1.0), epoch=5)
    with pytest.raises(Refused, match=r"epoch \d, not 4"):
        await bench.send(StopInstance("web-1", 1.0), epoch=4)
    assert (await bench.instance("web-1")).state == "ready"


async def test_more_memory_than_allowed_ends_the_instance_with_the_reason(bench: Any, habit: Any) -> None:
    """Where this machine enforces limits, the note names the limit and the setting; where not, the driver says so once."""
    if bench.driver.notices:
        assert "not enforced" in bench.driver.notices[0]
        return
    size = InstanceSize(memory_bytes=64 * 1024 * 1024)
    bench.release(web=habit("greedy", port=False, instance=size))
    await bench.start("web-1")
    seen = await bench.reaches("web-1", "exited")
    assert seen.note == "ended by the kernel: it used more than its 64 MiB of memory; raise instance.memory"
    groups = [path for base in bench.driver.limits._folders() for path in (base / "web-1",)]
    assert all(group.is_dir() for group in groups)
    await bench.stop("web-1")
    assert not any(group.exists() for group in groups)


async def test_fifty_instances_become_ready_together(bench: Any, habit: Any) -> None:
    """Health checks of many instances do not wait for one another, even when half of them never answer."""
    slow = Health(path="/health", every_s=5.0, timeout_s=2.0, healthy_after=1)
    bench.release(web=habit("good", health=slow), hung=habit("hung", health=slow))
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    try:
        for number in range(25):
            await bench.start(f"web-{number}")
        for instance in bench.driver.instances.all.values():
            if int(instance.id[4:]) % 2:
                instance.port = listener.getsockname()[1]  # Accepts, and never answers.
        for number in range(0, 25, 2):
            await bench.reaches(f"web-{number}", "ready", within_s=60)
    finally:
        listener.close()
