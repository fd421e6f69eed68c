"""The kinds of jobs: what each takes, what it does, what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import msgspec

from crewboard.database import Connection
from crewboard.replies import Line

WAIT_LIMIT_MS: Final = 30_000
IMPORT_LIMIT: Final = 500

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job found, and the statement that writes it down, run in the transaction that marks the job done.

    So what a job writes is written once, however often the job is tried.
    """

    result: Any
    statement: str | None = None
    values: tuple[Any, ...] = ()


class ImportTasks(msgspec.Struct, forbid_unknown_fields=True):
    """Add many tasks to a project."""

    project_id: UUID
    titles: Annotated[list[Line], msgspec.Meta(min_length=1, max_length=IMPORT_LIMIT)]


class Digest(msgspec.Struct, forbid_unknown_fields=True):
    """Count the company's tasks."""


class Wait(msgspec.Struct, forbid_unknown_fields=True):
    """Wait, as a job would for somebody else's service."""

    ms: Annotated[int, msgspec.Meta(ge=0, le=WAIT_LIMIT_MS)] = 1000


async def import_tasks(connection: Connection, company_id: int, args: ImportTasks) -> Outcome:
    """Add the tasks, all or none."""
    return Outcome(
        {"imported": len(args.titles)},
        "INSERT INTO tasks (company_id, project_id, title) SELECT $1, $2, unnest($3::text[])",
        (company_id, args.project_id, args.titles),
    )


async def digest(connection: Connection, company_id: int, args: Digest) -> Outcome:
    """Count by status."""
    rows = await connection.fetch(
        "SELECT status, count(*) FROM tasks WHERE company_id = $1 GROUP BY status", company_id
    )
    return Outcome({"todo": 0, "doing": 0, "done": 0} | dict(rows))


async def wait(connection: Connection, company_id: int, args: Wait) -> Outcome:
    """Wait, and hold nothing meanwhile."""
    await asyncio.sleep(args.ms / 1000)
    return Outcome({"waited_ms": args.ms})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: the shape of what it takes, and what does it."""

    args: type[msgspec.Struct]
    run: Callable[[Connection, int, Any], Awaitable[Outcome]]


KINDS: Final = {
    "import_tasks": Kind(ImportTasks, import_tasks),
    "digest": Kind(Digest, digest),
    "wait": Kind(Wait, wait),
}
