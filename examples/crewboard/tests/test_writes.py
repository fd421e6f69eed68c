"""What was acknowledged is there, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx


def test_the_same_write_twice_is_one(web: Any, other_web: Any, world: Any) -> None:
    """An answer gets lost and the client tries again, at another instance: the same answer, one row."""
    with web.member("garnet") as member, other_web.member("garnet") as again:
        headers = {"idempotency-key": "twice"}
        first = member.post("/api/projects", json={"name": "Greenhouse"}, headers=headers)
        second = again.post("/api/projects", json={"name": "Greenhouse"}, headers=headers)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"
        assert world.query("SELECT count(*) FROM projects WHERE name = 'Greenhouse'") == [(1,)]
        other = member.post("/api/projects", json={"name": "Orchard"}, headers=headers)
        assert other.status_code == 422


def test_the_same_write_at_once_is_one(web: Any, world: Any) -> None:
    """Eight tries of one write arrive together: all get the same answer, and there is one row."""
    with web.member("garnet") as member, ThreadPoolExecutor(8) as threads:
        project = member.get("/api/projects").json()["projects"][0]["project_id"]

        def try_it(_: int) -> httpx.Response:
            path, headers = f"/api/projects/{project}/tasks", {"idempotency-key": "at-once"}
            answer: httpx.Response = member.post(path, json={"title": "Water the roses"}, headers=headers)
            return answer

        answers = list(threads.map(try_it, range(8)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["task_id"] for answer in answers}) == 1
        assert world.query("SELECT count(*) FROM tasks WHERE title = 'Water the roses'") == [(1,)]


def test_a_refused_write_leaves_its_key_free(web: Any) -> None:
    """A write is refused: its key was not used up, and works for the write that is right."""
    with web.member("garnet") as member:
        headers = {"idempotency-key": "refused-first"}
        nowhere = "/api/projects/0199a000-0000-7000-8000-000000000001/tasks"
        assert member.post(nowhere, json={"title": "Prune"}, headers=headers).status_code == 404
        assert member.post("/api/projects", json={"name": "Hedges"}, headers=headers).status_code == 201


def test_bad_keys_are_refused(web: Any) -> None:
    """A key is empty, too long or has spaces: 400, and nothing is written."""
    with web.member("garnet") as member:
        for key in ("", "x" * 201, "two words"):
            answer = member.post("/api/projects", json={"name": "Never"}, headers={"idempotency-key": key})
            assert answer.status_code == 400, key
        assert "Never" not in member.get("/api/projects").text


def test_pages_show_everything_once(web: Any) -> None:
    """A member walks through the tasks page by page: each is seen once, newest first."""
    with web.member("lumen") as member:
        project = member.post("/api/projects", json={"name": "Long"}).json()["project_id"]
        path = f"/api/projects/{project}/tasks"
        made = [member.post(path, json={"title": f"Task {number}"}).json()["task_id"] for number in range(7)]
        seen: list[str] = []
        while page := member.get(path, params={"limit": "3", **({"before": seen[-1]} if seen else {})}).json()["tasks"]:
            seen += [task["task_id"] for task in page]
        assert seen == made[::-1]
