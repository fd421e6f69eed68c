"""The database goes away and comes back: 503 meanwhile, and afterwards everything goes on by itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LOST_WHILE_LENT = """
import asyncio, os
from crewboard.database import Database, DatabaseAway, connect

async def main():
    database, other = Database(os.environ["DATABASE_URL"]), await connect(os.environ["DATABASE_URL"])
    await database.start()
    try:
        async with database.connection() as lent:
            await other.execute("SELECT pg_terminate_backend($1)", await lent.fetchval("SELECT pg_backend_pid()"))
            while True:
                await asyncio.sleep(0.1)
                await lent.fetchval("SELECT 1")
    except DatabaseAway as away:
        print(f"away: {away}")

asyncio.run(main())
"""


def test_database_restart(world: Any, web: Any, patiently: Callable[..., Any]) -> None:
    """The database restarts under the app and a worker: 503 with retry-after, no traceback, then all is well."""
    worker = world.start_worker("worker-outage")
    with web.member("juniper") as member:
        member.post("/api/projects", json={"name": "Kept"}).raise_for_status()
        world.postgres.stop()
        try:
            for answer in (
                member.get("/api/projects"),
                member.post("/api/projects", json={"name": "Refused"}, headers={"idempotency-key": "outage"}),
                member.get("/api/dashboard"),
                member.get("/api/health"),
            ):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
            patiently(lambda: "trying again in" in worker.log.read_text(), "the worker notices")
        finally:
            world.postgres.start()
        patiently(web.is_healthy, "the app is healthy again")
        again = member.post("/api/projects", json={"name": "Refused"}, headers={"idempotency-key": "outage"})
        assert again.status_code == 201
        assert "Kept" in member.get("/api/projects").text
        job = member.post("/api/jobs", json={"kind": "digest"}).json()["job_id"]
        patiently(lambda: member.get(f"/api/jobs/{job}").json()["state"] == "done", "the worker is back")
    assert worker.end() == 0
    assert "Traceback" not in worker.log.read_text()
    assert "Traceback" not in web.process.log.read_text()


def test_a_connection_that_is_lost_while_it_is_lent(world: Any) -> None:
    """The database ends a connection between two questions of a request: it is away then, and nobody made a mistake."""
    ended = world.run_python(LOST_WHILE_LENT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("away: InterfaceError"), ended.stdout


def test_frozen_database(world: Any, web: Any, patiently: Callable[..., Any]) -> None:
    """The database hangs: health says so, requests end with 503 and do not pile up, and all is well when it wakes."""
    with web.member("juniper") as member, ThreadPoolExecutor(21) as threads:
        with world.postgres.frozen():
            health = threads.submit(member.get, "/api/health")
            answers = list(threads.map(lambda _: member.get("/api/projects"), range(20)))
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.headers["retry-after"] for answer in answers} == {"1"}
            assert health.result().json()["status"] == "database away"
        patiently(web.is_healthy, "the app is healthy again")
        patiently(lambda: member.get("/api/projects").status_code == 200, "requests are answered again")
    assert "Traceback" not in web.process.log.read_text()
