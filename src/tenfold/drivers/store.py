"""What embedded stores have in common: one takes writes, another follows it. Stage: effects -> world -> facts.

A store that is stopped at once is fenced: a mark beside its data keeps it from ever taking writes again, whoever starts it and however
much later, until it has been told to follow another and holds that one's data.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenfold.drivers.engine import Engine, EngineDriver, Launch, Recipe, expect
from tenfold.drivers.enginehome import Home, load_settings, sync_folder, write_file
from tenfold.drivers.fence import Fence
from tenfold.drivers.network import Network
from tenfold.drivers.procs import Command, Process, Processes, TreeKey
from tenfold.drivers.project import Project
from tenfold.effects import Effect, Order, Outcome, Promote, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, ReplicaSeen, StoreSeen
from tenfold.model import DEFAULT_REGION
from tenfold.ports import Permanent, Refused, Retryable

Front = Callable[[str, str], str]
"""Where the programs of a region reach a kind of store, wherever its primary is (`127.0.0.1:24001`): front(region, kind)."""


PROMPT_S = 0.1
"""An answer that takes no longer than this is taken for what is true now: lags are told in tenths of a second."""


class StoreRecipe(Recipe, Protocol):
    """What a kind of store needs beside what every engine does."""

    async def prepare_store(self, start: StartEngine) -> Launch:
        """`prepare`, as a primary or to follow another. Raises `DriverError`."""
        ...

    async def change(self, start: StartEngine) -> None:
        """Let a store that runs already run as `start` says. Raises `Refused` where that takes a stop."""
        ...

    async def promote(self, promote: Promote) -> None:
        """Let the standby take writes; returns when it does. Raises `DriverError`."""
        ...

    def fence(self, region: str) -> None:
        """Mark the data of `region` as fenced, lasting over a crash; nothing to do where there are none."""
        ...

    def replica(self, region: str) -> ReplicaSeen | None:
        """What part it played when it was last asked; None when it was not, or where there is one region."""
        ...

    def work(self, region: str) -> StoreSeen | None:
        """What it did between the last times it was asked; None before there are two of them."""
        ...


class StoreDriver(EngineDriver):
    """Observer and actuator of one kind of embedded store, one store per region."""

    def __init__(self, store: StoreRecipe, project: Project, fence: Fence, network: Network) -> None:
        self._store = store
        self._network = network
        super().__init__(store, project, fence)

    def accepts(self, effect: Effect) -> bool:
        """True for starts, stops and promotions of this driver's kind."""
        return super().accepts(effect) or (isinstance(effect, Promote) and effect.kind == self.recipe.kind)

    async def observe(self) -> tuple[EngineSeen | ReplicaSeen | StoreSeen, ...]:  # type: ignore[override]
        """One EngineSeen per store, and of each that answers a ReplicaSeen and a StoreSeen, as old as the last answer."""
        engines = await super().observe()
        ready = [seen.region for seen in engines if seen.state is EngineState.READY]
        told = (fact for region in ready for fact in (self._store.replica(region), self._store.work(region)))
        return (*engines, *(fact for fact in told if fact is not None))

    async def apply(self, order: Order) -> Receipt:
        """Start, stop or promote a store; see `ports.Actuator.apply`."""
        promote = order.effect
        if not isinstance(promote, Promote):
            return await super().apply(order)
        self._fence.check(order.epoch)
        if not self._adopted:
            await self.observe()
        engine = self._engines.setdefault(promote.region, Engine(promote.region))
        async with engine.lock:
            if order.key != engine.done:
                # It may have waited long for the one before it, or been frozen: somebody else may act by now.
                self._fence.check(order.epoch)
                expect(promote.expected_generation, engine)
                if engine.process is None:
                    raise Retryable(f"{promote.kind}/{promote.region} does not run, so it can't be promoted.")
                await self._store.promote(promote)
                engine.done = order.key
        for wake in self._wakers:
            wake()
        return Receipt(order.key, Outcome.DONE, time.time())

    async def _start(self, engine: Engine, effect: StartEngine, epoch: int | None) -> None:
        if engine.process is not None:
            await self._store.change(effect)
            return
        await super()._start(engine, effect, epoch)

    async def _prepare(self, effect: StartEngine) -> Launch:
        if not effect.follow:
            move_home(self.project, self.recipe.kind, effect.region)
        return await self._store.prepare_store(effect)

    def _spawn(self, key: TreeKey, command: Command) -> Process:
        with self._network.inside(key.id.partition("/")[2]):
            return super()._spawn(key, command)

    async def _stop(self, engine: Engine, effect: StopEngine) -> None:
        if effect.at_once:
            expect(effect.expected_generation, engine)
            # The mark first: one that is ended in between and started by another control plane must find it.
            self._store.fence(engine.region)
        await super()._stop(engine, effect)


@dataclass(frozen=True, slots=True)
class _Part:
    """What the settings of every kind of store tell of its part."""

    follow: str = ""


def move_home(project: Project, kind: str, region: str) -> None:
    """Let `region`, which is to lead, go on with the data of a project that names regions since, or names none any more.

    Only to and from the region of a blueprint that names none, and only when one store alone leads: two regions with names are
    different places. Raises `Retryable` while that store runs, `Permanent` when `region` has data that others have left behind.
    """
    target = project.data / f"{kind}-{region}"
    names = [path.name.partition("-")[2] for path in sorted(project.data.glob(f"{kind}-*"))]
    leading = [n for n in names if DEFAULT_REGION in (region, n) and _leads(project.data / f"{kind}-{n}")]
    if len(leading) != 1 or leading == [region]:
        return
    source = project.data / f"{kind}-{leading[0]}"
    if os.path.lexists(target):
        raise Permanent(f"{source} and {target} both hold data of {kind}: remove the ones that are not to be kept.")
    if any(key.id == f"{kind}/{leading[0]}" for key in Processes(project).look()):
        raise Retryable(f"{kind}/{leading[0]} still runs, and {kind}/{region} goes on with its data.")
    source.rename(target)


def _leads(folder: Path) -> bool:
    """Whether the store with its home in `folder` took writes last; False when it may not be read."""
    home = Home(folder, None)
    if not os.access(folder, os.X_OK) or is_fenced(home):
        return False
    part = load_settings(home, _Part)
    return part is not None and not part.follow


def answer_age_s(asked_s: float, now_s: float) -> float:
    """How old an answer is that was asked for at `asked_s`: since then anything may have been written.

    0 when it came promptly. Otherwise the store was held up, or this control plane was, with the answer lying before it.
    """
    age_s = now_s - asked_s
    return age_s if age_s > PROMPT_S else 0.0


def set_fence(home: Home) -> None:
    """Mark the data of `home` as fenced."""
    write_file(home.folder / "fenced", b"another region took over its part: these data may hold writes that are lost\n")


def is_fenced(home: Home) -> bool:
    """Whether they are."""
    return (home.folder / "fenced").exists()


def clear_fence(home: Home) -> None:
    """Let it be started as anything again: it holds another's data now."""
    (home.folder / "fenced").unlink(missing_ok=True)
    sync_folder(home.folder)


def refuse_fenced(home: Home, kind: str, region: str) -> None:
    """Raise `Permanent` when `home` is fenced."""
    if is_fenced(home):
        raise Permanent(
            f"{kind}/{region} was fenced when another region took over: start the store of that region first and this one follows it, "
            f"or, if this one's data are the ones to keep, remove {home.folder / 'fenced'}."
        )


def promotions(home: Home) -> int:
    """The number of the last promotion of `home`; 0 when there was none."""
    try:
        return int((home.folder / "promoted").read_text())
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise Permanent(f"{home.folder / 'promoted'} is damaged: remove it, and this goes on by itself.") from error


def is_promoted(home: Home, promote: Promote, *, is_primary: bool) -> bool:
    """Whether the promotion has happened already; raises `Refused` when a later one has, or it has followed another since."""
    last = promotions(home)
    if last > promote.number or (last == promote.number and not is_primary):
        raise Refused(
            f"promotion {promote.number} of {promote.kind}/{promote.region} comes late: it was promoted as number {last} since."
        )
    return is_primary


def note_promotion(home: Home, number: int) -> None:
    """Remember the number of the promotion that happened."""
    write_file(home.folder / "promoted", f"{number}\n".encode())
