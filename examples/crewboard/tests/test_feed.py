"""The live feed: heard on every instance, by one's own company, with nothing missed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from crewboard.sessions import COOKIE

PATIENCE_S = 60.0


@contextmanager
def listening(web: Any, member: httpx.Client, **headers: str) -> Iterator[ClientConnection]:
    """Open the feed as a browser with this session would, and yield it."""
    cookie = {"cookie": f"{COOKIE}={member.cookies[COOKIE]}"}
    url = web.url.replace("http", "ws") + "/feed"
    with connect(url, additional_headers=cookie | headers, compression=None, open_timeout=PATIENCE_S) as socket:
        yield socket


def said(socket: ClientConnection) -> dict[str, Any]:
    """Return the next message."""
    message: dict[str, Any] = json.loads(socket.recv(PATIENCE_S))
    return message


def add(member: httpx.Client, name: str) -> None:
    """Add a project, which makes news."""
    member.post("/api/projects", json={"name": name}).raise_for_status()


def names_until_caught_up(socket: ClientConnection) -> list[str]:
    """Return what the messages up to "caught_up" are about; "gap" for a gap."""
    names = []
    while (message := said(socket))["type"] != "caught_up":
        names.append(message["data"]["name"] if message["type"] == "news" else message["type"])
    return names


def test_news_reach_every_instance(web: Any, other_web: Any) -> None:
    """Ada writes at one instance; Ben, who listens at another, sees it."""
    with web.member("delta") as ada, other_web.member("delta", "ben") as ben, listening(other_web, ben) as socket:
        hello = said(socket)
        assert (hello["type"], hello["instance"], hello["company_id"]) == ("hello", "web-2", 4)
        add(ada, "Poster")
        news = said(socket)
        assert (news["type"], news["kind"], news["data"]["name"]) == ("news", "project.added", "Poster")
        assert news["n"] == hello["n"] + 1


def test_other_companies_hear_nothing(web: Any, other_web: Any) -> None:
    """Delta and Ember listen side by side: each hears its own news alone, and can't ask for the other's."""
    with web.member("delta") as delta, web.member("ember") as ember, listening(web, ember) as socket:
        said(socket)
        add(delta, "Delta's secret")
        add(ember, "Ember's own")
        assert said(socket)["data"]["name"] == "Ember's own"
        socket.send('{"since": 0, "company_id": 4}')
        assert "Delta's secret" not in names_until_caught_up(socket)


def test_who_comes_back_misses_nothing(web: Any, other_web: Any) -> None:
    """Ben loses his connection, three things happen, he comes back at another instance: he gets all three, in order."""
    with web.member("delta") as ada:
        with listening(web, ada) as socket:
            hello = said(socket)
        for name in ("One", "Two", "Three"):
            add(ada, name)
        with listening(other_web, ada) as socket:
            said(socket)
            socket.send(json.dumps({"since": hello["n"], "epoch": hello["epoch"]}))
            assert names_until_caught_up(socket) == ["One", "Two", "Three"]
            add(ada, "Four")
            assert said(socket)["data"]["name"] == "Four"


def test_who_was_away_too_long_is_told(web: Any) -> None:
    """Ada comes back after more news than are remembered, or with another epoch: she is told of the gap."""
    with web.member("fjord") as ada, listening(web, ada) as socket:
        hello = said(socket)
        for number in range(103):
            add(ada, f"Film {number}")
            said(socket)
        socket.send(json.dumps({"since": hello["n"], "epoch": hello["epoch"]}))
        names = names_until_caught_up(socket)
        assert names == ["gap", *(f"Film {number}" for number in range(3, 103))]
        socket.send(json.dumps({"since": hello["n"] + 103, "epoch": "before the flood"}))
        assert names_until_caught_up(socket)[0] == "gap"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_other_sites_get_no_socket(web: Any, origin: str) -> None:
    """Another site's page opens a socket with Ada's cookie: refused before it opens; her own page's socket opens."""
    with web.member("delta") as ada:
        with pytest.raises(InvalidStatus) as refused, listening(web, ada, origin=origin):
            pass
        assert refused.value.response.status_code == 403
        with listening(web, ada, origin=web.url) as socket:
            assert said(socket)["type"] == "hello"


def test_no_session_gets_no_socket(web: Any) -> None:
    """A visitor, a forger and one who claims another company open sockets: all are refused."""
    with web.member("delta") as ada:
        for headers, status in [({"cookie": f"{COOKIE}=forged.forged"}, 401), ({"x-company": "1"}, 403)]:
            with pytest.raises(InvalidStatus) as refused, listening(web, ada, **headers):
                pass
            assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    ("message", "code"),
    [("hello?", 1007), ('{"since": -1}', 1007), ("[" * 900, 1007), ('{"since": "x"}', 1007), ("x" * 2000, 1009)],
)
def test_nonsense_ends_the_conversation(web: Any, message: str, code: int) -> None:
    """A client sends what is no question: the socket is closed with a code that says why."""
    with web.member("delta") as ada, listening(web, ada) as socket:
        said(socket)
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            said(socket)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code


def test_shutdown_sends_clients_elsewhere(world: Any, web: Any) -> None:
    """An instance is told to stop: its sockets close with 1012, it ends well, and clients come back elsewhere."""
    leaving = world.start_web("web-leaving")
    with leaving.member("ember") as ada:
        with listening(leaving, ada) as socket:
            hello = said(socket)
            leaving.process.send(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                said(socket)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
        leaving.process.exit_status()
        assert "Traceback" not in leaving.process.log.read_text()
        with listening(web, ada) as socket:
            assert said(socket)["n"] == hello["n"]


def test_feed_survives_valkey(world: Any, web: Any, other_web: Any, patiently: Callable[..., Any]) -> None:
    """Valkey dies and comes back empty: writes go on meanwhile, and the same socket hears of the next one."""
    with web.member("iris") as ada, listening(other_web, ada) as socket:
        said(socket)
        add(ada, "Before")
        assert said(socket)["data"]["name"] == "Before"
        world.valkey.stop()
        try:
            add(ada, "Meanwhile")
            with pytest.raises(InvalidStatus) as refused, listening(web, ada):
                pass
            assert refused.value.response.status_code == 503
        finally:
            world.valkey.start()

        patiently(lambda: _opens(web, ada), "web-1 has its feed back")
        patiently(lambda: _opens(other_web, ada), "web-2 has its feed back")
        add(ada, "After")
        heard = [said(socket), said(socket)]
        assert heard[0] == {"type": "gap"}
        assert heard[1]["data"]["name"] == "After"


def _opens(web: Any, member: httpx.Client) -> bool:
    try:
        with listening(web, member) as socket:
            return bool(said(socket)["type"] == "hello")
    except InvalidStatus:
        return False
