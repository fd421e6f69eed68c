"""Virtual time: a clock that moves only when nobody has anything left to do now. All that a simulation knows of time.

`VirtualLoop` is an asyncio event loop whose own time is the clock's, so `asyncio.sleep`, `asyncio.timeout` and `Clock.sleep` are
all virtual: sleepers wake in the order of their deadlines, and the wait between two of them takes no real time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

THREAD_POLL_S = 0.05
"""Real seconds between looks at whether a worker thread (a journal's write) has come back; virtual time stands still meanwhile."""
NOTHING_LEFT_S = 5.0
"""Real seconds without a timer, a thread or a descriptor after which a simulation is held to be stuck."""


class VirtualClock:
    """The `Clock` port on virtual time. `elapsed_s` is what has passed; `now()` also carries the jumps of the machine's wall clock."""

    def __init__(self, started_at: float = 1_750_000_000.0) -> None:
        """`started_at` is what `now()` says at first, in seconds since the epoch."""
        self.started_at = started_at
        self.elapsed_s = 0.0
        self.jumped_s = 0.0

    def now(self) -> float:
        """Seconds since the epoch, jumps included."""
        return self.started_at + self.jumped_s + self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of virtual time; only within `run_virtual`."""
        assert isinstance(asyncio.get_running_loop(), VirtualLoop), "virtual sleep outside of run_virtual"
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        assert seconds >= 0, seconds
        self.elapsed_s += seconds

    def jump(self, by_s: float) -> None:
        """Set the wall clock `by_s` ahead (or back): `now()` changes, durations do not."""
        self.jumped_s += by_s


class _SkippingSelector(selectors.DefaultSelector):
    """Waits by moving the clock. Descriptors (asyncio's own wake-up pipe) are only looked at."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.threads_at_work = 0

    def select(self, timeout_s: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout_s == 0:
            return ready
        if self.threads_at_work:
            return super().select(THREAD_POLL_S)
        if timeout_s is None:
            ready = super().select(NOTHING_LEFT_S)
            if not ready:
                raise RuntimeError("nothing is left that could wake this simulation: a task waits for what never comes")
            return ready
        self._clock.advance(timeout_s)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        """`clock` is moved by this loop alone while it runs."""
        self._virtual = clock
        self._skipping = _SkippingSelector(clock)
        super().__init__(self._skipping)

    def time(self) -> float:
        """The loop's own time: what has elapsed on the virtual clock."""
        return self._virtual.elapsed_s

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As asyncio does, with virtual time standing still until the thread is back."""
        future = super().run_in_executor(executor, func, *args)
        self._skipping.threads_at_work += 1
        future.add_done_callback(self._thread_is_back)
        return future

    def _thread_is_back(self, _: asyncio.Future[Any]) -> None:
        self._skipping.threads_at_work -= 1


def run_virtual(main: Coroutine[Any, Any, T], clock: VirtualClock) -> T:
    """Run `main` to its end on `clock` and give back what it returns, as `asyncio.run` does on real time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
