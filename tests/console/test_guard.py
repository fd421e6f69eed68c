"""Attacks on the console: other origins, other names, wrong tokens, bodies without end, paths that lead out."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from tenfold.console.guard import Guard, TokenError, host_of, is_loopback, make_token, read_token
from tenfold.facts import RollbackRequest
from tenfold.loop import JournalReader
from tests.console.conftest import BEARER, TOKEN, Here, Maker

DRAIN = "/api/actions/drain"
BODY = {"subject": "web-1"}


async def requests(here: Here) -> int:
    """How many requests of people lie in the journal."""
    with JournalReader(here.journal.path) as reader:
        return len(reader.requests())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer schön"}, 401),
        ({"cookie": f"tenfold_console={Guard(TOKEN).cookie}"}, 401),
        ({**BEARER, "origin": "http://evil.example"}, 403),
        ({**BEARER, "origin": "null"}, 403),
        ({**BEARER, "origin": "http://127.0.0.1:1"}, 403),
        ({**BEARER, "sec-fetch-site": "cross-site"}, 403),
        ({**BEARER, "sec-fetch-site": "same-site"}, 403),
        ({**BEARER, "host": "evil.example"}, 403),
        ({**BEARER, "host": ""}, 403),
        ({**BEARER, "content-type": "text/plain"}, 415),
        ({**BEARER, "content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_an_action_needs_the_token_and_its_own_page(here: Here, headers: dict[str, str], status: int) -> None:
    """Without the token, from another origin, by another name or as a form nothing is done, and a sentence says why."""
    before = await requests(here)
    sent = {"content-type": "application/json", **headers}
    found, trouble = await here.send("POST", DRAIN, data=json.dumps(BODY), headers=sent)
    assert found == status
    assert trouble["error"]
    assert await requests(here) == before


async def test_its_own_page_may_act(here: Here) -> None:
    """A browser that shows the console's page sends its origin, and that is the console's."""
    headers = {"origin": here.url, "sec-fetch-site": "same-origin"}
    status, _ = await here.act("rollback", {}, headers=headers)
    assert status == 202
    with JournalReader(here.journal.path) as reader:
        request = reader.requests()[-1].request
    assert isinstance(request, RollbackRequest)
    assert request.by == "console, from 127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "[::2]:80", "localhost.evil"]
)
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/events", "/api/metrics", "/openapi.json"])
async def test_a_name_that_was_bent_to_loopback_reads_nothing(make: Maker, host: str, path: str) -> None:
    """DNS rebinding: a page of evil.example, which its own name server made lead here, is refused everything."""
    here = await make(seconds=1.0)
    status, trouble = await here.ask(path, headers={"host": host})
    assert status == 403
    assert "is not called that" in trouble["error"]


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8081", "LOCALHOST", "127.0.0.53:80"])
async def test_loopbacks_own_names_are_fine(here: Here, host: str) -> None:
    """Whatever loopback is called on this machine."""
    assert (await here.ask("/api/span", headers={"host": host}))[0] == 200


async def test_a_page_of_another_site_reads_nothing(here: Here) -> None:
    """Its browser tells where the question comes from, and answers are for this origin alone."""
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (await here.ask("/api/state", headers=headers))[0] == 403
    async with here.session.get(here.url + "/api/state") as answer:
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


async def test_every_answer_says_what_a_browser_may_do(here: Here) -> None:
    """No script from elsewhere, no frame around it, no guessing of types: for pages, data and refusals alike."""
    for path in ("/", "/page/app.js", "/api/state", "/api/nothing", "/nothing", "/page/nothing"):
        async with here.session.get(here.url + path) as answer:
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "aiohttp" not in answer.headers["server"]


async def test_bound_to_another_address_it_shows_nothing_without_the_token(make: Maker) -> None:
    """Neither state nor past nor metrics, though the page itself holds no secret; a sign-in lets a browser read, and not act."""
    here = await make(host="0.0.0.0")
    for path in ("/api/state", "/api/events", "/api/history", "/api/span", "/api/decisions", "/api/metrics"):
        assert (await here.ask(path))[0] == 401, path
    assert (await here.ask("/"))[0] == 200
    assert (await here.ask("/api/health"))[0] == 200
    assert (await here.ask("/api/state", headers=BEARER))[0] == 200
    assert (await here.send("POST", "/api/login", json={"token": "no"}))[0] == 401
    async with here.session.post(here.url + "/api/login", json={"token": TOKEN}) as answer:
        assert answer.status == 204
        cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert (await here.ask("/api/state"))[0] == 200
    assert (await here.send("POST", DRAIN, json=BODY))[0] == 401


async def test_apps_of_this_machine_need_no_token_to_post(make: Maker) -> None:
    """The console may be open to others; what runs here posts its metrics as before."""
    here = await make(host="0.0.0.0")
    post = {"service": "web", "region": "local", "instance": "web-1", "name": "users", "value": 1}
    assert (await here.send("POST", "/api/metrics", json=post))[0] == 204


async def test_a_proxys_name_is_answered_when_it_was_named(make: Maker) -> None:
    """A name of the blueprint's is the console's own; the page behind it may act."""
    here = await make(host="0.0.0.0", names=("console.example",))
    headers = {**BEARER, "host": "console.example"}
    assert (await here.ask("/api/state", headers=headers))[0] == 200
    assert (await here.act("purge", {"paths": []}, headers={**headers, "origin": "https://console.example"}))[0] == 409
    assert (await here.ask("/api/state", headers={**BEARER, "host": "other.example"}))[0] == 403


async def test_a_body_without_end_is_refused(here: Here) -> None:
    """No more is read than anybody needs to say, with the token and without."""
    big = {"subject": "x" * 100_000}
    status, trouble = await here.act("drain", big)
    assert (status, trouble["error"]) == (413, "the body is larger than 16384 bytes")
    assert (await here.send("POST", "/api/login", json={"token": "x" * 100_000}))[0] == 413
    assert (await here.send("POST", "/api/metrics", json=big))[0] == 413


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/..%2fserver.py",
        "/page/%2e%2e/server.py",
        "/page/vendor/../../server.py",
        "/page/%2fetc/passwd",
        "/page//etc/passwd",
        "/page/.hidden",
        "/page/app.js%00.css",
        "/page/" + "a/" * 50 + "b",
        "/page/",
        "/page/vendor",
    ],
)
async def test_no_path_leads_out_of_the_page(here: Here, path: str) -> None:
    """Sent as it is, byte for byte: only files of the page are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.place.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.split(b" ")[1] in (b"404", b"400"), answer[:200]
    assert b"root:" not in answer


async def test_a_file_of_the_page_is_kept_by_its_tag(here: Here) -> None:
    """Compressed, and not sent again to who has it."""
    async with here.session.get(here.url + "/page/app.js") as answer:
        assert answer.headers["content-encoding"] == "gzip"
        tag = answer.headers["etag"]
    async with here.session.get(here.url + "/page/app.js", headers={"if-none-match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


def test_the_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 600, long, the same ever after; one that others can read, or that is none, is not taken."""
    path = tmp_path / "run" / "token"
    assert read_token(path) is None
    token = make_token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 40
    assert make_token(path) == token
    assert [p.name for p in path.parent.iterdir()] == ["token"]
    path.chmod(0o644)
    with pytest.raises(TokenError, match="others may read"):
        make_token(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(TokenError, match="too short"):
        make_token(path)


@pytest.mark.parametrize(
    ("header", "name"),
    [("a.b:80", "a.b"), ("A.B", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("::1", "::1"), ("", ""), (":80", "")],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    """With a port and without, in brackets and without."""
    assert host_of(header) == name


def test_what_is_loopback() -> None:
    """Its names and all of 127/8; nothing that only looks like it."""
    assert all(is_loopback(name) for name in ("localhost", "127.0.0.1", "127.8.9.1", "::1"))
    assert not any(
        is_loopback(name) for name in ("", "127.0.0.1.nip.io", "0.0.0.0", "10.0.0.1", "localhost.evil", "2130706433")
    )


async def test_a_request_line_from_before_http_is_refused(here: Here) -> None:
    """No Host header at all is no name of the console's."""
    with socket.create_connection(("127.0.0.1", here.place.port), timeout=5) as plain:
        plain.sendall(b"GET /api/state HTTP/1.0\r\n\r\n")
        answer = await asyncio.to_thread(plain.recv, 4096)
    assert b" 403 " in answer.split(b"\r\n")[0]
