"""What every world promises of instances: Observer, Actuator and Harm, on the simulator and on real processes."""

import asyncio
from dataclasses import replace

import pytest

from tenfold.effects import Outcome, PublishRoutes, StartEngine, StartInstance, StopInstance
from tenfold.effects.faults import Freeze, Kill
from tenfold.facts import InstanceSeen, InstanceState
from tenfold.model import RouteTable
from tenfold.ports import Permanent, Refused

WEB = StartInstance("web-1", "web", "local", "r1")


def is_in(state: InstanceState):
    """True for an instance that is seen in `state`."""
    return lambda seen: seen is not None and seen.state is state


def is_gone(seen: InstanceSeen | None) -> bool:
    """True for an instance that is not reported any more."""
    return seen is None


def test_a_start_leads_through_starting_to_ready_with_an_address(play) -> None:
    """A started instance is seen at once, gets ready at an address, and says so with a wake-up and a new generation."""

    async def story(stage) -> None:
        before = stage.clock.now()
        receipt = await stage.do(WEB)
        assert (receipt.key, receipt.outcome) == ("start:web-1", Outcome.DONE)
        first = await stage.see(InstanceSeen, "web-1")
        assert first.state in (InstanceState.STARTING, InstanceState.READY)
        assert (first.service, first.region, first.release) == ("web", "local", "r1")
        ready = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        assert ready.host == "127.0.0.1"
        assert ready.port > 0
        assert ready.pid > 0
        assert ready.generation > first.generation
        assert before - 0.1 <= ready.started_at <= ready.since <= ready.seen_at
        assert stage.wakes > 0

    play(story)


def test_facts_are_dated_and_measured(play) -> None:
    """Each look is dated anew, and a running instance shows what it uses after the second one."""

    async def story(stage) -> None:
        await stage.do(WEB)
        ready = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        await stage.clock.sleep(0.6)
        later = await stage.until(InstanceSeen, "web-1", lambda seen: seen.cpu_cores is not None)
        assert ready.seen_at < later.seen_at <= stage.clock.now()
        assert later.cpu_cores >= 0
        assert later.memory_bytes > 1_000_000

    play(story)


def test_an_order_that_comes_twice_happens_once(play) -> None:
    """The same key twice, one after the other and at the same moment, makes one process and only DONE receipts."""

    async def story(stage) -> None:
        receipts = await asyncio.gather(stage.do(WEB), stage.do(WEB))
        seen = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        receipts.append(await stage.do(WEB))
        again = await stage.see(InstanceSeen, "web-1")
        assert (again.pid, again.generation) == (seen.pid, seen.generation)
        assert {receipt.outcome for receipt in receipts} == {Outcome.DONE}
        assert stage.leftovers() == ["web-1"]

    play(story)


def test_an_old_epoch_is_refused(play) -> None:
    """Once a newer control plane has acted, an order of the old one does nothing."""

    async def story(stage) -> None:
        await stage.do(WEB, epoch=7)
        with pytest.raises(Refused):
            await stage.do(StartInstance("web-2", "web", "local", "r1"), epoch=6)
        with pytest.raises(Refused):
            await stage.do(StopInstance("web-1", 1.0), epoch=6)
        assert stage.leftovers() == ["web-1"]
        await stage.restart()
        with pytest.raises(Refused):
            await stage.do(StopInstance("web-1", 1.0), epoch=6)
        assert (await stage.do(StopInstance("web-1", 1.0), epoch=8)).outcome is Outcome.DONE

    play(story)


def test_an_instance_that_changed_since_it_was_looked_at_is_not_stopped(play) -> None:
    """A stop that expects another generation is refused, and the instance goes on."""

    async def story(stage) -> None:
        await stage.do(WEB)
        ready = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        with pytest.raises(Refused):
            await stage.do(StopInstance("web-1", 1.0, ready.generation + 5))
        assert (await stage.see(InstanceSeen, "web-1")).state is InstanceState.READY
        await stage.do(StopInstance("web-1", 1.0, ready.generation))
        await stage.until(InstanceSeen, "web-1", is_gone)
        assert not stage.leftovers()

    play(story)


def test_one_that_ends_by_itself_says_how_until_it_is_stopped(play) -> None:
    """Its end wakes the loop and is reported with its exit code, look after look, until a stop for it forgets it."""

    async def story(stage) -> None:
        await stage.do(StartInstance("quits-1", "quits", "local", "r1"))
        woken = stage.wakes
        ended = await stage.until(InstanceSeen, "quits-1", is_in(InstanceState.EXITED))
        assert ended.note.startswith("exit code ")
        assert ended.pid is None
        assert stage.wakes > woken
        await stage.clock.sleep(0.3)
        assert (await stage.see(InstanceSeen, "quits-1")).state is InstanceState.EXITED
        assert (await stage.do(StopInstance("quits-1", 0.0, ended.generation))).outcome is Outcome.DONE
        assert await stage.see(InstanceSeen, "quits-1") is None

    play(story)


def test_one_that_ended_is_restarted_in_its_place(play) -> None:
    """The same id runs again at the same port as another process, also when the order comes twice, and what runs is not restarted."""

    async def story(stage) -> None:
        await stage.do(WEB)
        before = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        again = StartInstance("web-1", "web", "local", "r1", attempt=2)
        with pytest.raises(Refused):
            await stage.do(again)
        await stage.harm.inflict(Kill("web-1"))
        ended = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.EXITED))
        with pytest.raises(Refused):
            await stage.do(replace(again, expected_generation=ended.generation + 5))
        order = replace(again, expected_generation=ended.generation)
        receipts = await asyncio.gather(stage.do(order), stage.do(order))
        assert {receipt.outcome for receipt in receipts} == {Outcome.DONE}
        after = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        assert (await stage.do(order)).outcome is Outcome.DONE
        assert after.port == before.port
        assert after.pid != before.pid
        assert after.started_at > before.started_at
        assert after.generation > ended.generation
        assert stage.leftovers() == ["web-1"]
        with pytest.raises(Refused):
            await stage.do(replace(order, attempt=3))

    play(story)


def test_what_is_not_known_any_more_is_not_restarted(play) -> None:
    """After a restart of the control plane what ended is forgotten: to start it in its place is refused, and nothing runs."""

    async def story(stage) -> None:
        await stage.do(WEB)
        await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        await stage.harm.inflict(Kill("web-1"))
        await stage.until(InstanceSeen, "web-1", is_in(InstanceState.EXITED))
        await stage.restart()
        with pytest.raises(Refused):
            await stage.do(StartInstance("web-1", "web", "local", "r1", attempt=2))
        assert not stage.leftovers()

    play(story)


def test_a_kill_is_seen_with_its_signal(play) -> None:
    """Harm kills an instance; within two seconds it is reported as ended by signal 9, and the loop is woken."""

    async def story(stage) -> None:
        await stage.do(WEB)
        await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        woken = stage.wakes
        await stage.harm.inflict(Kill("web-1"))
        ended = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.EXITED), within_s=2.0)
        assert "signal 9" in ended.note
        assert stage.wakes > woken

    play(story)


def test_a_stop_of_what_does_not_run_is_done(play) -> None:
    """Nobody has to know whether an instance still runs in order to make sure that it does not."""

    async def story(stage) -> None:
        assert (await stage.do(StopInstance("web-9", 1.0))).outcome is Outcome.DONE
        assert not stage.leftovers()

    play(story)


def test_one_that_ignores_its_end_is_seen_stopping_and_then_killed(play) -> None:
    """SIGTERM is ignored: it is seen STOPPING for its grace, then its whole tree is gone and it is forgotten."""

    async def story(stage) -> None:
        await stage.do(StartInstance("stubborn-1", "stubborn", "local", "r1"))
        await stage.until(InstanceSeen, "stubborn-1", is_in(InstanceState.READY))
        stopping = asyncio.ensure_future(stage.do(StopInstance("stubborn-1", 3.0)))
        await stage.until(InstanceSeen, "stubborn-1", is_in(InstanceState.STOPPING), within_s=3.0)
        assert (await stopping).outcome is Outcome.DONE
        assert await stage.see(InstanceSeen, "stubborn-1") is None
        assert not stage.leftovers()

    play(story)


def test_a_stop_with_less_grace_ends_it_sooner(play) -> None:
    """A second stop may shorten the grace of the first."""

    async def story(stage) -> None:
        await stage.do(StartInstance("stubborn-1", "stubborn", "local", "r1"))
        await stage.until(InstanceSeen, "stubborn-1", is_in(InstanceState.READY))
        patient = asyncio.ensure_future(stage.do(StopInstance("stubborn-1", 600.0)))
        await stage.until(InstanceSeen, "stubborn-1", is_in(InstanceState.STOPPING))
        from_s = stage.clock.now()
        await stage.do(StopInstance("stubborn-1", 0.0, 1))
        await stage.until(InstanceSeen, "stubborn-1", is_gone)
        assert stage.clock.now() - from_s < 20
        patient.cancel()

    play(story)


def test_one_that_never_answers_stays_starting(play) -> None:
    """An instance that lives and does not answer its health check is never called ready."""

    async def story(stage) -> None:
        await stage.do(StartInstance("mute-1", "mute", "local", "r1"))
        await stage.clock.sleep(1.5)
        assert (await stage.see(InstanceSeen, "mute-1")).state is InstanceState.STARTING

    play(story)


def test_a_frozen_instance_is_seen_frozen_then_unhealthy_and_recovers(play, within) -> None:
    """A stopped process is told from a running one at the next look, fails its checks, and gets well when it is thawed."""

    async def story(stage) -> None:
        await stage.do(WEB)
        await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        await stage.harm.inflict(Freeze("web-1", 60.0))
        await stage.until(InstanceSeen, "web-1", lambda seen: seen.frozen, within_s=2.0)
        await within(stage, stage.look(), 3.0)
        sick = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.UNHEALTHY))
        assert sick.note
        await stage.harm.undo()
        well = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        assert not well.frozen
        assert well.pid == sick.pid

    play(story)


def test_a_frozen_instance_can_be_ended(play) -> None:
    """A process that is stopped ends within its grace all the same."""

    async def story(stage) -> None:
        await stage.do(WEB)
        await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        await stage.harm.inflict(Freeze("web-1", 60.0))
        await stage.do(StopInstance("web-1", 0.5))
        assert await stage.see(InstanceSeen, "web-1") is None
        assert not stage.leftovers()

    play(story)


def test_a_new_control_plane_adopts_what_runs(play) -> None:
    """After a restart a running instance is the same process at the same address, what ended is absent, and both can be stopped."""

    async def story(stage) -> None:
        await stage.do(WEB)
        await stage.do(StartInstance("quits-1", "quits", "local", "r1"))
        before = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        await stage.until(InstanceSeen, "quits-1", is_in(InstanceState.EXITED))
        await stage.restart()
        after = await stage.until(InstanceSeen, "web-1", is_in(InstanceState.READY))
        assert (after.pid, after.port, after.release) == (before.pid, before.port, before.release)
        assert after.started_at == pytest.approx(before.started_at, abs=0.05)
        assert await stage.see(InstanceSeen, "quits-1") is None
        assert (await stage.do(WEB, epoch=2)).outcome is Outcome.DONE
        assert stage.leftovers() == ["web-1"]
        await stage.do(StopInstance("web-1", 2.0, after.generation), epoch=2)
        assert not stage.leftovers()

    play(story)


def test_an_unknown_release_can_not_be_started(play) -> None:
    """What was never shipped is a permanent failure that says so, and starts nothing."""

    async def story(stage) -> None:
        with pytest.raises(Permanent, match="r9"):
            await stage.do(StartInstance("web-1", "web", "local", "r9"))
        assert not stage.leftovers()

    play(story)


def test_harm_needs_something_to_harm_and_can_always_be_undone(play) -> None:
    """Killing what is not there is a permanent failure; undoing is safe before, after and twice."""

    async def story(stage) -> None:
        await stage.harm.undo()
        with pytest.raises(Permanent, match="web-9"):
            await stage.harm.inflict(Kill("web-9"))
        await stage.harm.undo()
        await stage.harm.undo()

    play(story)


def test_a_driver_accepts_its_own_effects(play) -> None:
    """Instances are for exactly one actuator of a world that has them."""

    async def story(stage) -> None:
        assert sum(actuator.accepts(WEB) for actuator in stage.actuators) == 1
        others = (StartEngine("gateway", "local"), PublishRoutes(RouteTable("local"), ""))
        assert all(sum(actuator.accepts(other) for actuator in stage.actuators) <= 1 for other in others)

    play(story)
