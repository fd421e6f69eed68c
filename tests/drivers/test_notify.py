"""Notifications reach people by webhook and by command, whatever these do, and tell no secret to anyone else."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from tenfold.drivers import notify
from tenfold.drivers.fence import Fence
from tenfold.drivers.notify import Notifier
from tenfold.drivers.project import Project
from tenfold.effects import Notify, Order, Outcome, StopInstance
from tenfold.ports import DriverError, Permanent, Refused, Retryable, Unknown

SECRET = "s3cr3t-hunter2"


class Pager:
    """A web server that keeps what it got, and answers as `answer` says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, object]]] = []
        self.keys: list[str] = []
        self.answer: Callable[[], Awaitable[web.StreamResponse]] = self.well
        self.url = ""

    async def well(self) -> web.StreamResponse:
        return web.Response(text="thanks")

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request.path, await request.json()))
        self.keys.append(request.headers["idempotency-key"])
        return await self.answer()

    def says(self, status: int, **headers: str) -> None:
        async def answer() -> web.StreamResponse:
            return web.Response(status=status, headers=headers)

        self.answer = answer


def living() -> set[int]:
    """The processes that live: not those that only wait to be buried."""
    return {p.pid for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE}


@pytest.fixture
async def pager() -> AsyncIterator[Pager]:
    """A server on loopback."""
    made, app = Pager(), web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def notifier(tmp_path: Path, pager: Pager, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Notifier]:
    """The notifier of a project that keeps the pager's address as a secret."""
    monkeypatch.setenv("NO_PROXY", "*")
    secrets = {"PAGER_URL": f"{pager.url}/{SECRET}", "TOKEN": SECRET, "NOWHERE": f"http://127.0.0.1:1/{SECRET}"}
    project = Project(tmp_path, "shop")
    made = Notifier(project, "shop", "production", Fence(project.run / "fence"), secrets.get)
    yield made
    await made.close()


def order(epoch: int = 1, **changes: object) -> Order:
    """An alert that fires, for one rung."""
    told = {
        "alert": "store/postgres",
        "severity": "critical",
        "state": "firing",
        "since": 5.0,
        "text": "it is gone",
        "rung": 0,
    }
    return Order(Notify(**{**told, "answered_by": ("d7",), **changes}), epoch, "d9", time.time())  # type: ignore[arg-type]


async def test_a_webhook_gets_the_alert(notifier: Notifier, pager: Pager) -> None:
    """It gets JSON with all that a person or a program needs, at the address that the secret holds, once."""
    sent = order(webhook="${PAGER_URL}/on-call")
    receipt = await notifier.apply(sent)
    assert receipt.outcome is Outcome.DONE
    [(path, body)] = pager.got
    assert path == f"/{SECRET}/on-call"
    assert body["text"] == "shop (production): critical, firing: it is gone"
    assert (body["alert"], body["answered_by"], body["key"]) == ("store/postgres", ["d7"], sent.key)
    assert pager.keys == [sent.key]
    assert (await notifier.apply(sent)).outcome is Outcome.DONE
    assert len(pager.got) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, Retryable), (503, Retryable), (429, Retryable), (404, Permanent), (401, Permanent), (302, Permanent)],
)
async def test_a_webhook_that_refuses(notifier: Notifier, pager: Pager, status: int, error: type[DriverError]) -> None:
    """What may be better later is tried again, what can't be is not, a redirect is not followed, and no note tells the address."""
    pager.says(status, location=f"{pager.url}/elsewhere")
    with pytest.raises(error) as caught:
        await notifier.apply(order(webhook="${PAGER_URL}"))
    assert str(status) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(pager.got) == 1


async def test_a_webhook_that_is_slow(notifier: Notifier, pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer in time may have got it: that is unknown, and sent again under the same key."""
    monkeypatch.setattr(notify, "ANSWER_S", 0.2)
    hang = asyncio.Event()

    async def answer() -> web.StreamResponse:
        await hang.wait()
        return web.Response()

    pager.answer = answer
    with pytest.raises(Unknown, match="no answer within"):
        await notifier.apply(order(webhook="${PAGER_URL}"))
    hang.set()
    monkeypatch.setattr(notify, "ANSWER_S", 60.0)
    pager.answer = pager.well
    await notifier.apply(order(webhook="${PAGER_URL}"))
    assert len(pager.keys) == 2 and len(set(pager.keys)) == 1


@pytest.mark.parametrize(
    ("webhook", "error"),
    [("${NOWHERE}", Retryable), ("${MISSING}", Permanent), ("${TOKEN}", Permanent), ("http://:99999999/x", Permanent)],
)
async def test_a_webhook_that_is_not_there(notifier: Notifier, webhook: str, error: type[DriverError]) -> None:
    """An address that nobody listens at is tried again; one that is not set, or is none, is not."""
    with pytest.raises(error) as caught:
        await notifier.apply(order(webhook=webhook))
    assert SECRET not in str(caught.value)


async def test_a_command_gets_the_alert(notifier: Notifier, tmp_path: Path) -> None:
    """It gets the JSON on its standard input and the secrets it names in its environment, and what it prints is kept."""
    command = f'test "$TOKEN" = {SECRET} && cat > told.json && echo told && env | grep -c TENFOLD_ || true'
    assert (await notifier.apply(order(command=command))).outcome is Outcome.DONE
    assert json.loads((tmp_path / "told.json").read_text())["state"] == "firing"
    assert (tmp_path / ".tenfold/logs/alerts.log").read_text() == "told\n0\n"


async def test_a_command_that_hangs(notifier: Notifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed with all that it started, and nothing waits for it any longer."""
    # Long enough for a busy machine to have begun both.
    monkeypatch.setattr(notify, "COMMAND_S", 3.0)
    with pytest.raises(Retryable, match="was killed"):
        await notifier.apply(order(command="sleep 300 & echo $! > pid; sleep 300"))
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(60):
        while True:
            if pid not in living():
                break
            await asyncio.sleep(0.01)


async def test_a_command_that_fails(notifier: Notifier) -> None:
    """One that ends badly, or reads nothing, is told as what it is."""
    with pytest.raises(Retryable, match="ended with 3"):
        await notifier.apply(order(command="exit 3"))
    assert (await notifier.apply(order(command="true"))).outcome is Outcome.DONE


async def test_one_of_two_ways_fails(notifier: Notifier, pager: Pager, tmp_path: Path) -> None:
    """When the webhook fails and the command does not, only the webhook is tried again."""
    pager.says(500)
    sent = order(webhook="${PAGER_URL}", command="echo x >> ran")
    with pytest.raises(Retryable):
        await notifier.apply(sent)
    pager.answer = pager.well
    await notifier.apply(sent)
    assert (tmp_path / "ran").read_text() == "x\n"
    assert len(pager.got) == 2


async def test_an_old_epoch_is_refused(notifier: Notifier, pager: Pager) -> None:
    """Who lost the lease wakes nobody; only notifications are accepted."""
    await notifier.apply(order(2, webhook="${PAGER_URL}"))
    with pytest.raises(Refused):
        await notifier.apply(order(1, webhook="${PAGER_URL}", alert="other"))
    assert len(pager.got) == 1
    assert not notifier.accepts(StopInstance("web-1", 1.0))
