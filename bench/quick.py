"""The quickest servers, started and ended; see `quick_server`."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.table import Unmeasured
from tenfold.proof.load import Target


@dataclass(frozen=True, slots=True)
class Quick:
    """Running servers of one port."""

    target: Target
    processes: tuple[asyncio.subprocess.Process, ...]

    @property
    def url(self) -> str:
        return f"http://{self.target.authority}/"


@asynccontextmanager
async def quick(count: int = 1, log: Path | None = None) -> AsyncIterator[Quick]:
    """So many servers that share a port; they end, and write the log, with the context."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        program = str(Path(__file__).with_name("quick_server.py"))
        processes: list[asyncio.subprocess.Process] = []
        try:
            for _ in range(count):
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    program,
                    str(port),
                    str(log or "-"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                processes.append(process)
                assert process.stdout is not None
                if await process.stdout.readline() != b"ready\n":
                    raise Unmeasured("the bench's own server did not start: see its message above")
            yield Quick(Target("127.0.0.1", port), tuple(processes))
            for process in processes:
                assert process.stdin is not None
                process.stdin.close()
            await asyncio.gather(*(process.wait() for process in processes))
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
