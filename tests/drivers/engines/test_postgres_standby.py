"""Two PostgreSQL in two regions: one takes writes, the other follows, takes over, and lets the first come back."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from tenfold.drivers.postgres_replica import ROLE
from tenfold.drivers.postgres_seen import Watched, look
from tenfold.effects import Order, Outcome, Promote, StartEngine, StopEngine
from tenfold.facts import EngineState, ReplicaRole
from tenfold.ports import Permanent, Refused, Retryable
from tests.processes import children

Connect = Callable[[str], Any]
Pair = Any


class Writers:
    """Clients that write rows one by one, each in a thread of its own, and note which were acknowledged."""

    def __init__(self, connect: Connect, url: str, count: int = 4) -> None:
        self.acknowledged = [0] * count
        self.tried = [0] * count
        with connect(url) as app:
            app.execute("CREATE TABLE IF NOT EXISTS rows (writer int, number int, PRIMARY KEY (writer, number))")
        self._threads = [threading.Thread(target=self._write, args=(connect, url, n)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, connect: Connect, url: str, writer: int) -> None:
        try:
            with connect(url) as app:
                while True:
                    self.tried[writer] += 1
                    app.execute("INSERT INTO rows VALUES (%s, %s)", (writer, self.tried[writer]))
                    self.acknowledged[writer] = self.tried[writer]
        except psycopg.Error:
            return

    def join(self) -> None:
        """Wait until all have seen that their server is gone."""
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def lost(self, connect: Connect, url: str) -> int:
        """How many acknowledged rows are not there."""
        with connect(url) as app:
            there = dict(app.execute("SELECT writer, count(*) FROM rows GROUP BY writer").fetchall())
        return sum(max(0, count - there.get(writer, 0)) for writer, count in enumerate(self.acknowledged))


async def test_standby_follows_and_says_so(postgres_pair: Pair, connect: Connect) -> None:
    """The second region gets a copy and then every write; both say who follows whom, and that nothing is outstanding when all is quiet."""
    pair = postgres_pair
    with pytest.raises(Retryable, match="not been started"):
        pair.driver.urls("c")
    with pytest.raises(Retryable, match="not been started"):
        await pair.start("b", follow="a")
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    with connect(await pair.url("a")) as app:
        app.execute("CREATE TABLE notes (n int)")
    receipt = await pair.start("b", follow="a")
    assert "it got a copy of the data of a" in receipt.note
    primary = await pair.until_follows("b", "a")
    assert (primary.timeline, primary.is_synchronous) == (1, False)
    with connect(await pair.url("a")) as app:
        app.execute("INSERT INTO notes VALUES (2)")
    await pair.until_follows("b", "a")
    standby = await pair.until("b", lambda _, seen: seen.lag_s == 0.0)
    assert (standby.role, standby.follows, standby.timeline) == (ReplicaRole.STANDBY, "a", 1)
    with connect(await pair.url("b")) as reader:
        assert reader.execute("SELECT * FROM notes").fetchall() == [(2,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("INSERT INTO notes VALUES (3)")
    urls = {region: pair.driver.urls(region)["DATABASE_URL"] for region in ("a", "b", "c")}
    assert all(f"@{region}.test:1/" in url for region, url in urls.items())
    assert len({url.replace(f"@{region}.", "@") for region, url in urls.items()}) == 1
    secret = (pair.home("b") / "replica.pass").read_text().strip().rpartition(":")[2]
    engine, _ = await pair.facts("b")
    lines = children(engine.pid).values()
    assert any("walreceiver" in line for line in lines)
    assert secret not in " ".join((*psutil.Process(engine.pid).cmdline(), *lines))
    assert (pair.home("b") / "replica.pass").stat().st_mode & 0o777 == 0o600
    assert secret not in (pair.home("b") / "pgdata" / "postgresql.auto.conf").read_text()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(f"postgresql://{ROLE}:guess@{engine.address}/postgres")
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
        connect(f"postgresql://{ROLE}:{secret}@{engine.address}/crewboard")


async def test_synchronous_loses_no_acknowledged_row(postgres_pair: Pair, connect: Connect) -> None:
    """The primary is killed with -9 while four clients write, then the other: every row that was acknowledged is there at the end."""
    pair = postgres_pair
    await pair.both(is_synchronous=True)
    here, there = "a", "b"
    for number in (1, 2):
        writers = Writers(connect, await pair.url(here))
        await pair.place.eventually(lambda w=writers: min(w.acknowledged) >= 50)
        pair.signal(here, signal.SIGKILL)
        writers.join()
        await pair.gone(here)
        await pair.fence(here)
        await pair.promote(there, number=number)
        assert writers.lost(connect, await pair.url(there)) == 0
        seen = await pair.until(there, lambda _, seen: seen.role is ReplicaRole.PRIMARY)
        assert (seen.timeline, seen.is_synchronous) == (number + 1, False)
        with connect(await pair.url(there)) as app:
            app.execute("TRUNCATE rows")
        await pair.start(here, follow=there)
        await pair.until_follows(here, there)
        here, there = there, here
        await pair.start(here, is_synchronous=True)
        await pair.until(here, lambda _, seen: seen.is_synchronous)


async def test_asynchronous_loses_what_the_standby_had_not_got(postgres_pair: Pair, connect: Connect) -> None:
    """A standby that hangs while rows are acknowledged lacks them; its lag says since when, and the old primary's own are wound back."""
    pair = postgres_pair
    await pair.both()
    url = await pair.url("a")
    with connect(url) as app:
        app.execute("CREATE TABLE rows (writer int, number int)")
    await pair.until_follows("b", "a")
    pair.signal("b", signal.SIGSTOP)
    with connect(url) as app:
        app.execute("INSERT INTO rows SELECT 1, generate_series(1, 1000)")
    behind = await pair.until("a", lambda _, seen: seen.lag_s is not None and seen.lag_s > 1.0)
    assert behind.standbys == ("b",)
    pair.signal("a", signal.SIGKILL)
    await pair.gone("a")
    await pair.fence("a")
    # What waits in its socket's buffer would still arrive: a region that is cut off has no such thing.
    engine, _ = await pair.facts("b")
    for child, line in children(engine.pid).items():
        if "walreceiver" in line:
            child.kill()
    pair.signal("b", signal.SIGCONT)
    await pair.until("b", lambda engine, seen: engine.state is EngineState.READY and not seen.follows)
    await pair.promote("b")
    with connect(await pair.url("b")) as app:
        assert app.execute("SELECT count(*) FROM rows").fetchone() == (0,)
        app.execute("INSERT INTO rows VALUES (2, 1)")
    receipt = await pair.start("a", follow="b")
    assert "wound back" in receipt.note
    await pair.until_follows("a", "b")
    with connect(await pair.url("a")) as reader:
        assert reader.execute("SELECT * FROM rows").fetchall() == [(2, 1)]


async def test_standby_is_no_closer_than_at_the_question(postgres_pair: Pair) -> None:
    """An answer that lay there while the control plane was held up tells of the moment it was asked for, not of now."""
    pair = postgres_pair
    await pair.both()

    class HeldUp:
        """A connection whose reader is frozen after each answer."""

        async def execute(self, query: str) -> object:
            answer = await asked.execute(query)
            time.sleep(0.3)  # noqa: ASYNC251 - that is the story
            return answer

    async with await psycopg.AsyncConnection.connect(superuser_url(pair), autocommit=True) as asked:
        prompt = await look(asked, "a", Watched(), lambda host, port: "")
        late = await look(HeldUp(), "a", Watched(), lambda host, port: "")  # type: ignore[arg-type]
    assert prompt.standbys == late.standbys == ("b",)
    assert late.lag_s is not None and late.lag_s >= 0.3


async def test_frozen_primary_is_fenced_for_good(postgres_pair: Pair, connect: Connect) -> None:
    """One that hangs is ended without a moment of life; neither a thaw nor a start, by a later control plane either, lets it write."""
    pair = postgres_pair
    await pair.both(is_synchronous=True)
    before, _ = await pair.facts("a")
    with connect(await pair.url("a")) as app:
        app.execute("CREATE TABLE rows (writer int, number int)")
        pair.signal("a", signal.SIGSTOP)
        await pair.fence("a")
        await pair.promote("b")
        pair.signal("a", signal.SIGCONT)
        with pytest.raises(psycopg.Error):
            app.execute("INSERT INTO rows VALUES (1, 1)")
    assert not psutil.pid_exists(before.pid)
    for _ in range(2):
        with pytest.raises(Permanent, match="fenced"):
            await pair.start("a")
        await pair.driver.close()
        pair.renew()
    await pair.start("a", follow="b")
    await pair.until_follows("a", "b")
    assert not (pair.home("a") / "fenced").exists()


async def test_writes_wait_for_a_synchronous_standby(postgres_pair: Pair, connect: Connect) -> None:
    """While the standby is down no write is acknowledged and status says so; an order to go on without it lets the write through."""
    pair = postgres_pair
    await pair.both(is_synchronous=True)
    url = await pair.url("a")
    with connect(url) as app:
        app.execute("CREATE TABLE rows (n int)")
    await pair.stop("b")

    def write() -> None:
        with connect(url) as app:
            app.execute("INSERT INTO rows VALUES (1)")

    waiting = threading.Thread(target=write)
    waiting.start()
    await pair.until("a", lambda engine, seen: "no write is acknowledged" in engine.note and seen.is_synchronous)
    assert waiting.is_alive()
    await pair.start("a", is_synchronous=False)
    await asyncio.to_thread(waiting.join, 60)
    assert not waiting.is_alive()
    await pair.until("a", lambda engine, seen: not seen.is_synchronous and "acknowledged" not in engine.note)


async def test_orders_that_come_twice_late_or_too_early(postgres_pair: Pair) -> None:
    """Each order may be repeated, by the same control plane or the next; what was overtaken, or comes from an old lease, is refused."""
    pair = postgres_pair
    await pair.both()
    fence = await pair.order(StopEngine, "a", at_once=True)
    promote = Order(Promote("postgres", "b", 1, (await pair.facts("b"))[0].generation), 1, "d1", 0.0)
    for order in (fence, fence, promote, promote):
        assert (await pair.driver.apply(order)).outcome is Outcome.DONE
    await pair.driver.close()
    pair.renew()
    assert (await pair.promote("b", number=1)).outcome is Outcome.DONE
    await pair.start("a", follow="b")
    await pair.until_follows("a", "b")
    with pytest.raises(Refused, match="takes writes"):
        await pair.start("b", follow="a")
    with pytest.raises(Refused, match="follows another"):
        await pair.start("a")
    await pair.fence("b")
    await pair.promote("a", number=2)
    await pair.start("b", follow="a")
    await pair.until_follows("b", "a")
    with pytest.raises(Refused, match="comes late"):
        await pair.promote("b", number=1)
    await pair.fence("a")
    await pair.stop("b")
    with pytest.raises(Retryable, match="does not run"):
        await pair.promote("b", number=3)
    with pytest.raises(Retryable, match="does not answer"):
        await pair.start("a", follow="b")
    pair.place.fence.check(5)
    for kind in (Promote, StopEngine, StartEngine):
        with pytest.raises(Refused, match="epoch"):
            await pair.driver.apply(await pair.order(kind, "b"))


async def test_control_plane_killed_while_the_standby_is_made(postgres_pair: Pair) -> None:
    """Cut short at many moments, the copy is begun again and nothing half-made stays; no second primary is ever made beside data."""
    pair = postgres_pair
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    with pytest.raises(Permanent, match="the database of this project is in a"):
        await pair.start("b")
    assert not (pair.home("b") / "pgdata").exists()
    for wait_s in (0.0, 0.05, 0.1, 0.2):
        starting = asyncio.create_task(pair.start("b", follow="a"))
        await asyncio.sleep(wait_s)
        starting.cancel()
        await asyncio.wait({starting})
        await pair.driver.close()
        pair.renew()
    await pair.start("b", follow="a")
    await pair.until_follows("b", "a")
    assert not list(pair.home("b").glob("making-*"))


async def test_rewind_that_was_cut_short_is_not_trusted(postgres_pair: Pair, connect: Connect) -> None:
    """Data that were being wound back when all was killed may be half of each: they are replaced by a copy, kept until that is whole."""
    pair = postgres_pair
    await pair.both()
    with connect(await pair.url("a")) as app:
        app.execute("CREATE TABLE rows (n int)")
        app.execute("INSERT INTO rows VALUES (1)")
    await pair.until_follows("b", "a")
    await pair.fence("a")
    await pair.promote("b")
    (pair.home("a") / "rewinding").write_text("")
    receipt = await pair.start("a", follow="b")
    assert "cut short" in receipt.note
    await pair.until_follows("a", "b")
    assert not (pair.home("a") / "rewinding").exists() and not (pair.home("a") / "pgdata-before").exists()
    await pair.fence("b")
    await pair.promote("a")
    (pair.home("b") / "pgdata" / "global" / "pg_control").unlink()
    receipt = await pair.start("b", follow="a")
    assert "could not be wound back" in receipt.note
    await pair.until_follows("b", "a")
    with connect(await pair.url("b")) as reader:
        assert reader.execute("SELECT n FROM rows").fetchall() == [(1,)]


async def test_standby_finds_its_way_back(postgres_pair: Pair) -> None:
    """Its data half-way through a switch, its primary at another port, or the log it needs gone: each time it follows again."""
    pair = postgres_pair
    await pair.both()
    await pair.stop("b")
    home = pair.home("b")
    (home / "pgdata").rename(home / "pgdata-before")
    receipt = await pair.start("b", follow="a")
    assert "copy" not in receipt.note and not (home / "pgdata-before").exists()
    await pair.until_follows("b", "a")
    engine, _ = await pair.facts("a")
    await pair.stop("a")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(engine.address.split(":")[1])))
        other.listen()
        await pair.start("a")
        await pair.until_follows("b", "a")
    assert (await pair.facts("a"))[0].address != engine.address
    await pair.stop("b")
    with psycopg.connect(superuser_url(pair), autocommit=True) as admin:
        admin.execute("SELECT pg_drop_replication_slot('standby_b')")
        for _ in range(20):
            admin.execute("SELECT pg_logical_emit_message(false, 'fill', 'x', true)")
            admin.execute("SELECT pg_switch_wal()")
        admin.execute("CHECKPOINT")
    receipt = await pair.start("b", follow="a")
    assert "no longer has the log" in receipt.note
    await pair.until_follows("b", "a")


def superuser_url(pair: Pair) -> str:
    """How whoever may do anything reaches `a`."""
    settings = json.loads((pair.home("a") / "settings.json").read_text())
    return f"postgresql://postgres:{settings['superuser_password']}@127.0.0.1:{settings['port']}/postgres"


async def test_full_disk_of_a_standby(postgres_pair: Pair, resize: Callable[[int], None]) -> None:
    """On a full disk no standby is made, and the reason says so; with room it is."""
    pair = postgres_pair
    resize(200)
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    filler = pair.place.shared / "filler"
    free = os.statvfs(pair.place.shared)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 36_000_000))
    with pytest.raises(Retryable, match="disk is full"):
        await pair.start("b", follow="a")
    filler.unlink()
    await pair.start("b", follow="a")
    await pair.until_follows("b", "a")
