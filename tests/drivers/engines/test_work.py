"""What a store does is read from its own counters."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis

from tenfold.drivers import storework
from tenfold.drivers.storework import Work
from tenfold.facts import StoreSeen

WITHIN_S = 90.0


async def work_of(driver: Any, check: Callable[[StoreSeen], bool]) -> StoreSeen:
    """What the store does, once `check` holds of it."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            for fact in await driver.observe():
                if isinstance(fact, StoreSeen) and check(fact):
                    return fact
            await asyncio.sleep(0.05)


async def test_what_a_valkey_does(place: Any) -> None:
    """Commands of clients are counted and timed; those of Tenfold itself are none."""
    driver = place.valkey()
    await place.run(driver)
    idle = await work_of(driver, lambda seen: seen.transactions_per_s == 0)
    assert (idle.key, idle.busy_ms_mean) == ("valkey/local", None)
    client = Redis.from_url(driver.urls("local")["VALKEY_URL"])
    for _ in range(300):
        await client.incr("visits")
    busy = await work_of(driver, lambda seen: seen.transactions_per_s > 0)
    assert busy.busy_ms_mean is not None and busy.busy_ms_mean > 0
    assert busy.connections >= 1
    await client.aclose()


async def test_what_a_postgres_does(place: Any) -> None:
    """Transactions in the app's database are counted, with the time that was worked on them."""
    driver = place.postgres()
    await place.run(driver)
    async with await psycopg.AsyncConnection.connect(driver.urls("local")["DATABASE_URL"], autocommit=True) as app:
        for _ in range(5):
            await app.execute("SELECT pg_sleep(0.05)")
        await asyncio.sleep(1.1)  # a session hands in its counts once a second
        await app.execute("SELECT 1")
        busy = await work_of(driver, lambda seen: (seen.busy_ms_mean or 0) > 5)
    assert (busy.key, busy.connections) == ("postgres/local", 1)


def test_counters_that_fall_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that began anew is not compared with the one before; with no transaction there is no mean time."""
    now = iter(range(100, 200))
    monkeypatch.setattr(storework, "time", SimpleNamespace(monotonic=lambda: float(next(now)), time=lambda: 0.0))
    work = Work("postgres", "local")
    work.take(1000, 500.0, 3)
    assert work.seen is None
    work.take(1100, 700.0, 4)
    assert work.seen == StoreSeen("postgres", "local", 0.0, 100.0, 2.0, 4)
    work.take(1100, 700.0, 4)
    assert work.seen == StoreSeen("postgres", "local", 0.0, 0.0, None, 4)
    work.take(5, 1.0, 0)
    assert work.seen is None
