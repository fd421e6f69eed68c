"""The queue table: how a job is put, claimed, kept alive and finished. Each step is one statement.

queued --claim--> running --finish--> done
   ^                 |
   |                 +--attempt failed, or the lease ran out, fewer than ATTEMPTS_LIMIT--> queued
   |                 +--the same, at the limit--> failed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from crewboard.database import Connection, Row

CHANNEL: Final = "crewboard_jobs"
ATTEMPTS_LIMIT: Final = 5
# A worker renews its lease several times in this span; one that died loses its job after it.
LEASE_S: Final = 3.0
RETRY_FIRST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job."""

    company_id: int
    job_id: UUID
    kind: str
    args: str
    """JSON, as it was checked when the job was put."""
    attempt: int
    """1 for the first attempt; only the present attempt may finish the job."""


class LeaseLost(Exception):
    """Another worker has this job now; nothing that this attempt wrote may stay."""


async def put(connection: Connection, company_id: int, kind: str, args: msgspec.Struct) -> Row:
    """Queue a job, in the caller's transaction, and wake a worker when that commits."""
    row = await connection.fetchrow(
        "INSERT INTO jobs (company_id, kind, args) VALUES ($1, $2, $3) RETURNING job_id, kind, state, created_at",
        company_id,
        kind,
        msgspec.json.encode(args).decode(),
    )
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
    return row


async def claim(connection: Connection) -> Job | None:
    """Take the job that has been due longest, for LEASE_S; None if none is due."""
    row = await connection.fetchrow(
        "WITH next AS MATERIALIZED ("
        "  SELECT company_id, job_id FROM jobs WHERE state IN ('queued', 'running') AND due_at <= clock_timestamp()"
        "  ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " UPDATE jobs SET state = 'running', attempts = attempts + 1, due_at = clock_timestamp() + $1 * interval '1 s'"
        " FROM next WHERE jobs.company_id = next.company_id AND jobs.job_id = next.job_id"
        " RETURNING jobs.company_id, jobs.job_id, kind, args, attempts",
        LEASE_S,
    )
    return Job(*row.values()) if row else None


async def renew(connection: Connection, job: Job) -> None:
    """Extend the lease. Raises LeaseLost."""
    await _change(connection, job, "due_at = clock_timestamp() + $4 * interval '1 s'", LEASE_S)


async def finish(connection: Connection, job: Job, result: Any) -> None:
    """Mark the job done, in the transaction of what it wrote. Raises LeaseLost."""
    await _change(
        connection,
        job,
        "state = 'done', finished_at = now(), error = NULL, result = $4",
        msgspec.json.encode(result).decode(),
    )


async def fail(connection: Connection, job: Job, error: str) -> bool:
    """Note that this attempt failed and say whether there will be another. Raises LeaseLost."""
    if job.attempt >= ATTEMPTS_LIMIT:
        await _change(connection, job, "state = 'failed', finished_at = now(), error = $4", error)
        return False
    delay_s = RETRY_FIRST_S * 2 ** (job.attempt - 1)
    await _change(
        connection,
        job,
        "state = 'queued', error = $4, due_at = clock_timestamp() + $5 * interval '1 s'",
        error,
        delay_s,
    )
    return True


async def _change(connection: Connection, job: Job, settings: str, *values: Any) -> None:
    """Change the job if this attempt is still the present one. Raises LeaseLost."""
    status = await connection.execute(
        f"UPDATE jobs SET {settings} WHERE company_id = $1 AND job_id = $2 AND attempts = $3 AND state = 'running'",
        job.company_id,
        job.job_id,
        job.attempt,
        *values,
    )
    if status != "UPDATE 1":
        raise LeaseLost(f"job {job.job_id} was taken over")
