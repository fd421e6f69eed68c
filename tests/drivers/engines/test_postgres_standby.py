"""Two PostgreSQL in two regions: one takes writes, the other follows, takes over, and lets the first come back."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from tenfold.drivers.postgres_replica import ROLE
from tenfold.effects import Order, Outcome, Promote, StartEngine, StopEngine
from tenfold.facts import EngineState, ReplicaRole
from tenfold.ports import Permanent, Refused, Retryable

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
            thread.join(timeout=20)
            assert not thread.is_alive()

    def lost(self, connect: Connect, url: str) -> int:
        """How many acknowledged rows are not there."""
        with connect(url) as app:
            there = dict(app.execute("SELECT writer, count(*) FROM rows GROUP BY writer").fetchall())
        return sum(max(0, count - there.get(writer, 0)) for writer, count in enumerate(self.acknowledged))


async def test_standby_follows_and_says_so(postgres_pair: Pair, connect: Connect) -> None:
    """The second region gets a copy and then every write; both say who follows whom, and that nothing is outstanding when all is quiet."""
    pair = postgres_pair
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    with connect(await pair.url("a")) as app:
        app.execute("CREATE TABLE notes (n int)")
        app.execute("INSERT INTO notes VALUES (1)")
    receipt = await pair.start("b", follow="a")
    assert "it got a copy of the data of a" in receipt.note
    primary = await pair.until_follows("b", "a")
    assert (primary.timeline, primary.lag_s, primary.is_synchronous) == (1, 0.0, False)
    with connect(await pair.url("a")) as app:
        app.execute("INSERT INTO notes VALUES (2)")
    with connect(await pair.url("b")) as reader:
        while reader.execute("SELECT count(*) FROM notes").fetchone() != (2,):
            await asyncio.sleep(0.01)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("INSERT INTO notes VALUES (3)")


async def test_programs_of_every_region_have_the_same_login(postgres_pair: Pair) -> None:
    """Each region's URL is its own gateway's, with one role and one password, in regions without a store too."""
    pair = postgres_pair
    with pytest.raises(Retryable, match="not been started"):
        pair.driver.urls("c")
    await pair.both()
    urls = {region: pair.driver.urls(region)["DATABASE_URL"] for region in ("a", "b", "c")}
    assert all(f"@{region}.test:1/" in url for region, url in urls.items())
    assert len({url.replace(f"@{region}.", "@") for region, url in urls.items()}) == 1


async def test_replication_password_is_in_no_list_of_processes(postgres_pair: Pair, connect: Connect) -> None:
    """The role that follows has a password of its own, is refused with another one, and neither arguments nor settings show it."""
    pair = postgres_pair
    await pair.both()
    (line,) = (pair.home("b") / "replica.pass").read_text().splitlines()
    secret = line.rpartition(":")[2]
    engine, _ = await pair.facts("b")
    tree = [psutil.Process(engine.pid), *psutil.Process(engine.pid).children()]
    assert secret not in " ".join(" ".join(process.cmdline()) for process in tree)
    assert (pair.home("b") / "replica.pass").stat().st_mode & 0o777 == 0o600
    assert secret not in (pair.home("b") / "pgdata" / "postgresql.auto.conf").read_text()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(f"postgresql://{ROLE}:guess@{engine.address}/postgres")
    with pytest.raises(psycopg.OperationalError, match="pg_hba.conf rejects"):
        connect(f"postgresql://{ROLE}:{secret}@{engine.address}/crewboard")


async def test_synchronous_loses_no_acknowledged_row(postgres_pair: Pair, connect: Connect) -> None:
    """The primary is killed with -9 while four clients write; every row it acknowledged is on the promoted standby."""
    pair = postgres_pair
    await pair.both(is_synchronous=True)
    writers = Writers(connect, await pair.url("a"))
    await pair.place.eventually(lambda: min(writers.acknowledged) >= 50)
    pair.signal("a", signal.SIGKILL)
    writers.join()
    await pair.gone("a")
    await pair.fence("a")
    await pair.promote("b")
    seen = await pair.until("b", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    assert (seen.timeline, seen.is_synchronous) == (2, False)
    assert writers.lost(connect, await pair.url("b")) == 0
    with connect(await pair.url("b")) as app:
        app.execute("INSERT INTO rows VALUES (9, 9)")


async def test_asynchronous_loses_what_the_standby_had_not_got(postgres_pair: Pair, connect: Connect) -> None:
    """A standby that hangs while rows are acknowledged lacks them; its lag says since when, and the old primary's own rows are wound back."""
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
    for child in psutil.Process(engine.pid).children():
        if "walreceiver" in "".join(child.cmdline()):
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


async def test_frozen_primary_is_fenced_for_good(postgres_pair: Pair, connect: Connect) -> None:
    """A primary that hangs is ended without a moment of life; neither a thaw nor a start, now or by a later control plane, lets it write."""
    pair = postgres_pair
    await pair.both(is_synchronous=True)
    before, _ = await pair.facts("a")
    url = await pair.url("a")
    with connect(url) as app:
        app.execute("CREATE TABLE rows (writer int, number int)")
        pair.signal("a", signal.SIGSTOP)
        await pair.fence("a")
        await pair.promote("b")
        pair.signal("a", signal.SIGCONT)
        with pytest.raises(psycopg.Error):
            app.execute("INSERT INTO rows VALUES (1, 1)")
    assert not psutil.pid_exists(before.pid)
    with pytest.raises(Permanent, match="fenced"):
        await pair.start("a")
    await pair.driver.close()
    pair.renew()
    with pytest.raises(Permanent, match="fenced"):
        await pair.start("a")
    await pair.start("a", follow="b")
    await pair.until_follows("a", "b")
    assert not (pair.home("a") / "fenced").exists()


async def test_back_and_forth(postgres_pair: Pair, connect: Connect) -> None:
    """Three losses in a row, each time of the region that is primary: every row is there at the end, on the third new timeline."""
    pair = postgres_pair
    await pair.both()
    with connect(await pair.url("a")) as app:
        app.execute("CREATE TABLE rows (n int)")
    here, there = "a", "b"
    for number in range(3):
        with connect(await pair.url(here)) as app:
            app.execute("INSERT INTO rows VALUES (%s)", (number,))
        await pair.until_follows(there, here)
        pair.signal(here, signal.SIGKILL)
        await pair.gone(here)
        await pair.fence(here)
        await pair.promote(there)
        await pair.start(here, follow=there)
        here, there = there, here
        seen = await pair.until_follows(there, here)
        assert seen.timeline == number + 2
    with connect(await pair.url(there)) as reader:
        assert reader.execute("SELECT n FROM rows ORDER BY n").fetchall() == [(0,), (1,), (2,)]


async def test_writes_wait_for_a_synchronous_standby(postgres_pair: Pair, connect: Connect) -> None:
    """While the standby is down no write is acknowledged and status says so; an order to go on without it lets the write through."""
    pair = postgres_pair
    await pair.both(is_synchronous=True)
    url = await pair.url("a")
    with connect(url) as app:
        app.execute("CREATE TABLE rows (n int)")
    await pair.driver.apply(await pair.order(StopEngine, "b"))

    def write() -> None:
        with connect(url) as app:
            app.execute("INSERT INTO rows VALUES (1)")

    waiting = threading.Thread(target=write)
    waiting.start()
    await pair.until("a", lambda engine, seen: "no write is acknowledged" in engine.note and seen.is_synchronous)
    assert waiting.is_alive()
    await pair.start("a", is_synchronous=False)
    await asyncio.to_thread(waiting.join, 20)
    assert not waiting.is_alive()
    await pair.until("a", lambda engine, seen: not seen.is_synchronous and "acknowledged" not in engine.note)
    await pair.start("b", follow="a")
    await pair.until_follows("b", "a")


async def test_orders_that_come_twice_or_late(postgres_pair: Pair) -> None:
    """Each order may be repeated, by the same control plane or the next; a promotion that was overtaken is refused."""
    pair = postgres_pair
    await pair.both()
    fence = await pair.order(StopEngine, "a", at_once=True)
    promote = Order(Promote("postgres", "b", 1, (await pair.facts("b"))[0].generation), 1, "d1", 0.0)
    for order in (fence, fence, promote, promote):
        assert (await pair.driver.apply(order)).outcome is Outcome.DONE
    await pair.driver.close()
    pair.renew()
    again = await pair.order(Promote, "b", number=1)
    assert (await pair.driver.apply(again)).outcome is Outcome.DONE
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


async def test_no_promotion_of_what_does_not_run(postgres_pair: Pair) -> None:
    """A standby that is down can't be promoted, and a store can't follow one that takes no writes."""
    pair = postgres_pair
    with pytest.raises(Retryable, match="not been started"):
        await pair.start("b", follow="a")
    await pair.both()
    await pair.fence("a")
    await pair.driver.apply(await pair.order(StopEngine, "b"))
    with pytest.raises(Retryable, match="does not run"):
        await pair.promote("b")
    with pytest.raises(Retryable, match="does not answer"):
        await pair.start("a", follow="b")


async def test_second_primary_is_never_made_beside_data(postgres_pair: Pair) -> None:
    """Told to start as a primary where another region has the data, a store says where they are rather than begin with nothing."""
    pair = postgres_pair
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    with pytest.raises(Permanent, match="the database of this project is in a"):
        await pair.start("b")
    assert not (pair.home("b") / "pgdata").exists()


async def test_control_plane_killed_while_the_standby_is_made(postgres_pair: Pair, connect: Connect) -> None:
    """Cancelled at many moments of the copy, it is begun again; nothing half-made stays and no copying goes on unseen."""
    pair = postgres_pair
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
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


async def test_data_about_to_be_replaced_are_put_back(postgres_pair: Pair) -> None:
    """Killed between the two renames that switch a copy in, the old data are found again, and never an empty database made instead."""
    pair = postgres_pair
    await pair.both()
    await pair.driver.apply(await pair.order(StopEngine, "b"))
    home = pair.home("b")
    (home / "pgdata").rename(home / "pgdata-before")
    receipt = await pair.start("b", follow="a")
    assert "copy" not in receipt.note
    await pair.until_follows("b", "a")
    assert not (home / "pgdata-before").exists()


async def test_standby_finds_a_primary_that_moved(postgres_pair: Pair) -> None:
    """The primary's port is taken while it is down, so it comes back at another: the standby follows it there without a start."""
    pair = postgres_pair
    await pair.both()
    engine, _ = await pair.facts("a")
    await pair.driver.apply(await pair.order(StopEngine, "a"))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(engine.address.split(":")[1])))
        other.listen()
        await pair.start("a")
        await pair.until_follows("b", "a")
    assert (await pair.facts("a"))[0].address != engine.address


async def test_standby_whose_log_is_gone_gets_a_copy(postgres_pair: Pair, connect: Connect) -> None:
    """A standby that was away for longer than its primary keeps the log starts with a copy instead of waiting for ever."""
    pair = postgres_pair
    await pair.both()
    await pair.driver.apply(await pair.order(StopEngine, "b"))
    with psycopg.connect(_admin_url(pair), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        admin.execute("SELECT pg_drop_replication_slot('standby_b')")
        for _ in range(20):
            admin.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 100000), true)")
            admin.execute("SELECT pg_switch_wal()")
        admin.execute("CHECKPOINT")
    engine, _ = await pair.facts("a")
    receipt = await pair.start("b", follow="a")
    assert "no longer has the log" in receipt.note
    await pair.until_follows("b", "a")


def _admin_url(pair: Pair) -> str:
    """How the superuser reaches `a`."""
    home = pair.home("a")
    settings = __import__("json").loads((home / "settings.json").read_text())
    return f"postgresql://postgres:{settings['superuser_password']}@127.0.0.1:{settings['port']}/postgres"


async def test_full_disk_of_a_standby(postgres_pair: Pair, resize: Callable[[int], None]) -> None:
    """On a full disk no standby is made, and the reason says so; with room it is. The primary never minds."""
    pair = postgres_pair
    resize(150)
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    filler = pair.place.shared / "filler"
    free = os.statvfs(pair.place.shared)
    filler.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - 12_000_000))
    with pytest.raises(Retryable, match="disk is full"):
        await pair.start("b", follow="a")
    filler.unlink()
    await pair.start("b", follow="a")
    await pair.until_follows("b", "a")


async def test_a_start_from_an_old_lease_is_refused(postgres_pair: Pair) -> None:
    """Orders of a control plane that lost its lease, a promotion among them, are refused."""
    pair = postgres_pair
    await pair.both()
    pair.place.fence.check(5)
    for kind in (Promote, StopEngine, StartEngine):
        with pytest.raises(Refused, match="epoch"):
            await pair.driver.apply(await pair.order(kind, "b"))
