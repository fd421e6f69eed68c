"""Writes to the app and reads them back beside a drill, as a careful client of its edge does, and keeps the history. Stage: a scenario's
`check` -> operations.

One process writes, another reads. A write with an `idempotency-key` is repeated with the same key until it is acknowledged; without one
it is tried once, and what came of a failure stays unknown. After `SESSION_WRITES` writes both enter anew, so that what is read
back stays short.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
from yarl import URL

from tenfold.model import Check, Scenario, Step
from tenfold.proof.drills.stage import DrillRefused
from tenfold.proof.history import Do, Ending, Operation
from tenfold.proof.load import LoadError, Request, Target
from tenfold.proof.load.script import Answer, ReadyStep

WRITES_PER_S = 5.0
READ_EVERY_S = 1.0
SESSION_WRITES = 25
WITHIN_S = 5.0
"""How long one try may take."""
FAILS_AFTER_S = 2.0
"""A write that is not acknowledged for so long counts as failing, although it may still be."""
RETRY_S = 0.2
LAST_WITHIN_S = 30.0
"""After the load, so long may the last writes and reads take."""
WRITER, READER = 0, 1
_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)


class Writers:
    """Those of one drill. `history` grows until `end`."""

    def __init__(self, target: Target, scenario: Scenario, tell: Callable[[str], None] = lambda text: None) -> None:
        """Nothing is sent until `open`. The scenario must have a `check`."""
        assert scenario.check is not None, "who makes writers has looked"
        self.history: list[Operation] = []
        self._tag = uuid4().hex[:6]
        self._target, self._scenario, self._check, self._tell = target, scenario, scenario.check, tell
        self._is_careful = any(name.lower() == "idempotency-key" for name, _ in self._check.write.headers)
        self._is_ending = False
        self._number = self._entered = 0
        self._keys: dict[str, str] = {}
        self._times = 1
        """How often an answer names one value that is there once."""
        self._sessions: list[_Session] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._waits_since: float | None = None
        self._last_failed = False

    @property
    def fails(self) -> bool:
        """Whether writes are not acknowledged now."""
        waits_s = time.time() - self._waits_since if self._waits_since is not None else 0.0
        return self._last_failed or waits_s > FAILS_AFTER_S

    async def open(self) -> None:
        """Enter, and see that a write can be read back at all. Raises `DrillRefused` when it can't."""
        session = await self._enter()
        operation = await self._write(session)
        if operation.ending is not Ending.OK:
            raise DrillRefused(f"the check of scenario {self._scenario.name} can't write: {session.said}")
        found = await session.do(self._check.read, {})
        count = found.text.count(operation.value) if found is not None else 0
        if not count:
            said = session.said or "what was written is not in the answer"
            raise DrillRefused(f"the check of scenario {self._scenario.name} can't read back what it wrote: {said}")
        self._times = count
        self._tasks = [asyncio.create_task(self._keep_writing()), asyncio.create_task(self._keep_reading())]

    async def end(self) -> None:
        """Let the last write end, then read everything back."""
        self._is_ending = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LAST_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for task in self._tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        tries = round(LAST_WITHIN_S / RETRY_S)
        for session in self._sessions:
            for _ in range(tries):
                if await self._read(session):
                    break
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """End everything, whatever it is at."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in self._sessions:
            await session.close()

    async def _keep_writing(self) -> None:
        written = 1
        while not self._is_ending:
            if written >= SESSION_WRITES:
                with suppress(DrillRefused):
                    # While nobody can enter, those who are in go on.
                    await self._enter()
                    written = 0
            await self._write(self._sessions[-1])
            written += 1
            await asyncio.sleep(1 / WRITES_PER_S)

    async def _keep_reading(self) -> None:
        while not self._is_ending:
            await self._read(self._sessions[-1])
            await asyncio.sleep(READ_EVERY_S)

    async def _enter(self) -> "_Session":
        self._entered += 1
        rows = self._scenario.users or ({},)
        variables = {**rows[self._entered % len(rows)], "user": str(self._entered)}
        session = _Session(f"{self._tag}-{self._entered}", self._target, variables)
        for step in (*self._scenario.enter, *self._check.enter):
            if await session.do(step, {}) is None:
                await session.close()
                raise DrillRefused(f"nobody can enter scenario {self._scenario.name}: {session.said}")
        self._sessions.append(session)
        return session

    async def _write(self, session: "_Session") -> Operation:
        self._number += 1
        value = f"drill-{self._tag}-{self._number:06d}"
        self._keys[value] = session.key
        self._waits_since = invoked_at = time.time()
        ending: Ending | None = None
        while ending is None:
            done = await session.do(self._check.write, {"value": value})
            ending = Ending.OK if done is not None else session.ending
            if ending is Ending.UNKNOWN and self._is_careful and not self._is_ending:
                ending = None
                self._last_failed = True
                await asyncio.sleep(RETRY_S)
        completed_at = None if ending is Ending.UNKNOWN else time.time()
        operation = Operation(WRITER, Do.WRITE, session.key, invoked_at, completed_at, ending, value)
        self.history.append(operation)
        self._waits_since, self._last_failed = None, ending is not Ending.OK
        return operation

    async def _read(self, session: "_Session") -> bool:
        invoked_at = time.time()
        found = await session.do(self._check.read, {})
        if found is None:
            self.history.append(Operation(READER, Do.READ, session.key, invoked_at, None, Ending.UNKNOWN))
            return False
        # Where entering makes nothing of one's own, what was written before is there too: it is judged where it was written.
        saw = tuple(
            v for v in seen(found.text, self._tag, self._times) if self._keys.get(v, session.key) == session.key
        )
        self.history.append(Operation(READER, Do.READ, session.key, invoked_at, time.time(), Ending.OK, saw=saw))
        return True


def seen(text: str, tag: str, times: int) -> tuple[str, ...]:
    """The values of drill `tag` that an answer shows, each as often as it is there; one that is there once is named `times` times."""
    counts: dict[str, int] = {}
    for value in re.findall(rf"drill-{tag}-\d{{6}}", text):
        counts[value] = counts.get(value, 0) + 1
    return tuple(value for value, count in counts.items() for _ in range(math.ceil(count / times)))


@dataclass(frozen=True, slots=True)
class _Found:
    """A good answer (2xx or 3xx)."""

    status: int
    text: str


class _Session:
    """Somebody who has entered: variables and cookies. `said` is what the last failure was, `ending` what it means for a write."""

    def __init__(self, key: str, target: Target, variables: dict[str, str]) -> None:
        self.key = key
        self.said = ""
        self.ending = Ending.FAILED
        self.cookie = ""
        self._target = target
        self._variables = variables
        self._steps: dict[int, ReadyStep] = {}
        # A connection for each request: no idle one that somebody closed can be the reason for a failure.
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=WITHIN_S),
        )

    def variable(self, name: str) -> str:
        """The value of a variable of the scenario."""
        return self._variables[name]

    async def close(self) -> None:
        """Let go of its connections."""
        await self._http.close()

    async def do(self, step: Step, more: dict[str, str]) -> _Found | None:
        """Send one request; None when it was not answered well."""
        self._variables |= more
        ready = self._steps.get(id(step))
        if ready is None:
            request = Request(step.method, step.path, step.headers, step.body.encode())
            ready = self._steps[id(step)] = ReadyStep(request, step.name, 0, self._target, step.keep)
        fields, body = ready.http2(self)
        headers = {name: value for name, value in fields if not name.startswith(":") and name != "content-length"}
        path = next(value for name, value in fields if name == ":path")
        url = URL(f"http://{self._target.authority}{path}", encoded=True)
        try:
            async with self._http.request(step.method, url, headers=headers, data=body or None) as answer:
                text = await answer.text(errors="replace")
        except aiohttp.ClientConnectorError as error:
            # Nothing was sent.
            self.said, self.ending = f"{step.name}: no connection ({error.strerror or error})", Ending.FAILED
            return None
        except _ERRORS as error:
            self.said, self.ending = f"{step.name}: {str(error) or 'no answer in time'}", Ending.UNKNOWN
            return None
        if answer.status >= 400:
            self.said = f"{step.name} is answered {answer.status}: {text[:200]}"
            self.ending = Ending.UNKNOWN if answer.status >= 500 else Ending.FAILED
            return None
        try:
            self._variables |= ready.kept(text.encode()) if ready.keeps else {}
        except Answer as error:
            self.said, self.ending = f"{step.name}: {error}", Ending.UNKNOWN
            return None
        return _Found(answer.status, text)


def writers_of(
    target: Target, scenario: Scenario | None, tell: Callable[[str], None] = lambda text: None
) -> Writers | None:
    """Writers for a scenario with a `check`; None without one. Raises `DrillRefused` when it can't be played."""
    if scenario is None or scenario.check is None:
        return None
    try:
        _ready(target, scenario.check)
    except LoadError as error:
        raise DrillRefused(f"the check of scenario {scenario.name} can't be played: {error}") from None
    return Writers(target, scenario, tell)


def _ready(target: Target, check: Check) -> None:
    for step in (*check.enter, check.write, check.read):
        ReadyStep(Request(step.method, step.path, step.headers, step.body.encode()), step.name, 0, target, step.keep)
