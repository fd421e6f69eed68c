"""The load that a row's harm is done under: a steady mix of idempotent GETs, and writes that are read back afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Self
from uuid import uuid4

import aiohttp

from bench.shop import Tell
from bench.table import Figure, Unmeasured, none_of, told
from tenfold.proof.load import LoadPlan, LoadResult, Mix, Outcome, Progress, RateCurve, Request, Target, run_apart

LONGEST_S = 1200.0
RATE_RPS = 160.0
CALM_S = 0.5
"""Between the last harm and the end of the load: what was under way then is answered."""


def browsing(cookie: str) -> Mix:
    """What people do who only look: most pages wait for something, some cost CPU, some read the database."""
    signed_in = (("cookie", cookie),)
    return Mix(
        (
            Request("GET", "/api/wait?ms=20", weight=50),
            Request("GET", "/", weight=25),
            Request("GET", "/api/analysis?url=https://crewboard.example/&work=1", weight=15),
            Request("GET", "/api/projects", signed_in, weight=10),
        )
    )


async def sign_in(target: Target) -> str:
    """The session cookie of one of Crewboard's users."""
    account = {"company": "aurora", "email": "ada@aurora.example", "password": "crewboard"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{target.authority}/api/login", json=account) as answer,
    ):
        await answer.read()
        cookie = answer.cookies.get("crewboard_session")
        if cookie is None:
            raise Unmeasured(f"nobody can sign in to Crewboard: {answer.status} {await answer.text()}")
        return f"crewboard_session={cookie.value}"


class Load:
    """A load that runs apart until `end`."""

    def __init__(self, plan: LoadPlan, tell: Tell) -> None:
        self._plan = plan
        self._tell = tell
        self._stop = asyncio.Event()
        self._task: asyncio.Task[LoadResult] | None = None
        self._progress: Progress | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(run_apart(self._plan, self._heard, self._stop))
        while self._progress is None:
            if self._task.done():
                self._task.result()
                raise Unmeasured("the load ended before it began")
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._stop.set()
        await asyncio.wait({self._task})

    @property
    def sent(self) -> int:
        """How many requests were sent so far; told each second."""
        return self._progress.sent if self._progress is not None else 0

    async def end(self) -> LoadResult:
        """Stop sending, and say what came of it."""
        assert self._task is not None
        await asyncio.sleep(CALM_S)
        self._stop.set()
        return await self._task

    async def whole(self) -> LoadResult:
        """Wait until the plan has been carried out."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    def _heard(self, progress: Progress) -> None:
        self._progress = progress
        if int(progress.elapsed_s) % 5 == 0:
            self._tell(
                f"load: {progress.sent:,} sent, {progress.failed} failed, p99 {progress.p99_ms or 0:.0f} ms, "
                f"{progress.in_flight} at hand"
            )


def steady(target: Target, mix: Mix, tell: Tell, rate_rps: float = RATE_RPS, seed: int = 1) -> Load:
    """`mix` at one rate until it is ended."""
    return Load(LoadPlan(target, RateCurve.steps((LONGEST_S, rate_rps)), mix, seed=seed), tell)


def failures(what: str, *results: LoadResult) -> Figure:
    """How many requests failed, strictly: 5xx, lost connections, timeouts, and refusals that nobody asked for."""
    failed = sum(r.failed + r.refused for r in results)
    return none_of(what, failed, f"{sum(r.answered + r.failed for r in results):,} requests", reasons(*results))


def reasons(*results: LoadResult) -> list[str]:
    """The kinds of failures, each with an example."""
    outcomes: Iterable[Outcome] = (o for r in results for o in r.outcomes if o.failed or o.kind.startswith("4"))
    return [
        f"{o.count} {o.kind}"
        + (f" ({e.request} at {e.due_s:.1f} s: {e.status or ''} {e.detail}".rstrip() + ")" if e else "")
        for o in outcomes
        for e in (o.examples[:1] or (None,))
    ]


def resent(*results: LoadResult) -> Figure:
    """How many were sent a second time because the edge had closed an idle connection; and whether the generator itself was hindered."""
    lag_ms = max((r.lag.p99_ms or 0.0 for r in results), default=0.0)
    doubt = (
        "" if all(r.valid for r in results) else ", so times by the client's clock are too long (the machine is busy)"
    )
    return told(
        "requests the client sent again",
        f"{sum(r.resent for r in results)}; it sent 99% within {lag_ms:.0f} ms of their time{doubt}",
    )


@dataclass(slots=True)
class Writes:
    """What a writer did: titles that were acknowledged and when (seconds since the epoch), how often it had to ask again, and the
    longest time to an acknowledgement."""

    acknowledged: set[str] = field(default_factory=set)
    acknowledged_at: list[float] = field(default_factory=list)
    repeated: int = 0
    longest_s: float = 0.0
    kept: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many were acknowledged and are not there."""
        return len(self.acknowledged - set(self.kept))

    @property
    def doubled(self) -> int:
        """How many are there more than once."""
        return len(self.kept) - len(set(self.kept))


def writes_kept(*writers: Writes) -> tuple[Figure, ...]:
    """Nothing acknowledged may be lost or be there twice."""
    acknowledged = sum(len(w.acknowledged) for w in writers)
    repeated, longest_s = sum(w.repeated for w in writers), max(w.longest_s for w in writers)
    return (
        none_of("acknowledged writes lost", sum(w.lost for w in writers), f"{acknowledged:,}"),
        none_of("writes done twice", sum(w.doubled for w in writers), f"{acknowledged:,}"),
        told("writes the client repeated with their key", f"{repeated}; the longest took {longest_s:.2f} s", repeated),
    )


@asynccontextmanager
async def writing(
    target: Target,
    cookie: str,
    rate_rps: float = 5.0,
    headers: Mapping[str, str] = MappingProxyType({}),
    within_s: float = 10.0,
) -> AsyncIterator[Writes]:
    """Adds tasks to a project of its own all the while, as a careful client does: a write that fails, or is not answered `within_s`, is
    asked for again with the same key until it is acknowledged. At the end everything is read back."""
    writes, stop = Writes(), asyncio.Event()
    url = f"http://{target.authority}/api/projects"
    # A connection for each, as many browsers have: no idle one can be the reason for a failure.
    async with aiohttp.ClientSession(
        headers={"cookie": cookie, **headers}, connector=aiohttp.TCPConnector(force_close=True)
    ) as session:
        async with session.post(url, json={"name": f"bench {uuid4().hex[:8]}"}) as answer:
            if answer.status != 201:
                raise Unmeasured(f"a project can't be added: {answer.status} {await answer.text()}")
            tasks_url = f"{url}/{(await answer.json())['project_id']}/tasks"
        sending = asyncio.create_task(_write(session, tasks_url, writes, stop, rate_rps, within_s))
        try:
            yield writes
            stop.set()
            await asyncio.wait_for(sending, 60.0)
            writes.kept = await _read_back(session, tasks_url)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _write(
    session: aiohttp.ClientSession, url: str, writes: Writes, stop: asyncio.Event, rate_rps: float, within_s: float
) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        await _write_once(session, url, f"task {number}", writes, within_s)
        await asyncio.sleep(1 / rate_rps)


async def _write_once(session: aiohttp.ClientSession, url: str, title: str, writes: Writes, within_s: float) -> None:
    key, since_s = {"idempotency-key": uuid4().hex}, time.monotonic()
    while True:
        try:
            async with session.post(
                url, json={"title": title}, headers=key, timeout=aiohttp.ClientTimeout(total=within_s)
            ) as answer:
                if answer.status == 201:
                    break
                if answer.status < 500:
                    raise Unmeasured(f"a write was refused: {answer.status} {await answer.text()}")
        except (aiohttp.ClientError, TimeoutError):
            pass
        writes.repeated += 1
        await asyncio.sleep(0.1)
    writes.acknowledged.add(title)
    writes.acknowledged_at.append(time.time())
    writes.longest_s = max(writes.longest_s, time.monotonic() - since_s)


async def _read_back(session: aiohttp.ClientSession, url: str) -> list[str]:
    kept: list[str] = []
    before = ""
    while True:
        query = {"limit": "100", **({"before": before} if before else {})}
        async with session.get(url, params=query) as answer:
            page = (await answer.json())["tasks"]
        if not page:
            return kept
        kept += [task["title"] for task in page]
        before = page[-1]["task_id"]
