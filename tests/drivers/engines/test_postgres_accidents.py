"""Accidents that befall the embedded PostgreSQL: kills, crashes, full disks, damaged and foreign data. No acknowledged row is lost."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from tenfold.drivers import vitals
from tenfold.drivers.postgres import PostgresDriver
from tenfold.drivers.wheels import RunUser
from tenfold.effects import Outcome
from tenfold.facts import EngineState
from tenfold.ports import Permanent, Retryable
from tests.processes import children

Connect = Callable[[str], Any]
AS_ROOT = os.geteuid() == 0


def url(driver: PostgresDriver) -> str:
    return driver.urls("local")["DATABASE_URL"]


async def test_control_plane_killed_engine_goes_on(place: Any, connect: Connect) -> None:
    """A control plane dies by kill -9; the next one finds the same process, ready at its first look, at the same URL."""
    pilot = place.pilot("postgres", "wait")
    state, pid, database_url = pilot.stdout.readline().split()
    pilot.kill()
    pilot.communicate()
    with connect(database_url) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)
    driver = place.postgres()
    (seen,) = await driver.observe()
    assert (seen.state, seen.pid, url(driver)) == (EngineState(state), int(pid), database_url)
    assert (await place.start(driver)).outcome is Outcome.DONE
    assert (await driver.observe())[0].pid == int(pid)


async def test_control_plane_killed_while_it_makes_the_data(place: Any) -> None:
    """Killed between the steps of making a data folder, at several moments, it leaves nothing that the next start trips over."""
    for wait_s in (0.0, 0.1, 0.25):
        pilot = place.pilot("postgres", "wait")
        await place.eventually(lambda: [*place.postgres_home.glob("making-*"), *place.postgres_home.glob("pgdata")])
        await asyncio.sleep(wait_s)
        pilot.kill()
        pilot.communicate()
        if (place.postgres_home / "pgdata").exists():
            break
    driver = place.postgres()
    await place.run(driver)
    assert not list(place.postgres_home.glob("making-*"))


async def test_kill_9_during_writes_loses_no_acknowledged_row(place: Any, connect: Connect) -> None:
    """Every row whose COMMIT was answered is there after PostgreSQL was killed with -9 while four clients wrote."""
    driver = place.postgres()
    await place.run(driver)
    with connect(url(driver)) as app:
        app.execute("CREATE TABLE rows (writer int, number int, PRIMARY KEY (writer, number))")
    acknowledged = [0, 0, 0, 0]

    def write(writer: int) -> None:
        try:
            with connect(url(driver)) as app:
                while True:
                    app.execute("INSERT INTO rows VALUES (%s, %s)", (writer, acknowledged[writer] + 1))
                    acknowledged[writer] += 1
        except psycopg.OperationalError:
            return

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in writers:
        thread.start()
    await place.eventually(lambda: min(acknowledged) >= 50)
    place.signal("postgres", signal.SIGKILL)
    seen = await place.until(driver, EngineState.EXITED)
    assert seen.note.startswith("killed by signal 9")
    for thread in writers:
        thread.join(timeout=60)
    await place.run(driver)
    with connect(url(driver)) as app:
        for writer, count in enumerate(acknowledged):
            highest, rows = app.execute(
                "SELECT max(number), count(*) FROM rows WHERE writer = %s", (writer,)
            ).fetchone()
            assert rows == highest and count <= highest <= count + 1


async def test_orphans_of_a_killed_server_do_not_hinder_the_next(place: Any, connect: Connect) -> None:
    """A query that computes goes on after the server's main process was killed; the next start ends it and comes up."""
    driver = place.postgres()
    seen = await place.run(driver)

    def compute() -> None:
        with pytest.raises(psycopg.OperationalError), connect(url(driver)) as app:
            app.execute("SELECT count(*) FROM generate_series(1, 20000000000)")

    busy = threading.Thread(target=compute)
    busy.start()
    await place.eventually(lambda: any("SELECT" in line for line in children(seen.pid).values()))
    os.kill(seen.pid, signal.SIGKILL)
    await place.until(driver, EngineState.EXITED)
    await place.run(driver)
    busy.join(timeout=60)
    assert not busy.is_alive()


async def test_stale_lock_of_a_crashed_machine(place: Any) -> None:
    """After a crash of the machine the lock names a process that is something else now, or nothing at all: it starts all the same."""
    driver = place.postgres()
    await place.run(driver)
    data = place.postgres_home / "pgdata"
    user = RunUser.of(data)
    other = place.spawn(["sleep", "600"], user.uid)
    try:
        for left in (f"{other.pid}\n{data}\n1\n\n\n127.0.0.1\n0\n", ""):
            place.signal("postgres", signal.SIGKILL)
            await place.until(driver, EngineState.EXITED)
            (data / "postmaster.pid").write_text(left)
            await place.run(driver)
    finally:
        other.kill()
        other.wait()


async def test_server_that_someone_else_runs_on_the_data(place: Any) -> None:
    """A PostgreSQL started by hand on the same data is not adopted, doubled or killed: the person is told its process number."""
    driver = place.postgres()
    seen = await place.run(driver)
    argv = psutil.Process(seen.pid).cmdline()
    await place.stop(driver)
    user = RunUser.of(place.postgres_home / "pgdata")
    other = place.spawn(argv, user.uid)
    try:
        await place.eventually((place.postgres_home / "pgdata" / "postmaster.pid").exists)
        with pytest.raises(Permanent, match=f"kill -INT {other.pid}"):
            await place.start(driver)
        assert other.poll() is None
    finally:
        other.send_signal(signal.SIGINT)
        other.wait()


async def test_data_that_are_not_ours_to_run_are_left_alone(place: Any) -> None:
    """Data of another version, open to others, of another user or gone: one sentence says what to do, and not a byte changes."""
    driver = place.postgres()
    await place.run(driver)
    await place.stop(driver)
    data = place.postgres_home / "pgdata"

    async def refused(sentence: str) -> None:
        before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
        with pytest.raises(Permanent, match=sentence):
            await place.start(driver)
        assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
        (seen,) = await driver.observe()
        assert seen.state is EngineState.EXITED and sentence in seen.note

    (data / "PG_VERSION").write_text("15\n")
    await refused("made by PostgreSQL 15 and this is 18")
    (data / "PG_VERSION").write_text("18\n")
    data.chmod(0o755)
    await refused("chmod 700")
    data.chmod(0o700)
    if AS_ROOT:
        owner = RunUser.of(data)
        os.chown(data, 12345, 12345)
        await refused("chown -R")
        os.chown(data, owner.uid, owner.gid)
    await place.run(driver)
    await place.stop(driver)
    (data / "PG_VERSION").unlink()
    await refused("holds no PostgreSQL data")


async def test_lost_settings_never_mean_a_new_database(place: Any) -> None:
    """Where data lie without the file that holds their passwords, or that file is damaged, nothing is made in their place."""
    driver = place.postgres()
    await place.run(driver)
    await place.stop(driver)
    settings = place.postgres_home / "settings.json"
    kept = settings.read_bytes()
    settings.unlink()
    with pytest.raises(Permanent, match="passwords"):
        await place.start(place.postgres())
    settings.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(Permanent, match="damaged"):
        await place.start(place.postgres())
    settings.write_bytes(kept)
    await place.run(place.postgres())


async def test_frozen_server_is_unhealthy_until_it_thaws(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is told from one that ended: unhealthy while it is frozen, ready again once it goes on."""
    monkeypatch.setattr(vitals, "PING_S", 0.2)
    driver = place.postgres()
    before = await place.run(driver)
    place.signal("postgres", signal.SIGSTOP)
    seen = await place.until(driver, EngineState.UNHEALTHY)
    assert "not answered" in seen.note and seen.pid == before.pid
    place.signal("postgres", signal.SIGCONT)
    after = await place.until(driver, EngineState.READY)
    assert after.pid == before.pid and after.generation > seen.generation


async def test_full_disk(place: Any, connect: Connect, resize: Callable[[int], None]) -> None:
    """On a full disk no database is made; one that fills it while it runs says why, and goes on when there is room."""
    resize(20)
    driver = place.postgres()
    with pytest.raises(Retryable, match="disk is full"):
        await place.start(driver)
    (seen,) = await driver.observe()
    assert seen.state is EngineState.EXITED and "disk is full" in seen.note
    resize(100)
    seen = await place.run(driver)
    assert "are left on the disk" in seen.note
    acknowledged = 0
    with pytest.raises(psycopg.Error), connect(url(driver)) as app:
        app.execute("CREATE TABLE big (n int, filler text)")
        while True:
            app.execute("INSERT INTO big SELECT 1, string_agg(md5(random()::text), '') FROM generate_series(1, 20000)")
            acknowledged += 1
    resize(400)
    (seen,) = await driver.observe()
    if seen.state is EngineState.EXITED:
        assert "No space left" in seen.note
    await place.run(driver)
    with connect(url(driver)) as app:
        assert app.execute("SELECT count(*) FROM big").fetchone() == (acknowledged,)
