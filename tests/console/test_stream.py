"""What goes out live: the whole once, then what changed, to all who look on, whoever is slow."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tenfold.console import live, stream
from tenfold.console.console import Console
from tenfold.console.stream import Client, changed, event, joined, parts_of
from tenfold.drivers.clock import WallClock
from tests.console.conftest import Here, Maker

PATIENCE_S = 60.0


@asynccontextmanager
async def looking(here: Here) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """Look on: events as they come, by name and data."""
    async with here.session.get(here.url + "/api/events") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"

        async def events() -> AsyncIterator[tuple[str, Any]]:
            name = ""
            async for raw in answer.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])

        yield events()


async def next_of(events: AsyncIterator[tuple[str, Any]]) -> tuple[str, Any]:
    """The next event; one that never comes is a failure."""
    return await asyncio.wait_for(anext(events), PATIENCE_S)


async def test_first_the_whole_then_what_changed(spread: Here) -> None:
    """The changes put onto the first event give what the state is now, key by key."""
    async with looking(spread) as events:
        name, state = await next_of(events)
        assert name == "state"
        assert state["instances"]
        for _ in range(5):
            spread.step()
            name, news = await next_of(events)
            assert name == "state"
            assert news["seq"] > state["seq"]
            assert "project" not in news
            state |= news
        _, now = await spread.ask("/api/state")
        assert state == now


async def test_before_the_first_look_just_that_is_told(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes before the first tick hears that nothing was seen yet, and gets the whole state with the first tick."""
    look = here.console._stream._look

    async def unseen() -> Any:
        return None

    monkeypatch.setattr(here.console._stream, "_look", unseen)
    async with looking(here) as events:
        assert await next_of(events) == ("nothing", {})
        monkeypatch.setattr(here.console._stream, "_look", look)
        here.step()
        name, state = await next_of(events)
        assert name == "state"
        assert state["instances"]


async def test_all_who_look_on_get_the_same_bytes(here: Here) -> None:
    """A state is made once a tick, however many look on."""
    made = 0
    look = here.console._stream._look

    async def counted() -> Any:
        nonlocal made
        made += 1
        return await look()

    here.console._stream._look = counted
    async with looking(here) as one, looking(here) as two, looking(here) as three:
        first = [await next_of(events) for events in (one, two, three)]
        made = 0
        here.step()
        second = [await next_of(events) for events in (one, two, three)]
        assert first[0] == first[1] == first[2]
        assert second[0] == second[1] == second[2]
        assert made <= 2


def test_a_tick_that_changes_nothing_is_no_event() -> None:
    """Its number and its time alone are not worth a line."""
    before = {"seq": b"1", "at": b"1.0", "health": b"{}"}
    assert changed(before, before | {"seq": b"2", "at": b"2.0"}) == {}
    news = changed(before, before | {"seq": b"2", "health": b'{"is_well":false}'})
    assert news == {"seq": b"2", "at": b"1.0", "health": b'{"is_well":false}'}
    assert json.loads(joined(news)) == {"seq": 2, "at": 1.0, "health": {"is_well": False}}
    assert event("state", b"{}") == b"event: state\ndata: {}\n\n"


async def test_no_text_of_a_state_can_break_an_event(here: Here) -> None:
    """A line break in a note stays within its JSON string."""
    state = await here.console._look()
    assert state is not None
    bad = [replace_note(i) for i in state.instances]
    lines = joined(parts_of(type(state)(**{**_fields(state), "instances": bad})))
    assert b"\n" not in lines
    assert json.loads(lines)["instances"][0]["note"] == "a\n\nevent: gone\ndata: {}\r"


def replace_note(instance: Any) -> Any:
    """The instance with a note that tries to be an event."""
    return type(instance)(**{**_fields(instance), "note": "a\n\nevent: gone\ndata: {}\r"})


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


async def test_the_end_is_told(make: Maker) -> None:
    """When the control plane ends, pages hear of it and do not wait."""
    here = await make()
    async with looking(here) as events:
        await next_of(events)
        closing = asyncio.ensure_future(here.console.close())
        assert await next_of(events) == ("gone", {})
        await closing


async def test_it_ends_also_at_the_very_moment_of_a_tick(make: Maker) -> None:
    """A tick that is told together with the end holds up nothing."""
    here = await make()
    for _ in range(20):
        ended = stream.Stream(here.console._look)
        ended.start()
        await asyncio.sleep(0)
        ended.wake()
        async with asyncio.timeout(PATIENCE_S):
            await ended.close()


async def test_a_page_that_comes_back_gets_the_whole(make: Maker) -> None:
    """After a restart the console is where it was, and its first event holds everything."""
    here = await make()
    await here.console.close()
    here.console = Console(here.journal.path, "another token", WallClock())
    make.closing.append(here.console.close)
    await here.console.start(here.place)
    here.step()
    async with looking(here) as events:
        _, state = await next_of(events)
        assert state["live"]
        assert state["decisions"], "what was decided before the restart is in the journal"
        assert all(i["started_by"] for i in state["instances"])


async def test_silence_is_broken_now_and_then(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens a comment tells that the connection lives."""
    monkeypatch.setattr("tenfold.console.api.BEAT_S", 0.05)
    async with here.session.get(here.url + "/api/events") as answer:
        async for raw in answer.content:
            if raw.startswith(b":"):
                break


async def test_a_loop_that_stops_is_told_without_a_tick(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decided any more: who looks on hears of it, and why, and health says so."""
    here.console.ask_why_held(lambda: "the disk is full")
    async with looking(here) as events:
        await next_of(events)
        monkeypatch.setattr(live, "STALE_S", 0.0)
        _, news = await next_of(events)
        assert news["health"]["sentence"] == "not well: nothing is decided any more: the disk is full"
        status, alive = await here.ask("/api/health")
        assert (status, alive["ok"]) == (503, False)


async def test_one_that_takes_nothing_is_let_go() -> None:
    """So many events wait for a client, and no more."""
    cut: list[bool] = []
    client = Client(lambda: cut.append(True))
    taken = [client.offer(b"x") for _ in range(stream.BEHIND_MAX + 2)]
    assert taken == [True] * stream.BEHIND_MAX + [False] * 2
    assert cut


async def test_five_hundred_that_read_nothing_hold_up_nobody(spread: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are let go once their events pile up; whoever reads misses nothing, and no memory is held for the others."""
    monkeypatch.setattr(stream, "SPACING_S", 0.0)
    monkeypatch.setattr("tenfold.console.api.SENT_BYTES_MAX", 4096)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    idle = []
    try:
        for _ in range(500):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            plain.connect(("127.0.0.1", spread.place.port))
            plain.sendall(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            idle.append(plain)
            await asyncio.sleep(0)
        async with looking(spread) as events:
            _, state = await next_of(events)
            for _ in range(60):
                spread.step()
                state |= (await next_of(events))[1]
                if spread.console._stream.clients == 1:
                    break
            assert spread.console._stream.clients == 1
            _, now = await spread.ask("/api/state")
            assert state["seq"] == now["seq"]
    finally:
        for plain in idle:
            plain.close()


async def test_a_journal_that_cannot_be_read_leaves_the_present(here: Here) -> None:
    """Damaged while the loop runs: the past can't be shown, and says why; what the loop tells is shown as before."""
    assert (await here.ask("/api/state"))[0] == 200
    here.step()
    for name in ("journal.db-wal", "journal.db-shm"):
        here.journal.path.with_name(name).unlink()
    here.journal.path.write_bytes(b"this is no journal" * 1000)
    status, trouble = await here.ask("/api/span")
    assert status == 503
    assert "journal" in trouble["error"]
    assert (await here.ask("/api/state"))[0] == 200
    assert (await here.ask("/api/health"))[0] == 200
    assert (await here.act("rollback", {}))[0] == 503


async def test_more_questions_than_hands_are_turned_away(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that asks for the past gets answers or a sentence, and the present is not held up."""
    monkeypatch.setattr("tenfold.console.archive.WAITING_MAX", 3)
    _, covered = await here.ask("/api/span")
    asks = [here.ask(f"/api/state?at={covered['first_at'] + n}") for n in range(30)]
    found = await asyncio.gather(*asks)
    assert {status for status, _ in found} == {200, 503}
    assert all("ask again" in body["error"] for status, body in found if status == 503)
