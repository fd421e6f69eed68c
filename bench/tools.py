"""Other load tools, beside our own: found on this machine, or (Locust) installed into a folder of its own; else their figure of
when it was last measured is told, and said to be that."""

import asyncio
import csv
import re
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.quick import quick
from bench.shop import Tell
from bench.table import Figure, told

INSTALL_S_MAX = 240.0
CONNECTIONS = 50
LOCUST_RAMP_S = 40.0
LOCUST_HOLD_S = 15.0
_LOCUSTFILE = """
from locust import FastHttpUser, constant_throughput, task

class Person(FastHttpUser):
    wait_time = constant_throughput({rate})

    @task
    def look(self):
        self.client.get("/things")
"""
_WRK_REPORT = """
done = function(summary, latency, requests)
  io.write(string.format("95%% %.3fms\\n99%% %.3fms\\n", latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
"""

Percentiles = Mapping[int, float]
"""In ms, by percent."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: how its program is found (None: not here), how it measures a URL at a rate for a time, and what it said when it was
    last measured."""

    name: str
    find: Callable[[Tell], Awaitable[str | None]]
    measure: Callable[[str, str, float, float], Awaitable[Percentiles]]
    reference: str


async def users_beside(users: int, rate_rps: float, tell: Tell) -> list[Figure]:
    """What Locust and k6 take for the same users."""
    program = await _locust(tell)
    k6 = told("k6, the same: memory", "not here (reference: 2,200 MB)")
    if program is None:
        return [told("Locust, the same: CPU", "not here (reference: 46 % of a core, its own p99 450 ms)"), k6]
    tell(f"Locust with {users:,} users")
    async with quick() as server:
        with tempfile.TemporaryDirectory() as folder:
            arguments = _locust_arguments(
                program, Path(folder), server.url, rate_rps / users, LOCUST_RAMP_S + LOCUST_HOLD_S
            )
            process = await asyncio.create_subprocess_exec(
                *arguments,
                "-u",
                str(users),
                "-r",
                str(users / LOCUST_RAMP_S),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            cpu_percent, memory_mb = await _watched(process)
            said = _locust_said(Path(folder))
    p99 = f", its own p99 {said[99]:,.0f} ms" if 99 in said else ""
    return [told("Locust, the same", f"{cpu_percent:.0f} % of a core, {memory_mb:,.0f} MB{p99} (reference: 46 %)"), k6]


async def _watched(process: asyncio.subprocess.Process) -> tuple[float, float]:
    """CPU in percent of a core while all users are there, and the most memory in MB; then the process's end is awaited."""
    memory_bytes, cpu_percent = 0, 0.0
    try:
        with suppress(psutil.NoSuchProcess):
            seen = psutil.Process(process.pid)
            await asyncio.sleep(LOCUST_RAMP_S + 3)
            before_s = sum(seen.cpu_times()[:2])
            for _ in range(10):
                await asyncio.sleep(1)
                memory_bytes = max(memory_bytes, seen.memory_info().rss)
            cpu_percent = (sum(seen.cpu_times()[:2]) - before_s) * 10
        await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return cpu_percent, memory_bytes / 1e6


async def _locust(tell: Tell) -> str | None:
    """Locust's program: on the path, or from the package index into a folder that is kept for the next time."""
    if found := shutil.which("locust"):
        return found
    home = Path(tempfile.gettempdir()) / "tenfold-bench-locust"
    program = home / "bin" / "locust"
    if not program.exists():
        tell("Locust is installed into a folder of its own")
        for command in (
            (sys.executable, "-m", "venv", str(home)),
            (str(home / "bin" / "pip"), "install", "-qq", "locust"),
        ):
            if not await _succeeds(*command):
                return None
    return str(program) if program.exists() else None


async def _succeeds(*command: str) -> bool:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        return await asyncio.wait_for(process.wait(), INSTALL_S_MAX) == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _locust_arguments(program: str, folder: Path, url: str, rate_each: float, lasts_s: float) -> list[str]:
    file = folder / "locustfile.py"
    file.write_text(_LOCUSTFILE.format(rate=rate_each))
    return [
        *(program, "-f", str(file), "--headless", "--only-summary", "-H", url.rstrip("/")),
        *("-t", f"{lasts_s:.0f}s", "--csv", str(folder / "said"), "--stop-timeout", "10"),
    ]


def _locust_said(folder: Path) -> dict[int, float]:
    path = folder / "said_stats.csv"
    if not path.exists():
        return {}
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["Name"] == "Aggregated"]
    return {percent: float(row[f"{percent}%"]) for row in rows for percent in (95, 99)}


async def _locust_measure(program: str, url: str, rate_rps: float, lasts_s: float) -> Percentiles:
    with tempfile.TemporaryDirectory() as folder:
        arguments = _locust_arguments(program, Path(folder), url, 1.0, lasts_s)
        await _said(*arguments, "-u", f"{rate_rps:.0f}", "-r", f"{rate_rps:.0f}", within_s=lasts_s + 60)
        return _locust_said(Path(folder))


async def _hey(program: str, url: str, rate_rps: float, lasts_s: float) -> Percentiles:
    each_rps = f"{rate_rps / CONNECTIONS:g}"
    said = await _said(
        program, "-z", f"{lasts_s:.0f}s", "-q", each_rps, "-c", str(CONNECTIONS), "-t", "30", url, within_s=lasts_s + 60
    )
    found = re.findall(r"^\s*(95|99)% in ([\d.]+) secs", said, re.MULTILINE)
    return {int(percent): float(took_s) * 1000 for percent, took_s in found}


async def _wrk(program: str, url: str, rate_rps: float, lasts_s: float) -> Percentiles:
    """It knows no rate: it asks as fast as it is answered."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "report.lua"
        script.write_text(_WRK_REPORT)
        said = await _said(
            *(program, "-t1", f"-c{CONNECTIONS}", f"-d{lasts_s:.0f}s", "--timeout", "30s", "-s", str(script), url),
            within_s=lasts_s + 60,
        )
    return {
        int(percent): float(took_ms) for percent, took_ms in re.findall(r"^(95|99)% ([\d.]+)ms", said, re.MULTILINE)
    }


async def _said(*command: str, within_s: float) -> str:
    """What a command prints; nothing if it takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), within_s)
        return out.decode()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _on_path(name: str) -> Callable[[Tell], Awaitable[str | None]]:
    async def find(tell: Tell) -> str | None:
        return shutil.which(name)

    return find


_TRUTH = "at a truth of 1,500 and 2,700 ms"
FREEZE = (
    Tool("wrk", _on_path("wrk"), _wrk, f"not here (reference: p99 3.6 ms {_TRUTH})"),
    Tool("hey", _on_path("hey"), _hey, f"not here (reference: p99 9 ms {_TRUTH})"),
    Tool("Locust", _locust, _locust_measure, f"not here (reference: p99 34 ms {_TRUTH})"),
)
"""Those that measure a server that freezes."""
