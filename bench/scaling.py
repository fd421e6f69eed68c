"""Twice the instances, twice the requests: what an app that waits (not for the CPU) answers at 1, 2 and 4 instances."""

import asyncio
import time

from bench.edge import SMALL_APP, blueprint
from bench.shop import Tell, small
from bench.small_app import AT_ONCE, WAIT_S
from bench.table import Figure, Unmeasured, holds, told
from tenfold.proof.load import Target

COUNTS = (1, 2, 4)
LINEAR_RATIO = 0.9
WARM_S = 1.0
MEASURE_S = 6.0
CLIENTS_PER_INSTANCE = 2 * AT_ONCE
"""Twice what an instance serves at once: each always has somebody waiting, however unevenly they come."""


async def scaling(tell: Tell) -> list[Figure]:
    """Keep each number of instances saturated for a while, and count the answers."""
    rates: dict[int, float] = {}
    for count in COUNTS:
        async with small(tell, SMALL_APP, blueprint(count)) as shop:
            rates[count] = await _saturated_rps(await shop.target(), CLIENTS_PER_INSTANCE * count)
            tell(f"{count} instances answer {rates[count]:.0f} requests/s")
    ceiling_rps = AT_ONCE / WAIT_S
    figures = [told("1 instance", f"{rates[1]:.0f} requests/s (at most {ceiling_rps:.0f} by its nature)", rates[1])]
    for count in COUNTS[1:]:
        ratio = rates[count] / (count * rates[1])
        figures.append(
            holds(
                f"{count} instances over {count} times one",
                ratio >= LINEAR_RATIO,
                f"{ratio:.2f} ({rates[count]:.0f} requests/s)",
                f"at least {LINEAR_RATIO}",
            )
        )
    figures.append(
        told(
            "how",
            f"closed loop, {CLIENTS_PER_INSTANCE} clients per instance that POST one after another, {MEASURE_S:.0f} s each",
        )
    )
    return figures


async def _saturated_rps(target: Target, clients: int) -> float:
    """Answers a second while every client asks again as soon as it is answered. POST, so that the edge hedges nothing."""
    counting = _Counting()
    tasks = [asyncio.create_task(_ask(target, counting)) for _ in range(clients)]
    try:
        await asyncio.sleep(WARM_S)
        counting.answered, since_s = 0, time.monotonic()
        await asyncio.sleep(MEASURE_S)
        took_s = time.monotonic() - since_s
        for task in tasks:
            if task.done():
                task.result()
        if counting.failed:
            raise Unmeasured(f"{counting.failed} requests failed: {counting.example}")
        return counting.answered / took_s
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Counting:
    """What all clients have seen."""

    answered = 0
    failed = 0
    example = ""


async def _ask(target: Target, counting: _Counting) -> None:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    request = f"POST /wait HTTP/1.1\r\nhost: {target.authority}\r\ncontent-length: 0\r\n\r\n".encode()
    try:
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            if head.startswith(b"HTTP/1.1 200"):
                counting.answered += 1
            else:
                counting.failed += 1
                counting.example = head.split(b"\r\n", 1)[0].decode()
    finally:
        writer.close()
