"""`python -m crewboard.worker`: do the queued jobs, one at a time.

On SIGTERM it finishes the job at hand and ends. If it is killed, its job's lease runs out and another worker does the
job. If the database goes away, it comes back when the database does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
from contextlib import suppress
from typing import Final

import asyncpg
import msgspec

from crewboard import queue
from crewboard.database import Connection, DatabaseAway, away_as_one_error, connect
from crewboard.feed import Feed, News
from crewboard.kinds import KINDS
from crewboard.queue import Job, LeaseLost
from crewboard.settings import Settings, read_settings, start_logging

# A notification wakes the worker at once; the clock is for retries, expired leases and notifications that got lost.
POLL_S: Final = 0.5
RENEW_S: Final = queue.LEASE_S / 4
JOB_TIMEOUT_S: Final = 60.0
RECONNECT_FIRST_S: Final = 0.1
RECONNECT_LAST_S: Final = 5.0

log = logging.getLogger("crewboard.worker")


class Worker:
    """Claims jobs and does them until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._feed = Feed(settings.valkey_url)
        self._stopping = False
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """Finish the job at hand, then end."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until stopped; over any absence of the database."""
        delay_s = RECONNECT_FIRST_S
        while not self._stopping:
            try:
                control = await connect(self._settings.database_url)
                try:
                    work = await connect(self._settings.database_url)
                    try:
                        log.info("worker %s is ready", self._settings.instance)
                        delay_s = RECONNECT_FIRST_S
                        await self._work(control, work)
                    finally:
                        work.terminate()
                finally:
                    control.terminate()
            except DatabaseAway as error:
                pause_s = delay_s * random.uniform(0.5, 1.5)
                log.warning("the database is away (%s); trying again in %.1f s", error, pause_s)
                await self._rest(pause_s)
                delay_s = min(2 * delay_s, RECONNECT_LAST_S)
        await self._feed.stop()

    async def _work(self, control: Connection, work: Connection) -> None:
        """Do jobs while the database is there. Raises DatabaseAway."""
        async with away_as_one_error():
            await control.add_listener(queue.CHANNEL, lambda *_: self._wake.set())
        while not self._stopping:
            self._wake.clear()
            async with away_as_one_error():
                job = await queue.claim(control)
            if job is None:
                await self._rest(POLL_S)
            else:
                await self._perform(job, control, work)

    async def _rest(self, longest_s: float) -> None:
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), longest_s)

    async def _perform(self, job: Job, control: Connection, work: Connection) -> None:
        """Do one job while its lease is renewed on the other connection. Raises DatabaseAway."""
        doing = asyncio.create_task(self._attempt(job, work))
        renewing = asyncio.create_task(self._keep_lease(job, control))
        await asyncio.wait([doing, renewing], return_when=asyncio.FIRST_COMPLETED)
        for task in (doing, renewing):
            task.cancel()
        error, lease_error = await asyncio.gather(doing, renewing, return_exceptions=True)
        for end in (error, lease_error):
            if isinstance(end, DatabaseAway):
                raise end
            if isinstance(end, LeaseLost):
                log.warning("%s; what this attempt did was undone", end)
                return
        if not isinstance(error, Exception):
            log.info("job %s (%s) is done", job.job_id, job.kind)
            await self._feed.publish(job.company_id, News("job.done", {"job_id": job.job_id, "kind": job.kind}))
            return
        await self._note_failure(job, error, control)

    async def _note_failure(self, job: Job, error: Exception, control: Connection) -> None:
        reason = "took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        try:
            async with away_as_one_error():
                again = await queue.fail(control, job, reason)
        except LeaseLost:
            return
        after = "it will be tried again" if again else "it was given up"
        log.warning("job %s (%s), attempt %d: %s; %s", job.job_id, job.kind, job.attempt, reason, after)
        if not again:
            await self._feed.publish(job.company_id, News("job.failed", {"job_id": job.job_id, "kind": job.kind}))

    async def _attempt(self, job: Job, work: Connection) -> None:
        """Run the job and write its outcome, once. Raises LeaseLost, DatabaseAway, or whatever the job raises."""
        if job.attempt > queue.ATTEMPTS_LIMIT:
            raise RuntimeError("every attempt ended with its worker")
        kind = KINDS[job.kind]
        async with asyncio.timeout(JOB_TIMEOUT_S):
            async with away_as_one_error():
                outcome = await kind.run(work, job.company_id, msgspec.json.decode(job.args, type=kind.args))
                async with work.transaction():
                    await queue.finish(work, job, outcome.result)
                    if outcome.statement:
                        await work.execute(outcome.statement, *outcome.values)

    async def _keep_lease(self, job: Job, control: Connection) -> None:
        """Renew the lease for as long as the job runs. Raises LeaseLost, DatabaseAway."""
        while True:
            await asyncio.sleep(RENEW_S)
            async with away_as_one_error():
                await queue.renew(control, job)


async def _main() -> int:
    settings = read_settings()
    start_logging(settings)
    worker = Worker(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    try:
        await worker.run()
    except asyncpg.UndefinedTableError:
        log.error("the database has no tables yet; run python -m crewboard.migrate first")
        return 1
    log.info("worker %s has stopped", settings.instance)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
