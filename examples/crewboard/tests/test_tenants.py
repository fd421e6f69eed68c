"""No company ever sees, changes or hears anything of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture
def attacker(web: Any) -> Iterator[httpx.Client]:
    """Ada of Boreal Bank, who is after Aurora Airlines."""
    with web.member("boreal") as member:
        yield member


@pytest.fixture
def victim(web: Any) -> Iterator[httpx.Client]:
    """Ada of Aurora Airlines."""
    with web.member("aurora") as member:
        yield member


def test_other_companies_ids_name_nothing(victim: httpx.Client, attacker: httpx.Client) -> None:
    """Boreal uses Aurora's ids in every path: each is answered 404, as an id that never was, and changes nothing."""
    project = victim.get("/api/projects").json()["projects"][0]["project_id"]
    task = victim.get(f"/api/projects/{project}/tasks").json()["tasks"][0]
    before = victim.get(f"/api/projects/{project}/tasks").text
    mine = attacker.get("/api/projects").json()["projects"][0]["project_id"]
    attempts = [
        attacker.get(f"/api/projects/{project}/tasks"),
        attacker.post(f"/api/projects/{project}/tasks", json={"title": "Mine now"}),
        attacker.patch(f"/api/projects/{project}/tasks/{task['task_id']}", json={"status": "done"}),
        attacker.patch(f"/api/projects/{mine}/tasks/{task['task_id']}", json={"status": "done"}),
    ]
    assert [attempt.status_code for attempt in attempts] == [404] * 4
    assert not any(task["title"] in attempt.text for attempt in attempts)
    assert victim.get(f"/api/projects/{project}/tasks").text == before


def test_other_companies_jobs_are_invisible(victim: httpx.Client, attacker: httpx.Client) -> None:
    """Boreal asks for Aurora's job: there is no such job."""
    job = victim.post("/api/jobs", json={"kind": "digest"}).json()["job_id"]
    assert victim.get(f"/api/jobs/{job}").status_code == 200
    assert attacker.get(f"/api/jobs/{job}").status_code == 404


def test_lists_and_counts_are_apart(world: Any, victim: httpx.Client, attacker: httpx.Client) -> None:
    """Both list and count what they have: nothing is in both, and the counts are those of the database."""
    lists = [
        {item["project_id"] for item in who.get("/api/projects?limit=200").json()["projects"]}
        for who in (victim, attacker)
    ]
    assert lists[0] and lists[1] and not lists[0] & lists[1]
    for company_id, who in ((1, victim), (2, attacker)):
        board = who.get("/api/dashboard").json()
        [(tasks,)] = world.query("SELECT count(*) FROM tasks WHERE company_id = %s", company_id)
        assert board["todo"] + board["doing"] + board["done"] == tasks
        assert {item["project_id"] for item in board["busiest"]} <= lists[company_id - 1]


@pytest.mark.parametrize("claimed", ["1", "02", "2 1", "2;1", "", "aurora"])
def test_x_company_can_only_agree(attacker: httpx.Client, claimed: str) -> None:
    """Boreal says in x-company that it is somebody else: refused, whatever it says; the truth passes."""
    assert attacker.get("/api/projects", headers={"x-company": claimed}).status_code == 403
    assert attacker.get("/api/projects", headers={"x-company": "2"}).status_code == 200


def test_x_company_without_session_opens_nothing(web: Any) -> None:
    """A visitor sends only x-company: 401."""
    with web.visitor() as visitor:
        assert visitor.get("/api/projects", headers={"x-company": "1"}).status_code == 401


def test_idempotency_keys_are_apart(victim: httpx.Client, attacker: httpx.Client) -> None:
    """Boreal repeats Aurora's idempotency key and body: it gets a project of its own, not Aurora's answer."""
    headers = {"idempotency-key": "shared-between-companies"}
    first = victim.post("/api/projects", json={"name": "Secret"}, headers=headers)
    second = attacker.post("/api/projects", json={"name": "Secret"}, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["project_id"] != second.json()["project_id"]


def test_idempotency_keys_of_colleagues_are_apart(web: Any, victim: httpx.Client) -> None:
    """Ben repeats Ada's key: he is told to use another, and does not see her answer."""
    headers = {"idempotency-key": "shared-between-colleagues"}
    victim.post("/api/projects", json={"name": "Hers"}, headers=headers).raise_for_status()
    with web.member("aurora", "ben") as colleague:
        answer = colleague.post("/api/projects", json={"name": "Hers"}, headers=headers)
        assert answer.status_code == 422
        assert "Hers" not in answer.text


def test_every_endpoint_asks_who(web: Any) -> None:
    """A visitor tries everything that belongs to a company: 401 each time, with a good body or with a bad one."""
    some_id = "0199a000-0000-7000-8000-000000000001"
    with web.visitor() as visitor:
        for method, path in [
            ("GET", "/api/me"),
            ("GET", "/api/projects"),
            ("POST", "/api/projects"),
            ("GET", f"/api/projects/{some_id}/tasks"),
            ("POST", f"/api/projects/{some_id}/tasks"),
            ("PATCH", f"/api/projects/{some_id}/tasks/{some_id}"),
            ("GET", "/api/dashboard"),
            ("POST", "/api/analysis"),
            ("GET", "/api/report"),
            ("POST", "/api/jobs"),
            ("GET", f"/api/jobs/{some_id}"),
        ]:
            assert visitor.request(method, path, content=b"{").status_code == 401, path
