"""For those who run the app: health, a wait that measures concurrency, and a report that honestly takes its time."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crewboard.database import DatabaseAway
from crewboard.replies import RETRY_AFTER_S, number, reply
from crewboard.services import services, signed_in

WAIT_LIMIT_MS: Final = 10_000
# The report waits for a bookkeeping service of somebody else, which this example only imitates.
BOOKKEEPING_S: Final = 1.5


async def health(request: Request) -> Response:
    """GET /api/health: 200 if this instance can reach its database, which is asked for at most a second."""
    parts = services(request)
    about = {
        "instance": parts.settings.instance,
        "release": parts.settings.release,
        "region": parts.settings.region,
    }
    try:
        await parts.database.probe()
    except DatabaseAway:
        return reply({"status": "database away", **about}, 503, {"retry-after": str(RETRY_AFTER_S)})
    return reply({"status": "ok", **about})


async def wait(request: Request) -> Response:
    """GET /api/wait?ms=50: wait as for another service, then answer. Needs neither database nor CPU."""
    wait_ms = number(request, "ms", 50, 0, WAIT_LIMIT_MS)
    await asyncio.sleep(wait_ms / 1000)
    return reply({"waited_ms": wait_ms, "instance": services(request).settings.instance})


async def report(request: Request) -> Response:
    """GET /api/report?format=csv|json: open and finished tasks by project, and what bookkeeping says of them."""
    session = await signed_in(request)
    # No database connection is held meanwhile: a few reports would keep everybody else from theirs.
    await asyncio.sleep(BOOKKEEPING_S)
    async with services(request).database.connection() as connection:
        rows = await connection.fetch(
            "SELECT name AS project, count(task_id) FILTER (WHERE status <> 'done') AS open,"
            " count(task_id) FILTER (WHERE status = 'done') AS done"
            " FROM projects LEFT JOIN tasks USING (company_id, project_id)"
            " WHERE company_id = $1 GROUP BY company_id, project_id, name ORDER BY name, project_id LIMIT 1000",
            session.company_id,
        )
    if request.query_params.get("format") != "csv":
        return reply({"projects": [dict(row) for row in rows]})
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["project", "open", "done"])
    table.writerows([_plain(row["project"]), row["open"], row["done"]] for row in rows)
    return Response(
        text.getvalue(),
        media_type="text/csv",
        headers={"cache-control": "no-store", "content-disposition": 'attachment; filename="report.csv"'},
    )


def _plain(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


routes = [
    Route("/api/health", health),
    Route("/api/wait", wait),
    Route("/api/report", report),
]
