"""The worker and its queue: every job is done, once, whatever happens to workers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture
def member(web: Any) -> Iterator[httpx.Client]:
    """Ben of Fjord Films, whom nothing else here writes for."""
    with web.member("fjord", "ben") as member:
        yield member


@pytest.fixture
def worker(world: Any) -> Iterator[Any]:
    """A worker."""
    worker = world.start_worker("worker-1")
    yield worker
    worker.end()


def put(member: httpx.Client, kind: str, **args: Any) -> str:
    """Queue a job and return its id."""
    answer = member.post("/api/jobs", json={"kind": kind, "args": args})
    assert answer.status_code == 202
    job_id: str = answer.json()["job_id"]
    return job_id


def state(member: httpx.Client, job_id: str) -> dict[str, Any]:
    """Ask how a job is doing."""
    answer: dict[str, Any] = member.get(f"/api/jobs/{job_id}").json()
    return answer


def test_jobs_are_done(member: httpx.Client, worker: Any, patiently: Callable[..., Any]) -> None:
    """A member queues a job of each kind: each is done at the first attempt, and leaves what it should."""
    project = member.post("/api/projects", json={"name": "Imported"}).json()["project_id"]
    jobs = [
        put(member, "import_tasks", project_id=project, titles=["Cast", "Shoot", "Cut"]),
        put(member, "digest"),
        put(member, "wait", ms=10),
    ]
    patiently(lambda: all(state(member, job)["state"] == "done" for job in jobs), "all jobs are done")
    states = [state(member, job) for job in jobs]
    assert [each["attempts"] for each in states] == [1, 1, 1]
    assert states[0]["result"] == {"imported": 3}
    assert set(states[1]["result"]) == {"todo", "doing", "done"}
    titles = {task["title"] for task in member.get(f"/api/projects/{project}/tasks").json()["tasks"]}
    assert titles == {"Cast", "Shoot", "Cut"}


def test_killed_worker_loses_nothing(world: Any, member: httpx.Client, patiently: Callable[..., Any]) -> None:
    """A worker is killed in the middle of a job: another one does the job when the lease has run out, once."""
    doomed = world.start_worker("worker-doomed")
    job = put(member, "wait", ms=20_000)
    patiently(lambda: state(member, job)["state"] == "running", "the job is running")
    doomed.end(signal.SIGKILL)
    world.query("UPDATE jobs SET args = '{\"ms\": 1}' WHERE job_id = %s", job)
    heir = world.start_worker("worker-heir")
    patiently(lambda: state(member, job)["state"] == "done", "the job is done")
    assert state(member, job)["attempts"] == 2
    assert heir.end() == 0


def test_frozen_worker_cannot_finish_twice(world: Any, member: httpx.Client, patiently: Callable[..., Any]) -> None:
    """A worker freezes in the middle of a job and wakes after another has done it: its late attempt leaves nothing."""
    project = member.post("/api/projects", json={"name": "Frozen"}).json()["project_id"]
    sleeper = world.start_worker("worker-sleeper")
    wait = put(member, "wait", ms=6000)
    patiently(lambda: state(member, wait)["state"] == "running", "the job is running")
    sleeper.send(signal.SIGSTOP)
    world.query("UPDATE jobs SET kind = 'import_tasks', args = %s WHERE job_id = %s",
                f'{{"project_id": "{project}", "titles": ["Only once"]}}', wait)  # fmt: skip
    heir = world.start_worker("worker-second")
    patiently(lambda: state(member, wait)["state"] == "done", "the job is done")
    sleeper.send(signal.SIGCONT)
    patiently(lambda: "was taken over" in sleeper.log.read_text(), "the sleeper notices")
    assert len(member.get(f"/api/projects/{project}/tasks").json()["tasks"]) == 1
    assert state(member, wait)["result"] == {"imported": 1}
    assert (sleeper.end(), heir.end()) == (0, 0)


def test_sigterm_finishes_the_job_at_hand(world: Any, member: httpx.Client, patiently: Callable[..., Any]) -> None:
    """A worker is told to stop in the middle of a job: it finishes that one, takes no other, and ends well."""
    worker = world.start_worker("worker-leaving")
    at_hand, next_one = put(member, "wait", ms=4000), put(member, "wait", ms=0)
    patiently(lambda: state(member, at_hand)["state"] == "running", "the job is running")
    worker.send(signal.SIGTERM)
    assert worker.exit_status() == 0
    assert state(member, at_hand)["state"] == "done"
    assert state(member, next_one)["state"] == "queued"
    world.query("DELETE FROM jobs WHERE job_id = %s", next_one)


def test_hopeless_job_is_given_up(
    world: Any, web: Any, member: httpx.Client, worker: Any, patiently: Callable[..., Any]
) -> None:
    """A job wants to write into another company's project: it fails, is tried again, and at the fifth time given up."""
    with web.member("aurora") as victim:
        project = victim.get("/api/projects").json()["projects"][0]["project_id"]
        before = victim.get(f"/api/projects/{project}/tasks").text
        job = put(member, "import_tasks", project_id=project, titles=["Smuggled"])
        patiently(lambda: state(member, job)["error"], "the first attempt failed")
        assert state(member, job)["state"] in ("queued", "running")
        world.query("UPDATE jobs SET attempts = 4, due_at = now() WHERE job_id = %s", job)
        patiently(lambda: state(member, job)["state"] == "failed", "the job is given up")
        assert victim.get(f"/api/projects/{project}/tasks").text == before


def test_many_workers_share_the_queue(world: Any, member: httpx.Client, patiently: Callable[..., Any]) -> None:
    """Two workers find forty jobs: all are done, each at its first attempt."""
    workers = [world.start_worker(f"worker-{name}") for name in "ab"]
    jobs = [put(member, "wait", ms=1) for _ in range(40)]
    patiently(lambda: all(state(member, job)["state"] == "done" for job in jobs), "all jobs are done")
    assert {state(member, job)["attempts"] for job in jobs} == {1}
    assert [worker.end() for worker in workers] == [0, 0]
