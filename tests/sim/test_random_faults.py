"""Random people and random faults over many seeds: whatever happens, the shop ends whole, and nothing is doubled, orphaned or forgotten.

A seed that fails is printed; `Trial(seed)` plays it again.
"""

from collections import Counter
from random import Random

import pytest

from tenfold.deciders import Intent, settled
from tenfold.facts import DeployRequest, DownRequest, EngineState, InstanceState, RollbackRequest, UpRequest
from tenfold.sim import Behaviour, Breakage, ClockJump, FaultSchedule, steps

SEEDS = 120
TROUBLE_S = 300.0
QUIET_S = 420.0
"""Longer than any wait of a decider that has not given up, so that what can be whole is whole at the end."""
STARTS_PER_MINUTE_MAX = 40
UNKNOWN_S_MAX = 40.0
"""How long a living instance may be unknown to the control plane while it looks: a start whose receipt was lost, at the longest."""


class Trial:
    """One seed: a shop, what is broken in it, what people ask for and when, and what must hold all along."""

    def __init__(self, make_shop, seed: int) -> None:
        random = self.random = Random(f"trial/{seed}")
        entries = FaultSchedule.drawn(
            seed,
            from_s=5,
            until_s=TROUBLE_S,
            count=random.randint(0, 14),
            pools=["web@local", "worker@local"],
            regions=["local"],
        ).entries
        if random.random() < 0.15:
            jump = ClockJump(random.choice([-86_400, -3600, -600, 600, 3600, 86_400]))
            entries = tuple(sorted((*entries, (random.uniform(5, TROUBLE_S), jump)), key=lambda entry: entry[0]))
        self.asks = sorted((random.uniform(0, TROUBLE_S), random.random()) for _ in range(random.randint(0, 4)))
        releases = [f"r{number}" for number in range(2, 2 + len(self.asks))]
        self.broken = {release: random.choice(list(Breakage)) for release in releases if random.random() < 0.4}
        self.shop = make_shop(
            seed,
            rates={"web@local": steps((0, 20), (100, 60), (200, 20))},
            broken=self.broken,
            faults=FaultSchedule(entries),
            job="*/2 * * * *",
            behaviours={"job": Behaviour(task_s=20)},
        )
        self.releases = iter(releases)
        self.unknown_steps: Counter[str] = Counter()
        self.starts: list[int] = []

    def play(self) -> None:
        """Live through the trouble and the quiet after it, then judge."""
        shop = self.shop
        shop.ask(UpRequest("up", shop.world.clock.now(), shop.release("r1")))
        while shop.now_s < TROUBLE_S + QUIET_S:
            while self.asks and self.asks[0][0] <= shop.now_s:
                self._ask(self.asks.pop(0)[1])
            shop.step()
            self._look_on()
        self._judge()

    def _ask(self, draw: float) -> None:
        shop, now = self.shop, self.shop.world.clock.now()
        name = f"ask-{len(self.asks)}"
        if draw < 0.65:
            shop.ask(DeployRequest(name, now, shop.release(next(self.releases))))
        elif draw < 0.88:
            shop.ask(RollbackRequest(name, now))
        elif draw < 0.94:
            shop.ask(UpRequest(name, now, shop.release("r1")))
        else:
            shop.ask(DownRequest(name, now))

    def _look_on(self) -> None:
        shop = self.shop
        living = [member for pool in shop.world.pools.values() for member in pool.members.values()]
        assert len(living) <= 2 * (8 + 1) + 4, "more instances than two releases may have"
        known = shop.memory.heal.members
        unknown = {i.id for i in living if i.id not in known and i.state is not InstanceState.STOPPING}
        for id_ in self.unknown_steps.keys() - unknown:
            del self.unknown_steps[id_]
        self.unknown_steps.update(unknown)
        assert max(self.unknown_steps.values(), default=0) <= UNKNOWN_S_MAX, f"orphans: {unknown}"
        self.starts.append(shop.world.counts["started"])
        assert self.starts[-1] - self.starts[-60:][0] <= STARTS_PER_MINUTE_MAX, "a storm of restarts"

    def _judge(self) -> None:
        shop, release = self.shop, self.shop.memory.release
        assert not shop.requests, f"never answered: {list(shop.requests)}"
        assert release.operation is None
        assert all(decision.why for _, decision in shop.decided)
        # A pool may just be letting go of what it needs no more.
        shop.run_until(lambda: settled(shop.memory), 60)
        living = {name: shop.world.living(name, "local") for name in ("web", "worker")}
        if release.intent is not Intent.UP:
            assert not any(living.values())
            assert all(engine.state is EngineState.EXITED for engine in shop.world.engines.values())
            return
        if release.serving is None or (release.serving in self.broken and not release.served):
            return  # Stopped by hand before anything served, or broken with nothing to go back to.
        assert release.serving not in self.broken, f"{release.serving} is broken and serves"
        for name, members in living.items():
            assert len(members) == shop.memory.scale.pools[f"{name}@local"].wanted
            assert all(i.state is InstanceState.READY and i.release == release.serving for i in members)
        failed = shop.failed
        shop.run(20)
        assert shop.failed == failed, "requests fail although all is quiet"


@pytest.mark.parametrize("tens", range(SEEDS // 10))
def test_after_any_trouble_the_shop_is_whole(shop, tens: int) -> None:
    """Ten seeds of faults, crashes of the control plane, broken releases and hasty people, and the shop serves at the end."""
    for seed in range(10 * tens, 10 * tens + 10):
        Trial(shop, seed).play()
