"""A lease that is out of reach for a while: nothing is done, nothing is lost, and all goes on when it is back."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tenfold.effects import Effect
from tenfold.facts import Snapshot
from tenfold.ports import Retryable
from tenfold.sim import run_virtual

Rig = Any


def test_while_nobody_can_tell_who_leads_nothing_is_done(rig: Rig) -> None:
    """The lease is out of reach for three seconds: the loop holds, says why once, sends nothing, and goes on when it is back."""
    out_of_reach = False

    async def held() -> bool:
        if out_of_reach:
            raise Retryable("no majority of voters answers")
        return True

    async def main() -> None:
        nonlocal out_of_reach
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(2.5)
        out_of_reach, before = True, len(rig.brain.shown)
        rig.brain.wants = [rig.start("web-2")]
        await rig.clock.sleep(3.0)
        assert len(rig.brain.shown) == before and not rig.hand.orders
        assert loop.holding == "no majority of voters answers"
        out_of_reach = False
        await rig.clock.sleep(2.0)
        assert [o.key for o in rig.hand.orders] == ["start:web-2"]
        loop.stop()
        await task

    rig.lease.held = held
    run_virtual(main(), rig.clock)
    assert rig.said == ["holding, nothing is done: no majority of voters answers", "holding no more: the loop goes on"]


def test_whoever_was_frozen_while_deciding_sends_nothing(rig: Rig) -> None:
    """The right to act goes while a tick is decided: its orders are kept back, each with a receipt that says so."""
    may_act, decided = True, rig.brain.each_tick

    async def held() -> bool:
        if not may_act:
            raise Retryable("no majority of voters answers")
        return True

    def freeze(snapshot: Snapshot) -> Sequence[Effect]:
        nonlocal may_act
        may_act = may_act and not rig.brain.wants
        return decided(snapshot)

    async def main() -> None:
        nonlocal may_act
        loop = rig.loop()
        task = asyncio.ensure_future(loop.run())
        await rig.clock.sleep(1.5)
        rig.brain.wants = [rig.start("web-2")]
        await rig.clock.sleep(3.0)
        assert not rig.hand.orders
        may_act = True
        await rig.clock.sleep(1.5)
        loop.stop()
        await task

    rig.lease.held, rig.brain.each_tick = held, freeze
    run_virtual(main(), rig.clock)
    assert not rig.hand.orders
    receipts = [receipt for shown in rig.brain.shown for receipt in shown.receipts.values()]
    assert [(r.key, r.outcome) for r in receipts] == [("start:web-2", "retryable")]
    assert "the right to act was gone" in receipts[0].note
