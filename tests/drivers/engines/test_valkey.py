"""The embedded Valkey, run for real: what it gives the app, and what it keeps through accidents."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, OutOfMemoryError

from tenfold.drivers import vitals
from tenfold.drivers.valkey import MEMORY_BYTES_MAX, ValkeyDriver
from tenfold.effects import Outcome
from tenfold.facts import EngineState
from tenfold.ports import Permanent, Retryable


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis]:
    """What an app would use."""
    made = Redis.from_url(url, protocol=2, socket_timeout=5, decode_responses=True)
    try:
        yield made
    finally:
        await made.aclose()


def url(driver: ValkeyDriver) -> str:
    return driver.urls("local")["VALKEY_URL"]


async def test_first_start_gives_the_app_a_store_that_keeps(place: Any) -> None:
    """It listens on loopback with a password that no list of processes shows, keeps what it is told, and refuses rather than evicts."""
    driver = place.valkey()
    with pytest.raises(Retryable, match="not been started"):
        driver.urls("local")
    receipt = await place.start(driver)
    seen = await place.until(driver, EngineState.READY)
    assert receipt.outcome is Outcome.DONE
    assert seen.key == "valkey/local" and seen.version.startswith("Valkey 9.")
    parts = urlsplit(url(driver))
    assert f"127.0.0.1:{parts.port}" == seen.address
    process = psutil.Process(seen.pid)
    assert {found.laddr.ip for found in process.net_connections() if found.status == psutil.CONN_LISTEN} == {
        "127.0.0.1"
    }
    assert parts.password and parts.password not in " ".join(process.cmdline()) + repr(seen) + repr(receipt)
    folder = place.project.data / "valkey-local"
    assert {(folder / name).stat().st_mode & 0o777 for name in ("valkey.conf", "settings.json")} == {0o600}
    async with client(url(driver)) as app:
        configured = {
            **await app.config_get("append*"),
            **await app.config_get("maxmemory*"),
            **await app.config_get("save"),
        }
        assert (configured["appendonly"], configured["appendfsync"], configured["save"]) == ("yes", "everysec", "")
        assert (configured["maxmemory"], configured["maxmemory-policy"]) == (str(MEMORY_BYTES_MAX), "noeviction")
        await app.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            await app.set("session", "value")
    async with client(f"redis://:guess@{seen.address}/0") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()
    async with client(f"redis://{seen.address}/0") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.get("session")


async def test_stop_and_start_keep_everything(place: Any) -> None:
    """A clean stop loses nothing, not even what was written a moment before; the URL stays the same."""
    driver = place.valkey()
    await place.run(driver)
    before = url(driver)
    async with client(before) as app:
        await app.set("session", "value")
    await place.stop(driver)
    assert await driver.observe() == ()
    await place.run(driver)
    assert url(driver) == before
    async with client(before) as app:
        assert await app.get("session") == "value"


async def test_kill_9_keeps_every_acknowledged_write(place: Any) -> None:
    """Killed with -9 while it is written to, it comes back with every write that it acknowledged: the system still has them."""
    driver = place.valkey()
    await place.run(driver)
    acknowledged = 0
    async with client(url(driver)) as app:
        while acknowledged < 500:
            acknowledged = await app.incr("counter")
        place.signal("valkey", signal.SIGKILL)
    seen = await place.until(driver, EngineState.EXITED)
    assert seen.note.startswith("killed by signal 9")
    await place.run(driver)
    async with client(url(driver)) as app:
        assert int(await app.get("counter")) == acknowledged


async def test_torn_log_is_loaded_up_to_the_tear(place: Any) -> None:
    """A machine that crashed in the middle of a write leaves half a command at the log's end; what came before is served."""
    driver = place.valkey()
    await place.run(driver)
    async with client(url(driver)) as app:
        await app.set("session", "value")
    await place.stop(driver)
    (log,) = (place.project.data / "valkey-local" / "data" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhal")
    await place.run(driver)
    async with client(url(driver)) as app:
        assert await app.get("session") == "value" and await app.get("a") is None


async def test_damaged_log_is_said_in_its_own_words(place: Any) -> None:
    """A log damaged in its middle is not thrown away: it does not start, and the reason is Valkey's own."""
    driver = place.valkey()
    await place.run(driver)
    async with client(url(driver)) as app:
        for number in range(100):
            await app.set(f"key{number}", "value" * 20)
    await place.stop(driver)
    (log,) = (place.project.data / "valkey-local" / "data" / "appendonlydir").glob("*.incr.aof")
    damaged = bytearray(log.read_bytes())
    damaged[2000:2100] = b"x" * 100
    log.write_bytes(damaged)
    await place.start(driver)
    seen = await place.until(driver, EngineState.EXITED)
    assert "exit code 1" in seen.note and "Bad file format" in seen.note
    assert log.read_bytes() == damaged


async def test_control_plane_killed_engine_goes_on(place: Any) -> None:
    """A control plane dies by kill -9; the next one finds the same process, ready at its first look, at the same URL."""
    pilot = place.pilot("valkey", "wait")
    _, pid, valkey_url = pilot.stdout.readline().split()
    pilot.kill()
    pilot.communicate()
    driver = place.valkey()
    (seen,) = await driver.observe()
    assert (seen.state, seen.pid, url(driver)) == (EngineState.READY, int(pid), valkey_url)
    await place.stop(driver)
    await place.eventually(lambda: not psutil.pid_exists(int(pid)))


async def test_settings_that_are_put_back_are_enough_to_be_seen_again(place: Any) -> None:
    """A new control plane says that they are gone, and needs no restart once they are there again."""
    driver = place.valkey()
    before = await place.run(driver)
    await driver.close()
    settings = place.project.data / "valkey-local" / "settings.json"
    kept = settings.rename(settings.with_suffix(".kept"))
    driver = place.valkey()
    for _ in range(3):
        with pytest.raises(Retryable, match="not been started"):
            await driver.observe()
    kept.rename(settings)

    # The first look may still tell what ended the asking before.
    with suppress(Retryable):
        await driver.observe()
    assert (await place.until(driver, EngineState.READY)).pid == before.pid


async def test_taken_port_is_stepped_over_and_said(place: Any) -> None:
    """Another program listens on the remembered port; Valkey takes the next free one and says so."""
    driver = place.valkey()
    before = await place.run(driver)
    await place.stop(driver)
    port = int(before.address.split(":")[1])
    with socket.create_server(("127.0.0.1", port)):
        receipt = await place.start(driver)
        after = await place.until(driver, EngineState.READY)
        assert after.address != before.address and f"port {port} is taken" in receipt.note + after.note


async def test_frozen_is_unhealthy_until_it_thaws(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is told from one that ended: unhealthy while it is frozen, ready again once it goes on."""
    monkeypatch.setattr(vitals, "PING_S", 0.2)
    driver = place.valkey()
    before = await place.run(driver)
    place.signal("valkey", signal.SIGSTOP)
    assert (await place.until(driver, EngineState.UNHEALTHY)).pid == before.pid
    place.signal("valkey", signal.SIGCONT)
    assert (await place.until(driver, EngineState.READY)).pid == before.pid


async def test_started_twice_at_once(place: Any) -> None:
    """Two control planes that start it in the same moment end up with one server."""
    first, second = place.valkey(), place.valkey()
    await asyncio.gather(first.observe(), second.observe())
    await asyncio.gather(place.start(first), place.start(second))
    seen = await asyncio.gather(place.until(first, EngineState.READY), place.until(second, EngineState.READY))
    assert seen[0].pid == seen[1].pid


@pytest.mark.parametrize("content", [b"", b"{}", b'{"port": "x"}', b"\xff\x00"])
async def test_damaged_settings(place: Any, content: bytes) -> None:
    """A damaged settings file is said, and left as it is: it holds the password of running apps."""
    driver = place.valkey()
    await place.run(driver)
    await place.stop(driver)
    settings = place.project.data / "valkey-local" / "settings.json"
    settings.write_bytes(content)
    with pytest.raises(Permanent, match="damaged"):
        await place.start(place.valkey())
    assert settings.read_bytes() == content
