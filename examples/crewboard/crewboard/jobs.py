"""The endpoints of jobs: put one into the queue, ask how it is doing."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crewboard import queue
from crewboard.database import Connection
from crewboard.kinds import KINDS
from crewboard.replies import Problem, parse, path_id, read_body, reply
from crewboard.services import services, signed_in
from crewboard.writes import Written, write_once


class NewJob(msgspec.Struct, forbid_unknown_fields=True):
    """A job to queue; `args` by kind."""

    kind: str
    args: dict[str, Any] = {}


async def put_job(request: Request) -> Response:
    """POST /api/jobs {"kind", "args"}: queue a job for a worker."""
    session = await signed_in(request)
    body = await read_body(request)
    new = parse(body, NewJob)
    kind = KINDS.get(new.kind)
    if kind is None:
        raise Problem(422, f"There is no such kind of job; use one of {', '.join(KINDS)}.")
    try:
        args = msgspec.convert(new.args, kind.args)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The args do not fit: {error}.") from error

    async def write(connection: Connection) -> Written:
        return Written(dict(await queue.put(connection, session.company_id, new.kind, args)), status=202)

    return await write_once(request, session, body, write)


async def show_job(request: Request) -> Response:
    """GET /api/jobs/{job_id}: state, attempts, result or error."""
    session = await signed_in(request)
    job_id = path_id(request, "job_id")
    async with services(request).database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT job_id, kind, state, attempts, result, error, created_at, finished_at"
            " FROM jobs WHERE company_id = $1 AND job_id = $2",
            session.company_id,
            job_id,
        )
    if row is None:
        raise Problem(404, "There is no such job.")
    result = msgspec.Raw(row["result"].encode()) if row["result"] else None
    return reply({**dict(row), "result": result})


routes = [
    Route("/api/jobs", put_job, methods=["POST"]),
    Route("/api/jobs/{job_id}", show_job),
]
