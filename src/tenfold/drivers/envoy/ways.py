"""Notices when the stores that a table leads to answer, so that who waits for them need not wait for the next look as well.
Stage: world -> facts.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from tenfold.drivers.envoy.admin import ask_json
from tenfold.drivers.envoy.stats import CLUSTERS_PATH, stores_well
from tenfold.drivers.vitals import NotAnswering
from tenfold.model import RouteTable, StoreEnd

_ASK_S = 0.05
_ASKED_S = 15.0
"""For how long; a store that takes longer than this to come is found by the looks alone."""
_ANSWER_S = 0.5


class Ways:
    """Asks gateways, at their admin sockets, while a new way to a store does not answer."""

    def __init__(self, admin_socket: Callable[[str], Path]) -> None:
        self._admin_socket = admin_socket
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._led: dict[str, tuple[StoreEnd, ...]] = {}
        self._wakers: list[Callable[[], None]] = []

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when all stores of a gateway's newest table answer it."""
        self._wakers.append(wake)

    def led(self, table: RouteTable) -> None:
        """A gateway has taken up `table`."""
        if table.stores != self._led.get(table.region, ()):
            self._led[table.region] = table.stores
            self._stop(table.region)
            self._asking[table.region] = asyncio.create_task(self._ask(table), name=f"ways of {table.region}")

    async def close(self) -> None:
        """Ask no more."""
        asking = tuple(self._asking.values())
        for region in tuple(self._asking):
            self._stop(region)
        await asyncio.gather(*asking, return_exceptions=True)

    def _stop(self, region: str) -> None:
        if (asking := self._asking.pop(region, None)) is not None:
            asking.cancel()

    async def _ask(self, table: RouteTable) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ASKED_S):
                answering: tuple[StoreEnd, ...] = ()
                while not set(table.stores) <= set(answering):
                    await asyncio.sleep(_ASK_S)
                    with contextlib.suppress(NotAnswering):
                        clusters = await ask_json(self._admin_socket(table.region), CLUSTERS_PATH, _ANSWER_S)
                        answering = stores_well(clusters)
                for wake in self._wakers:
                    wake()
