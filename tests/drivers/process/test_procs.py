"""Tagged processes: started plainly, found again, told apart, ended whole."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers import procs
from tenfold.drivers.freeport import FreePorts, is_free
from tenfold.drivers.procs import Command, Identity, Processes, TreeKey, shell
from tenfold.drivers.proctable import read_stat
from tenfold.drivers.project import Project
from tenfold.ports import Permanent

KEY = TreeKey("engine", "postgres/local")


@pytest.fixture
def processes(project: Project) -> Processes:
    return Processes(project)


def command(project: Project, text: str, **more: Any) -> Command:
    path = os.environ["PATH"]
    return Command(shell(text, path), {"PATH": path}, project.root, project.logs / "postgres-local.log", **more)


async def test_a_process_starts_plainly_whatever_its_parent_was_started_with(
    processes: Processes, project: Project
) -> None:
    """Own session, nothing on its input, no signal ignored or blocked, no descriptor of ours, output in its log."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    reader, writer = os.pipe()
    try:
        text = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; readlink /proc/self/fd/0"
        process = processes.spawn(KEY, command(project, text))
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGHUP, before)
        os.close(reader)
        os.close(writer)
    assert await process.wait(10) and process.exit_code == 0
    said = (project.logs / "postgres-local.log").read_text().splitlines()
    # 32 and 33 are the C library's own: what make starts ignores them, and no program can change that.
    blocked, ignored = (int(line.split()[1], 16) & ~(0b11 << 31) for line in said[:2])
    assert (blocked, ignored) == (0, 0)
    assert said[2:] == ["0", "1", "2", "3", "/dev/null"]  # 3 is the folder that ls reads


async def test_the_end_of_a_process_is_told_at_once_and_leaves_no_zombie(
    processes: Processes, project: Project
) -> None:
    """A watcher hears of the end, with the exit code, and the process has been waited for."""
    process = processes.spawn(KEY, command(project, "sleep 0.1; exit 4"))
    ended = asyncio.get_running_loop().create_future()
    process.watch(ended.set_result)
    assert await asyncio.wait_for(ended, 10) is process
    assert process.exit_code == 4
    assert read_stat(process.pid) is None


def test_letting_go_of_one_that_has_just_ended_leaves_no_zombie(processes: Processes, project: Project) -> None:
    """Its end may come in the very moment in which nobody looks any more."""
    process = processes.spawn(KEY, command(project, "true"))
    deadline = time.monotonic() + 60
    while (stat := read_stat(process.pid)) is not None and stat.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.close()
    assert read_stat(process.pid) is None


async def test_a_signal_never_reaches_another_process_with_the_same_pid(processes: Processes, project: Project) -> None:
    """An identity whose pid was given to another process is not that process."""
    process = processes.spawn(KEY, command(project, "sleep 1000"))
    stranger = Identity(process.pid, process.identity.start_ticks - 1)
    assert not procs.send(stranger, signal.SIGKILL)
    assert not await process.wait(0.1)
    assert procs.send(process.identity, signal.SIGKILL)
    assert await process.wait(10) and process.exit_code == -signal.SIGKILL


async def test_only_the_own_project_is_seen(processes: Processes, project: Project, tmp_path: Path) -> None:
    """Two projects on one machine are blind to one another, also when an instance of one starts the other's."""
    other = Processes(Project(tmp_path / "other", "shop"))
    (tmp_path / "other").mkdir()
    processes.spawn(KEY, command(project, "sleep 1000"))
    assert list(processes.look()) == [KEY] and not other.look()
    await other.stop(KEY, 1.0)
    assert list(processes.look()) == [KEY]
    await processes.stop(KEY, 1.0)
    assert not processes.look()


async def test_the_leader_is_told_first_and_what_outlives_it_next(processes: Processes, project: Project) -> None:
    """A server ends its workers in its own order; a shell that dies at once leaves its programs to be told themselves."""
    worker = (
        f"sh -c 'trap \"echo worker >> {project.root}/said; exit\" TERM; echo > {project.root}/up; sleep 1000 & wait'"
    )
    server = f"trap 'sleep 0.3; echo server >> {project.root}/said; kill $!; exit 0' TERM; {worker} & wait; wait"
    for text in (server, f"{worker}; true"):
        process = processes.spawn(KEY, command(project, text))
        deadline = time.monotonic() + 60
        while not (project.root / "up").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        (project.root / "up").unlink()
        await processes.stop(KEY, 10.0)
        assert process.poll() and not processes.look()
    assert (project.root / "said").read_text().split() == ["server", "worker", "worker"]


async def test_cpu_and_memory_of_a_tree(processes: Processes, project: Project) -> None:
    """What a busy child uses counts for its tree; the first look has no CPU figure yet, and none is ever invented."""
    text = f"{sys.executable} -S -E -c 'x = b\"1\" * 50_000_000\nwhile True: pass' & wait"
    processes.spawn(KEY, command(project, text))
    first = processes.usage(processes.look())[KEY]
    assert first.cpu_cores is None
    deadline = time.monotonic() + 60
    while True:
        await asyncio.sleep(0.6)
        used = processes.usage(processes.look())[KEY]
        if used.cpu_cores is not None and used.cpu_cores > 0.1 and used.memory_bytes > 50_000_000:
            break
        assert time.monotonic() < deadline
    assert used.cpu_cores < 2.0 and used.memory_bytes < 200_000_000


def test_what_can_not_be_started_is_named(processes: Processes, project: Project) -> None:
    """A folder that is not there and a zero byte are told in a sentence."""
    gone = Command(("true",), {}, project.root / "gone", project.logs / "x.log")
    with pytest.raises(Permanent, match=r"there is no folder .*gone"):
        processes.spawn(KEY, gone)
    with pytest.raises(Permanent, match="zero byte"):
        processes.spawn(KEY, command(project, "echo \0"))


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("sleep 1000", True),
        ("exec sleep 1000", False),
        ("A=1 sleep 1000", False),
        ("cd / && sleep 1000", False),
        ("echo 'a;b' $HOME", True),
        ("sleep 1 # rest", True),
        ("echo 'unfinished", False),
        ("no-such-program", False),
        ("sleep 1\nsleep 2", False),
        ("echo $(date)", False),
        ("", False),
    ],
)
def test_a_single_program_takes_the_shells_place(text: str, alone: bool) -> None:
    """Whatever a shell understands runs as it is; one program alone is run without the shell staying around it."""
    assert shell(text, os.environ["PATH"])[-1] == ("exec " if alone else "") + text


def test_the_port_of_the_edge_is_no_instances(tmp_path: Path) -> None:
    """An instance that takes long to listen is not given the port where the gateway will be long before it."""
    project = Project(tmp_path, "shop")
    edge = FreePorts(project).take()
    ports = FreePorts(project, kept=edge)
    assert edge not in {ports.take() for _ in range(3)}


def test_busy_ports_are_stepped_over_and_projects_start_apart(tmp_path: Path) -> None:
    """The same project looks at the same ports first, another one elsewhere; one just used is not used again at once."""
    starts = {FreePorts(Project(tmp_path / name, "shop")).take() for name in "abcdefgh"}
    assert len(starts) >= 7, "two of eight may meet by chance once in a thousand times, three never do"
    one = Project(tmp_path / "a", "shop")
    first = FreePorts(one).take()
    assert FreePorts(one).take() == first
    assert is_free(first)
    ports = FreePorts(one)
    with subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-c",
            f"import socket; s = socket.create_server(('', {first})); print(1, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as busy:
        assert busy.stdout is not None and busy.stdout.readline()
        assert not is_free(first)
        taken = ports.take()
        assert taken > first
        assert ports.take({taken + 1}) not in (first, taken, taken + 1)
        busy.communicate(b"\n")
