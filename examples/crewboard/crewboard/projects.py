"""Projects, their tasks, and the dashboard that counts them. Every statement begins with the company."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crewboard.database import Connection
from crewboard.feed import News
from crewboard.replies import Line, Problem, page_of, parse, path_id, read_body, reply
from crewboard.services import services, signed_in
from crewboard.writes import Written, write_once

Status = Literal["todo", "doing", "done"]
BUSIEST_PROJECTS = 10


class NewProject(msgspec.Struct, forbid_unknown_fields=True):
    """A project to add."""

    name: Line


class NewTask(msgspec.Struct, forbid_unknown_fields=True):
    """A task to add."""

    title: Line
    status: Status = "todo"
    due_on: date | None = None


class TaskChange(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of a task; what is not named stays."""

    title: Line | msgspec.UnsetType = msgspec.UNSET
    status: Status | msgspec.UnsetType = msgspec.UNSET
    due_on: date | msgspec.UnsetType | None = msgspec.UNSET


async def list_projects(request: Request) -> Response:
    """GET /api/projects?before=&limit=: the company's projects, newest first."""
    session = await signed_in(request)
    before, limit = page_of(request)
    async with services(request).database.connection() as connection:
        rows = await connection.fetch(
            "SELECT project_id, name, created_at FROM projects"
            " WHERE company_id = $1 AND ($2::uuid IS NULL OR project_id < $2) ORDER BY project_id DESC LIMIT $3",
            session.company_id,
            before,
            limit,
        )
    return reply({"projects": [dict(row) for row in rows]})


async def add_project(request: Request) -> Response:
    """POST /api/projects."""
    session = await signed_in(request)
    body = await read_body(request)
    new = parse(body, NewProject)

    async def write(connection: Connection) -> Written:
        row = dict(
            await connection.fetchrow(
                "INSERT INTO projects (company_id, name, created_by) VALUES ($1, $2, $3)"
                " RETURNING project_id, name, created_at",
                session.company_id,
                new.name,
                session.user_id,
            )
        )
        return Written(row, news=News("project.added", row))

    return await write_once(request, session, body, write)


async def list_tasks(request: Request) -> Response:
    """GET /api/projects/{project_id}/tasks?before=&limit=: the project's tasks, newest first."""
    session = await signed_in(request)
    project_id = path_id(request, "project_id")
    before, limit = page_of(request)
    async with services(request).database.connection() as connection:
        rows = await connection.fetch(
            "SELECT task_id, project_id, title, status, due_on, created_at, updated_at FROM tasks"
            " WHERE company_id = $1 AND project_id = $2 AND ($3::uuid IS NULL OR task_id < $3)"
            " ORDER BY task_id DESC LIMIT $4",
            session.company_id,
            project_id,
            before,
            limit,
        )
        if not rows and not await connection.fetchval(
            "SELECT true FROM projects WHERE company_id = $1 AND project_id = $2", session.company_id, project_id
        ):
            raise Problem(404, "There is no such project.")
    return reply({"tasks": [dict(row) for row in rows]})


async def add_task(request: Request) -> Response:
    """POST /api/projects/{project_id}/tasks."""
    session = await signed_in(request)
    project_id = path_id(request, "project_id")
    body = await read_body(request)
    new = parse(body, NewTask)

    async def write(connection: Connection) -> Written:
        try:
            row = dict(
                await connection.fetchrow(
                    "INSERT INTO tasks (company_id, project_id, title, status, due_on) VALUES ($1, $2, $3, $4, $5)"
                    " RETURNING task_id, project_id, title, status, due_on, created_at, updated_at",
                    session.company_id,
                    project_id,
                    new.title,
                    new.status,
                    new.due_on,
                )
            )
        except asyncpg.ForeignKeyViolationError:
            raise Problem(404, "There is no such project.") from None
        return Written(row, news=News("task.added", row))

    return await write_once(request, session, body, write)


async def change_task(request: Request) -> Response:
    """PATCH /api/projects/{project_id}/tasks/{task_id}: the last change wins."""
    session = await signed_in(request)
    project_id, task_id = path_id(request, "project_id"), path_id(request, "task_id")
    body = await read_body(request)
    change: dict[str, Any] = msgspec.structs.asdict(parse(body, TaskChange))
    change = {column: value for column, value in change.items() if value is not msgspec.UNSET}
    if not change:
        raise Problem(422, "Name at least one of title, status, due_on.")
    settings = ", ".join(f"{column} = ${place}" for place, column in enumerate(change, start=4))

    async def write(connection: Connection) -> Written:
        row = await connection.fetchrow(
            f"UPDATE tasks SET {settings}, updated_at = now()"
            " WHERE company_id = $1 AND task_id = $2 AND project_id = $3"
            " RETURNING task_id, project_id, title, status, due_on, created_at, updated_at",
            session.company_id,
            task_id,
            project_id,
            *change.values(),
        )
        if row is None:
            raise Problem(404, "There is no such task in this project.")
        return Written(dict(row), status=200, news=News("task.changed", dict(row)))

    return await write_once(request, session, body, write)


async def dashboard(request: Request) -> Response:
    """GET /api/dashboard: how many projects and tasks, what is late, and where most is open."""
    session = await signed_in(request)
    async with services(request).database.connection() as connection:
        counts = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE status = 'todo') AS todo,"
            " count(*) FILTER (WHERE status = 'doing') AS doing,"
            " count(*) FILTER (WHERE status = 'done') AS done,"
            " count(*) FILTER (WHERE status <> 'done' AND due_on < current_date) AS late,"
            " (SELECT count(*) FROM projects WHERE company_id = $1) AS projects"
            " FROM tasks WHERE company_id = $1",
            session.company_id,
        )
        busiest = await connection.fetch(
            "SELECT project_id, name, open, done FROM projects JOIN ("
            "  SELECT company_id, project_id, count(*) FILTER (WHERE status <> 'done') AS open,"
            "  count(*) FILTER (WHERE status = 'done') AS done"
            "  FROM tasks WHERE company_id = $1 GROUP BY company_id, project_id"
            ") AS counted USING (company_id, project_id) ORDER BY open DESC, project_id LIMIT $2",
            session.company_id,
            BUSIEST_PROJECTS,
        )
    return reply({**dict(counts), "busiest": [dict(row) for row in busiest]})


routes = [
    Route("/api/projects", list_projects),
    Route("/api/projects", add_project, methods=["POST"]),
    Route("/api/projects/{project_id}/tasks", list_tasks),
    Route("/api/projects/{project_id}/tasks", add_task, methods=["POST"]),
    Route("/api/projects/{project_id}/tasks/{task_id}", change_task, methods=["PATCH"]),
    Route("/api/dashboard", dashboard),
]
