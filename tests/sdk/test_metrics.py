"""Posting a metric never costs the app more than a moment, whoever answers where the control plane should be."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold.console.console import Console, Place
from tenfold.drivers.clock import WallClock
from tenfold.facts import MetricSeen
from tenfold.sdk import post_metric
from tenfold.wire import environment
from tests.ports import free_port


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this process an instance whose control plane listens at a port."""

    def tell(port: int) -> None:
        names = (environment.INSTANCE, environment.SERVICE, environment.REGION, environment.RELEASE)
        for name, value in zip(names, ("web-1", "web", "local", "r1"), strict=True):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(environment.URL, f"http://127.0.0.1:{port}")

    return tell


def test_a_share_arrives_past_any_proxy(
    told: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The control plane counts what was posted, also by an app that reaches others through a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def story() -> None:
        console, port = Console(tmp_path / "journal.db", "token", WallClock()), free_port()
        await console.start(Place(port))
        told(port)
        try:
            assert await asyncio.to_thread(post_metric, "concurrent_users", 12.0)
            (seen,) = await console.posted.observe()
            assert isinstance(seen, MetricSeen)
            assert (seen.key, seen.value) == ("web@local:concurrent_users", 12.0)
            with pytest.raises(ValueError, match="small letters"):
                await asyncio.to_thread(post_metric, "Concurrent Users", 12.0)
        finally:
            await console.close()

    asyncio.run(story())


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"\xff" * 70000])
def test_another_program_at_that_port_is_nobody_to_tell(told: Callable[[int], None], answer: bytes) -> None:
    """The control plane is gone and its port was given to a program that speaks no HTTP: the app goes on."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        told(server.sockets[0].getsockname()[1])
        async with server:
            assert await asyncio.to_thread(post_metric, "concurrent_users", 12.0) is False

    asyncio.run(story())


def test_nobody_at_all(told: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a control plane, or not run by Tenfold, there is nobody to tell."""
    told(free_port())
    assert post_metric("concurrent_users", 12.0) is False
    monkeypatch.delenv(environment.INSTANCE)
    assert post_metric("concurrent_users", 12.0) is False
