"""`python -m crewboard.nightly`: once a night, write the companies' summaries of the day and forget what is old.

Each run leaves one row in `nightly_runs`, whatever becomes of it: who starts it twice can be found out.
"""

from __future__ import annotations

import asyncio
import sys
import time

from crewboard.database import Connection, DatabaseAway, away_as_one_error, connect
from crewboard.settings import read_settings

KEYS_KEPT_DAYS = 7
JOBS_KEPT_DAYS = 30


async def nightly(connection: Connection, instance: str) -> str:
    """Do the night's work and return what to say about it. Raises DatabaseAway."""
    began_s = time.monotonic()
    async with away_as_one_error():
        run_id = await connection.fetchval("INSERT INTO nightly_runs (instance) VALUES ($1) RETURNING run_id", instance)
        async with connection.transaction():
            summaries = await connection.execute(
                "INSERT INTO daily_summaries (company_id, day, todo, doing, done)"
                " SELECT company_id, current_date, count(*) FILTER (WHERE status = 'todo'),"
                " count(*) FILTER (WHERE status = 'doing'), count(*) FILTER (WHERE status = 'done')"
                " FROM companies LEFT JOIN tasks USING (company_id) GROUP BY company_id"
                " ON CONFLICT (company_id, day)"
                " DO UPDATE SET todo = excluded.todo, doing = excluded.doing, done = excluded.done"
            )
            keys = await connection.execute(
                "DELETE FROM idempotency_keys WHERE created_at < now() - $1 * interval '1 day'", KEYS_KEPT_DAYS
            )
            jobs = await connection.execute(
                "DELETE FROM jobs WHERE finished_at < now() - $1 * interval '1 day'", JOBS_KEPT_DAYS
            )
            await connection.execute(
                "UPDATE nightly_runs SET finished_at = clock_timestamp() WHERE run_id = $1", run_id
            )
    companies, old_keys, old_jobs = (status.rpartition(" ")[2] for status in (summaries, keys, jobs))
    return (
        f"nightly: run {run_id} summed up {companies} companies, forgot {old_keys} keys and {old_jobs} jobs"
        f" ({(time.monotonic() - began_s) * 1000:.0f} ms)"
    )


async def _main() -> int:
    settings = read_settings()
    try:
        connection = await connect(settings.database_url, command_timeout_s=None)
        try:
            print(await nightly(connection, settings.instance))
        finally:
            connection.terminate()
    except DatabaseAway as error:
        print(f"nightly: the database can't be reached ({error}); nothing is lost, run it again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
