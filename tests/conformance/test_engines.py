"""What every world promises of engines: Envoy, PostgreSQL and Valkey, simulated and real."""

import asyncio

import pytest

from tenfold.effects import Outcome, StartEngine, StopEngine
from tenfold.effects.faults import Freeze, Kill
from tenfold.facts import EngineSeen, EngineState
from tenfold.ports import Refused

START_S = 90.0
"""The first start of a PostgreSQL on a busy machine copies its program and makes its data folder."""


def is_in(state: EngineState):
    """True for an engine that is seen in `state`."""
    return lambda seen: seen is not None and seen.state is state


async def run(stage, kind: str) -> EngineSeen:
    """Start the engine and wait until it is ready."""
    await stage.do(StartEngine(kind, "local"))
    return await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)


def test_an_engine_starts_gets_ready_and_has_an_address(play_engine) -> None:
    """After a start it is seen, and within a bound it is ready at an address that holds no password."""

    async def story(stage, kind: str) -> None:
        receipt = await stage.do(StartEngine(kind, "local"))
        assert (receipt.key, receipt.outcome) == (f"start-engine:{kind}/local#1", Outcome.DONE)
        seen = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)
        host, _, port = seen.address.partition(":")
        assert (host, port.isdigit()) == ("127.0.0.1", True)
        assert seen.pid > 0
        assert seen.version
        assert seen.generation > 0
        assert seen.since <= seen.seen_at
        assert stage.wakes > 0

    play_engine(story)


def test_a_start_that_comes_twice_starts_one(play_engine) -> None:
    """The same start at the same moment and again later leaves one process."""

    async def story(stage, kind: str) -> None:
        start = StartEngine(kind, "local")
        await asyncio.gather(stage.do(start), stage.do(start))
        seen = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)
        assert (await stage.do(start)).outcome is Outcome.DONE
        again = await stage.see(EngineSeen, f"{kind}/local")
        assert (again.pid, again.generation) == (seen.pid, seen.generation)

    play_engine(story)


def test_old_epochs_and_changed_engines_are_refused(play_engine) -> None:
    """A stop of an old control plane, or one that expects another generation, does nothing."""

    async def story(stage, kind: str) -> None:
        seen = await run(stage, kind)
        with pytest.raises(Refused):
            await stage.do(StopEngine(kind, "local", seen.generation + 3))
        with pytest.raises(Refused):
            await stage.do(StopEngine(kind, "local", seen.generation), epoch=0)
        assert (await stage.see(EngineSeen, f"{kind}/local")).state is EngineState.READY

    play_engine(story)


def test_a_stop_ends_it_and_the_next_start_brings_it_back(play_engine) -> None:
    """A stopped engine is absent, comes back, and is stopped again; a stop of an absent one is done."""

    async def story(stage, kind: str) -> None:
        assert (await stage.do(StopEngine(kind, "local"))).outcome is Outcome.DONE
        seen = await run(stage, kind)
        await stage.do(StopEngine(kind, "local", seen.generation))
        assert await stage.see(EngineSeen, f"{kind}/local") is None
        await stage.do(StartEngine(kind, "local", 2))
        again = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)
        await stage.do(StopEngine(kind, "local", again.generation))
        assert await stage.see(EngineSeen, f"{kind}/local") is None

    play_engine(story)


def test_a_killed_engine_is_seen_ended_and_starts_again_where_it_was(play_engine) -> None:
    """Within two seconds it is EXITED with its signal and the loop is woken; a start with the seen generation brings it back."""

    async def story(stage, kind: str) -> None:
        before = await run(stage, kind)
        woken = stage.wakes
        await stage.harm.inflict(Kill(f"{kind}/local"))
        gone = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.EXITED), within_s=2.0)
        assert "signal 9" in gone.note
        assert gone.pid is None
        assert stage.wakes > woken
        with pytest.raises(Refused):
            await stage.do(StartEngine(kind, "local", 2))
        await stage.do(StartEngine(kind, "local", 3, gone.generation))
        after = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)
        assert after.address == before.address
        assert after.pid != before.pid

    play_engine(story)


def test_a_frozen_engine_is_unhealthy_until_it_is_thawed(play_engine, within, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer is UNHEALTHY within a bound, looking at it does not hang, and thawed it is READY."""
    monkeypatch.setattr("tenfold.drivers.vitals.PING_S", 0.3)

    async def story(stage, kind: str) -> None:
        before = await run(stage, kind)
        await stage.harm.inflict(Freeze(f"{kind}/local", 60.0))
        await within(stage, stage.look(), 5.0)
        await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.UNHEALTHY), START_S)
        await stage.harm.undo()
        after = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)
        assert after.pid == before.pid

    play_engine(story)


def test_a_new_control_plane_adopts_a_running_engine(play_engine) -> None:
    """After a restart it is the same process at the same address, and a start for it starts nothing."""

    async def story(stage, kind: str) -> None:
        before = await run(stage, kind)
        await stage.restart()
        after = await stage.until(EngineSeen, f"{kind}/local", is_in(EngineState.READY), START_S)
        assert (after.pid, after.address) == (before.pid, before.address)
        assert (await stage.do(StartEngine(kind, "local", 2, after.generation), epoch=2)).outcome is Outcome.DONE
        assert (await stage.see(EngineSeen, f"{kind}/local")).pid == before.pid

    play_engine(story)
