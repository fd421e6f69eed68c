"""The loop over a world of functions, on virtual time: what it does when all is well, and when something hangs, fails, jumps or is lost."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tenfold.effects import Effect, Order, StopInstance
from tenfold.facts import DownRequest, Fact, Snapshot
from tenfold.loop import Desk, End, JournalReader, Loop
from tenfold.loop.orders import ORDER_S_MAX
from tenfold.loop.watch import OBSERVE_S_MAX
from tenfold.ports import Permanent, Refused, Retryable, Unknown
from tenfold.sim import run_virtual

Rig = Any


async def run_for(rig: Rig, loop: Loop, seconds: float) -> None:
    """Run `loop` for so many virtual seconds, then stop it."""
    task = asyncio.ensure_future(loop.run())
    await rig.clock.sleep(seconds)
    loop.stop()
    await task


def test_ticks_each_second_and_acts(rig: Rig) -> None:
    """Ten seconds are eleven ticks; an order is sent after its tick was written, and its receipt is shown in exactly one later tick."""
    written: list[bool] = []

    async def do(order: Order) -> None:
        with JournalReader(rig.path) as reader:
            written.append(reader.find_decision(order.decision) is not None)

    async def see() -> tuple[Fact, ...]:
        return (rig.instance(at=rig.clock.now()),)

    rig.hand.do, rig.brain.wants = do, [rig.start("web-2")]
    rig.watch(see)

    async def main() -> None:
        loop = rig.loop()
        await run_for(rig, loop, 10.0)
        assert loop.end is End.STOPPED

    run_virtual(main(), rig.clock)
    assert written == [True]
    assert [o.key for o in rig.hand.orders] == ["start:web-2"]
    assert (rig.hand.orders[0].epoch, rig.hand.orders[0].decision) == (1, "d1")
    shown = [s.receipts for s in rig.brain.shown if s.receipts]
    assert [list(r) for r in shown] == [["start:web-2"]]
    assert shown[0]["start:web-2"].outcome == "done"
    assert 11 <= len(rig.brain.shown) <= 13
    last = rig.brain.shown[-1]
    assert last.fresh("process", 1.5) and last.instances["web-1"].id == "web-1"
    with JournalReader(rig.path) as reader:
        assert [r.receipt.note for r in reader.receipts("d1")] == ["done by hand"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    (
        (Retryable("busy"), "retryable"),
        (Permanent("no such command"), "failed"),
        (Refused("changed meanwhile"), "refused"),
        (Unknown("line broke"), "unknown"),
        (KeyError("web"), "unknown"),
    ),
)
def test_every_error_of_a_driver_is_a_receipt(rig: Rig, error: Exception, outcome: str) -> None:
    """What a driver raises becomes the outcome that it means; what nobody foresaw is unknown, with its type."""

    async def do(order: Order) -> None:
        raise error

    rig.hand.do, rig.brain.wants = do, [rig.start("web-2")]
    run_virtual(_run(rig, 3.0), rig.clock)
    receipts = [r for s in rig.brain.shown for r in s.receipts.values()]
    assert [r.outcome for r in receipts] == [outcome]
    assert str(error) in receipts[0].note or "unexpected KeyError" in receipts[0].note


async def _run(rig: Rig, seconds: float) -> Loop:
    loop: Loop = rig.loop()
    await run_for(rig, loop, seconds)
    return loop


def test_an_actuator_that_hangs(rig: Rig) -> None:
    """While a driver hangs the loop ticks on, shows the order as pending, spares its subject, and at last calls it unknown."""

    async def do(order: Order) -> None:
        if order.effect.subject == "instance/web-2":
            await asyncio.Event().wait()

    rig.hand.do = do
    rig.brain.wants = [rig.start("web-2"), StopInstance("web-2", 1.0), rig.start("web-3"), rig.start("web-2")]
    run_virtual(_run(rig, ORDER_S_MAX + 5.0), rig.clock)
    assert [o.key for o in rig.hand.orders] == ["start:web-2", "start:web-3"]
    assert [s.pending for s in rig.brain.shown[1:20]] == [{"start:web-2": rig.brain.shown[0].taken_at}] * 19
    ends = [(r.key, r.outcome) for s in rig.brain.shown for r in s.receipts.values()]
    assert sorted(ends) == [("start:web-2", "unknown"), ("start:web-3", "done"), ("stop:web-2", "retryable")]
    assert rig.brain.shown[-1].pending == {}


def test_an_actuator_that_ignores_being_given_up(rig: Rig) -> None:
    """A driver that swallows its cancellation cannot hold up the loop, nor its end."""

    async def do(order: Order) -> None:
        for _ in range(3):
            try:
                await rig.clock.sleep(500.0)
            except asyncio.CancelledError:
                continue

    rig.hand.do, rig.brain.wants = do, [rig.start("web-2")]
    loop = run_virtual(_run(rig, ORDER_S_MAX + 5.0), rig.clock)
    assert loop.end is End.STOPPED
    assert [r.outcome for s in rig.brain.shown for r in s.receipts.values()] == ["unknown"]


def test_an_observer_that_hangs_keeps_its_old_facts(rig: Rig) -> None:
    """Once it hangs its facts grow stale, the other's stay fresh, ticks go on, it is said once, and told when it is back."""
    hangs = False

    async def see() -> tuple[Fact, ...]:
        if hangs:
            await asyncio.Event().wait()
        return (rig.instance(at=rig.clock.now()),)

    async def see_well() -> tuple[Fact, ...]:
        return ()

    rig.watch(see, "process")
    rig.watch(see_well, "gateway")

    async def main() -> None:
        nonlocal hangs
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(5.0)
        hangs = True
        await rig.clock.sleep(2.5 * OBSERVE_S_MAX)
        stuck = rig.brain.shown[-1]
        assert not stuck.fresh("process", 20.0) and stuck.fresh("gateway", 2.0)
        assert "web-1" in stuck.instances
        hangs = False
        await rig.clock.sleep(OBSERVE_S_MAX)
        assert rig.brain.shown[-1].fresh("process", 2.0)
        loop.stop()
        await task

    run_virtual(main(), rig.clock)
    assert len([t for t in rig.said if "process can't be seen" in t]) == 1
    assert rig.said[-1] == "process is seen again"
    assert len(rig.brain.shown) >= 38


def test_an_observer_that_fails_is_said_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises, the facts of the others arrive, and the sentence comes once for each different trouble."""
    errors: list[Exception] = [Retryable("no answer from the admin port")] * 3 + [ZeroDivisionError("oops")] * 3

    async def see() -> tuple[Fact, ...]:
        if errors:
            raise errors.pop(0)
        return ()

    async def see_well() -> tuple[Fact, ...]:
        return (rig.instance(),)

    rig.watch(see, "gateway")
    rig.watch(see_well, "process")
    run_virtual(_run(rig, 8.0), rig.clock)
    assert all("web-1" in s.instances for s in rig.brain.shown)
    assert "gateway" not in rig.brain.shown[5].observed and "gateway" in rig.brain.shown[-1].observed
    assert [t.split(": ", 1)[-1] for t in rig.said] == [
        "no answer from the admin port",
        "unexpected ZeroDivisionError: oops",
        "gateway is seen again",
    ]
    assert [r.getMessage() for r in caplog.records if r.exc_info] == ["observer gateway failed"]
    with JournalReader(rig.path) as reader:
        assert [n.text for n in reader.notes()] == rig.said


def test_a_slow_observer_delays_only_its_own_facts(rig: Rig) -> None:
    """An answer that takes three seconds is taken in when it comes, dated when it was asked for."""

    async def see() -> tuple[Fact, ...]:
        await rig.clock.sleep(3.0)
        return (rig.instance(),)

    rig.watch(see)
    run_virtual(_run(rig, 10.0), rig.clock)
    first = next(s for s in rig.brain.shown if s.instances)
    assert first.taken_at - rig.brain.shown[0].taken_at <= 4.0
    assert first.observed["process"] <= first.taken_at - 3.0
    assert len(rig.brain.shown) >= 10


def test_a_storm_of_wake_ups_does_not_spin(rig: Rig) -> None:
    """Woken ten thousand times in a second, the loop ticks about as often as its pace allows, and woken once it ticks at once."""

    async def see() -> tuple[Fact, ...]:
        return ()

    eye = rig.watch(see)

    async def main() -> None:
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(5.5)
        before = len(rig.brain.shown)
        eye.wake()
        await rig.clock.sleep(0.001)
        assert len(rig.brain.shown) == before + 1
        for _ in range(10_000):
            eye.wake()
            await rig.clock.sleep(0.0001)
        ticks = len(rig.brain.shown) - before
        assert 20 <= ticks <= 1 / rig.pace.spacing_s + 3
        loop.stop()
        await task

    run_virtual(main(), rig.clock)


def test_a_request_of_another_process_is_taken_at_once(rig: Rig) -> None:
    """A request appended while the loop rests is answered within a fraction of a tick; down ends the loop when nothing is under way."""
    release_order = asyncio.Event()

    async def do(order: Order) -> None:
        await release_order.wait()

    rig.hand.do, rig.brain.wants = do, [rig.start("web-2")]

    async def main() -> None:
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(3.05)
        await asyncio.to_thread(Desk(rig.path).append, DownRequest("q1", rig.clock.now()))
        await rig.clock.sleep(0.3)
        with JournalReader(rig.path) as reader:
            answer = reader.answer("q1")
        assert answer is not None and answer.ok
        assert not task.done()
        release_order.set()
        await rig.clock.sleep(0.2)
        assert task.done() and await task is End.DOWN

    run_virtual(main(), rig.clock)


def test_a_lost_lease_stops_everything_at_once(rig: Rig) -> None:
    """When another holds the lease nothing is written or sent any more, orders under way are given up, and run says so."""
    given_up = []

    async def do(order: Order) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.append(order.key)
            raise

    rig.hand.do = do
    rig.brain.each_tick = lambda snapshot: [rig.start(f"web-{len(rig.brain.shown)}")]

    async def main() -> None:
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(3.5)
        rig.lease.lost = True
        orders, seq = len(rig.hand.orders), rig.journal.seq
        assert await task is End.LOST
        await rig.clock.sleep(0.001)
        assert (len(rig.hand.orders), rig.journal.seq) == (orders, seq)
        assert len(given_up) == orders > 0

    run_virtual(main(), rig.clock)
    assert "lease is lost" in rig.said[-1]


def test_a_journal_that_fails_makes_the_loop_hold(rig: Rig) -> None:
    """While nothing can be written no order goes out and no receipt is lost; afterwards all goes on, with nothing forgotten."""
    rig.brain.each_tick = lambda snapshot: [rig.start(f"web-{len(rig.brain.shown)}")]
    away = rig.path.with_name("away")

    async def main() -> None:
        loop = rig.loop()
        for _ in range(3):
            await loop.step()
            await rig.clock.sleep(1.0)
        sent = len(rig.hand.orders)
        assert sent == 3
        rig.path.rename(away)
        rig.path.mkdir()
        for _ in range(5):
            assert await loop.step() is None
            assert "can't be" in loop.holding or "removed" in loop.holding
            await rig.clock.sleep(1.0)
        assert len(rig.hand.orders) == sent
        rig.path.rmdir()
        away.rename(rig.path)
        tick = await loop.step()
        assert tick is not None and loop.holding == ""
        assert "start:web-3" in tick.snapshot.receipts
        await rig.clock.sleep(1.0)
        assert len(rig.hand.orders) == sent + 1
        assert tick.memory.decisions == 4
        await loop.step()
        await loop.close()

    run_virtual(main(), rig.clock)
    assert 1 <= len([t for t in rig.said if t.startswith("holding, nothing is done")]) <= 2
    assert "goes on" in rig.said[-1]
    rig.brain.each_tick = lambda snapshot: []
    with JournalReader(rig.path) as reader:
        assert [t.memory.decisions for t in reader.ticks(1, 99)] == [1, 2, 3, 4, 5]
        assert any("holding" in n.text for n in reader.notes())


def test_a_fault_in_deciding_makes_the_loop_hold(rig: Rig) -> None:
    """A decider that raises leaves everything running as it is: the loop says so, and goes on when deciding works again."""
    faulty = True

    def each_tick(snapshot: Snapshot) -> list[Effect]:
        if faulty:
            raise ZeroDivisionError("division by zero")
        return [rig.start("web-2")]

    rig.brain.each_tick = each_tick

    async def main() -> None:
        nonlocal faulty
        loop = rig.loop()
        assert await loop.step() is None and "ZeroDivisionError" in loop.holding
        assert await loop.step() is None
        faulty = False
        assert await loop.step() is not None
        await loop.close()

    run_virtual(main(), rig.clock)
    assert len([t for t in rig.said if "deciding failed" in t]) == 1
    assert [o.key for o in rig.hand.orders] == ["start:web-2"]


@pytest.mark.parametrize("jump_s", (-3600.0, 86400.0))
def test_a_clock_that_jumps(rig: Rig, jump_s: float) -> None:
    """The loop keeps its pace, says so once, and what was not seen since the jump is not fresh, however the dates look."""
    is_blind = False

    async def see() -> tuple[Fact, ...]:
        if is_blind:
            raise Retryable("blind")
        return (rig.instance(at=rig.clock.now()),)

    async def see_well() -> tuple[Fact, ...]:
        return ()

    rig.watch(see, "process")
    rig.watch(see_well, "gateway")

    async def main() -> None:
        nonlocal is_blind
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(5.0)
        is_blind = True
        await rig.clock.sleep(1.5)
        rig.clock.jump(jump_s)
        ticks = len(rig.brain.shown)
        await rig.clock.sleep(5.0)
        assert 4 <= len(rig.brain.shown) - ticks <= 6
        assert all(not s.fresh("process", 1e9) for s in rig.brain.shown[ticks:])
        assert all(s.fresh("gateway", 2.0) for s in rig.brain.shown[ticks:])
        is_blind = False
        await rig.clock.sleep(2.0)
        assert rig.brain.shown[-1].fresh("process", 2.0)
        loop.stop()
        await task

    run_virtual(main(), rig.clock)
    assert len([t for t in rig.said if "the clock jumped" in t]) == 1


def test_a_restart_goes_on_from_memory(rig: Rig) -> None:
    """A new loop over the same journal has the old one's memory, nothing pending, and facts only once they are seen again."""

    async def do(order: Order) -> None:
        await asyncio.Event().wait()

    async def see() -> tuple[Fact, ...]:
        return (rig.instance(),)

    rig.hand.do, rig.brain.wants = do, [rig.start("web-2")]
    rig.watch(see)
    run_virtual(_run(rig, 5.0), rig.clock)
    before = len(rig.brain.shown)
    rig.journal.close()
    rig.eyes.clear()
    run_virtual(_run(rig, 2.0), rig.clock)
    first = rig.brain.shown[before]
    assert first.pending == {} and first.instances == {} and first.observed == {}
    assert rig.journal.memory.decisions == len(rig.brain.shown)


def test_minutes_are_written_as_they_end(rig: Rig) -> None:
    """Three minutes of ticks leave a row of minute figures: how many instances were ready, what they used."""

    async def see() -> tuple[Fact, ...]:
        return (rig.instance("web-1", cpu_cores=0.2), rig.instance("web-2", cpu_cores=0.4))

    rig.watch(see)
    run_virtual(_run(rig, 200.0), rig.clock)
    with JournalReader(rig.path) as reader:
        window = reader.window(rig.clock.now() - 240.0, rig.clock.now())
    instances = [v for v in window.series["web@local.instances"] if v is not None]
    assert len(instances) >= 2 and set(instances) == {2.0}
    assert {round(v, 6) for v in window.series["web@local.cpu_cores_each"] if v is not None} == {0.3}


def test_the_journal_is_tidied_while_it_runs(rig: Rig, path: Path) -> None:
    """A quarter of an hour is sealed into segments beside the loop, and read back whole."""
    run_virtual(_run(rig, 900.0), rig.clock)
    rig.journal.close()
    with JournalReader(path) as reader:
        span = reader.span()
        assert span is not None and span[0] == 1
        assert [t.seq for t in reader.ticks(*span)] == list(range(1, span[1] + 1))
        assert reader._db.execute("SELECT count(*) FROM segments").fetchone()[0] >= 1


def test_a_fault_in_tidying_does_not_end_the_loop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong beside the loop is said, and the ticks go on."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("tenfold.loop.loop.tidy", fail)
    run_virtual(_run(rig, 70.0), rig.clock)
    assert "old ticks are kept for now: unexpected ZeroDivisionError: oops" in rig.said
    assert len(rig.brain.shown) >= 70
