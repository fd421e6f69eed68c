"""The deciders and the real stores together: a primary is lost in one region, and writes go on in the other."""

import asyncio
import contextlib
import signal
import time
from typing import Any

import psycopg
import pytest

from tenfold.deciders.arbitrate import arbitrate
from tenfold.deciders.engines import keep_engines
from tenfold.deciders.memory import HealMemory, RegionsMemory, StoreMemory
from tenfold.deciders.stores import keep_stores
from tenfold.effects import Decision, Order
from tenfold.facts import EngineSeen, EngineState, ReceiptSeen, ReplicaRole, ReplicaSeen, Snapshot
from tenfold.model import Data, Model, Region
from tenfold.ports import DriverError

Pair = Any
WITHIN_S = 90.0


class Control:
    """A control plane as small as can be: it looks, decides and acts, again and again."""

    def __init__(self, pair: Pair, data: Data) -> None:
        self.pair = pair
        other = {"valkey": Data(url="postgresql://mine"), "postgres": Data(valkey_url="redis://mine")}[pair.kind]
        data = Data(
            replicas=1,
            is_synchronous=data.is_synchronous,
            rpo_s=data.rpo_s,
            rto_s=10.0,
            url=other.url,
            valkey_url=other.valkey_url,
        )
        self.model = Model("demo", {}, {"a": Region("a"), "b": Region("b")}, data=data)
        self.stores: dict[str, StoreMemory] = {}
        self.heal = HealMemory()
        self.sent: dict[str, float] = {}
        self.said: list[Decision] = []
        self.receipts: dict[str, ReceiptSeen] = {}
        self.pending: dict[str, tuple[float, asyncio.Task[None]]] = {}

    async def tick(self) -> Snapshot:
        """Look, decide, act."""
        facts = await self.pair.driver.observe()
        now = time.time()
        shown, self.receipts = self.receipts, {}
        snapshot = Snapshot(
            taken_at=now,
            observed={self.pair.kind: now},
            engines={f.key: f for f in facts if isinstance(f, EngineSeen)},
            replicas={f.key: f for f in facts if isinstance(f, ReplicaSeen)},
            pending={key: at for key, (at, _) in self.pending.items()},
            receipts=shown,
        )
        kept, starts, said = keep_stores(self.model, snapshot, RegionsMemory(), self.stores)
        self.stores = dict(kept)
        self.heal, healed = keep_engines(starts, (), snapshot, self.heal)
        settled, _, sent = arbitrate(self.model, snapshot, (*said, *healed), self.sent)
        self.sent = dict(sent)
        self.said += settled
        for decision in settled:
            for effect in decision.effects:
                order = Order(effect, 1, "d1", now)
                self.pending[effect.key] = (now, asyncio.ensure_future(self._carry_out(order)))
        return snapshot

    async def _carry_out(self, order: Order) -> None:
        outcome, note = "done", ""
        try:
            note = (await self.pair.driver.apply(order)).note
        except DriverError as error:
            outcome, note = type(error).__name__.lower(), str(error)
        self.receipts[order.key] = ReceiptSeen(order.key, outcome, note, time.time())
        del self.pending[order.key]

    async def until(self, true: Any) -> Snapshot:
        """Tick until it is so."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            snapshot = await self.tick()
            if true(snapshot):
                return snapshot
            assert time.monotonic() < deadline, (snapshot, self.stores, self.said[-5:])
            await asyncio.sleep(0.05)

    async def until_leads(self, region: str, *, follower: str = "", is_synchronous: bool = False) -> None:
        """Tick until `region` takes writes, and `follower` (if any) follows."""

        def leads(snapshot: Snapshot) -> bool:
            seen = snapshot.replicas.get(f"{self.pair.kind}/{region}")
            if seen is None or seen.role is not ReplicaRole.PRIMARY or seen.is_synchronous != is_synchronous:
                return False
            return not follower or (seen.standbys == (follower,) and seen.lag_s == 0.0)

        await self.until(leads)

    async def close(self) -> None:
        """Let what is under way end."""
        for _, task in list(self.pending.values()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(task, 60)


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_synchronous_primary_is_lost(postgres_pair: Pair, connect: Any, harm: int) -> None:
    """Killed again and again, or frozen: the standby takes over with every acknowledged row, and the lost one comes back as standby."""
    pair, control = postgres_pair, Control(postgres_pair, Data(is_synchronous=True, rpo_s=0.0))
    await control.until_leads("a", follower="b", is_synchronous=True)
    with connect(await pair.url("a")) as app:
        app.execute("CREATE TABLE rows (n int)")
        app.execute("INSERT INTO rows SELECT generate_series(1, 100)")
    pair.signal("a", harm)

    def lost(snapshot: Snapshot) -> bool:
        engine = snapshot.engines.get("postgres/a")
        if harm == signal.SIGKILL and engine is not None and engine.state is not EngineState.EXITED:
            pair.signal("a", harm)
        return control.stores["postgres"].primary == "b"

    await control.until(lost)
    await control.until_leads("b")
    with connect(await pair.url("b")) as app:
        app.execute("INSERT INTO rows VALUES (101)")
    await control.until_leads("b", follower="a", is_synchronous=True)
    with connect(await pair.url("a")) as reader, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        assert reader.execute("SELECT count(*) FROM rows").fetchone() == (101,)
        reader.execute("INSERT INTO rows VALUES (1)")
    words = " / ".join(decision.why for decision in control.said)
    assert "it has every acknowledged write" in words and "s after they ceased" in words
    assert control.stores["postgres"].number == 1
    await control.close()


async def test_a_valkey_is_lost(valkey_pair: Pair) -> None:
    """The same, by the same decisions; a crash alone moves nothing."""
    pair, control = valkey_pair, Control(valkey_pair, Data(rpo_s=5.0))
    await control.until_leads("a", follower="b")
    pair.signal("a", signal.SIGKILL)
    await pair.gone("a")
    await control.until_leads("a", follower="b")
    assert control.stores["valkey"].number == 0
    pair.signal("a", signal.SIGSTOP)
    await control.until_leads("b", follower="a")
    assert control.stores["valkey"].number == 1
    await control.close()


async def test_a_project_grows_a_second_region(
    postgres_pair: Pair, valkey_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores that were started while there was one region go on, and the second region's follow them without a restart."""
    for pair in (postgres_pair, valkey_pair):
        with monkeypatch.context() as alone:
            alone.setattr(pair, "_front", None)
            pair.renew()
            await pair.start("a")
            engine = await pair.becomes("a", EngineState.READY)
            assert (await pair.facts("a"))[1] is None
            await pair.driver.close()
        pair.renew()
        await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
        await pair.start("b", follow="a")
        await pair.until_follows("b", "a")
        assert (await pair.facts("a"))[0].pid == engine.pid
