"""The table of an engine's states, and how it is asked."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.drivers import vitals
from tenfold.drivers.vitals import SILENCES_MAX, Event, NotAnswering, Vitals, ask_forever
from tenfold.facts import EngineState


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_whatever_happens_the_state_is_honest(events: list[Event]) -> None:
    """An ended engine is never healthy, only an answer makes one ready, and the generation counts exactly the changes of state."""
    seen = Vitals()
    for number, event in enumerate(events):
        before, generation = seen.state, seen.generation
        changed = seen.happened(event, float(number), "why")
        assert changed == (seen.state is not before) == (seen.generation == generation + 1)
        assert not changed or seen.since == number
        if event is Event.GONE:
            assert seen.state is EngineState.EXITED and seen.note == "why"
        if event is Event.STOPPED:
            assert seen.state is None
        if changed and seen.state is EngineState.READY:
            assert event is Event.ANSWERED and seen.note == "" and seen.version == "why"
        if before in (None, EngineState.EXITED) and event in (Event.ANSWERED, Event.SILENT):
            assert not changed


def test_one_silence_is_forgiven() -> None:
    """A ready engine becomes unhealthy only after several silences in a row; an answer in between begins the count anew."""
    seen = Vitals()
    seen.happened(Event.STARTED, 0.0)
    seen.happened(Event.ANSWERED, 1.0, "PostgreSQL 18.6")
    for _ in range(5):
        for _ in range(SILENCES_MAX - 1):
            assert not seen.happened(Event.SILENT, 2.0, "late")
        seen.happened(Event.ANSWERED, 3.0, "PostgreSQL 18.6")
    assert seen.state is EngineState.READY and seen.note == ""
    changes = [seen.happened(Event.SILENT, 4.0, "late") for _ in range(SILENCES_MAX)]
    assert changes == [False] * (SILENCES_MAX - 1) + [True]
    assert (seen.state, seen.note) == (EngineState.UNHEALTHY, "late")


async def test_a_hanging_ping_is_counted_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping that hangs gives one silence after another and is not asked a second time meanwhile; when it answers at last, that counts."""
    monkeypatch.setattr(vitals, "PING_S", 0.01)
    told: list[Event] = []
    asked = 0
    thaw = asyncio.Event()

    async def ping() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise NotAnswering("no")
        await thaw.wait()
        return "1"

    def tell(event: Event, text: str) -> None:
        told.append(event)
        if len(told) == 3:
            assert asked == 1
            thaw.set()
        if len(told) >= 6:
            asking.cancel()

    asking = asyncio.create_task(ask_forever(ping, tell, lambda: 0.001))
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert told[:5] == [Event.SILENT, Event.SILENT, Event.SILENT, Event.ANSWERED, Event.SILENT]
