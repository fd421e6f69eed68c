"""Bad input gets a sentence, never a 500."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

PATHS = ["/api/login", "/api/projects", "/api/analysis", "/api/jobs"]
BAD_BODIES = {
    "empty": b"",
    "no JSON": b"name=Garden",
    "cut": b'{"name": "Gar',
    "binary": bytes(range(256)),
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "deep": b"[" * 30_000,
    "a list": b"[]",
    "null": b"null",
    "nothing": b"{}",
    "unknown field": b'{"name": "Garden", "company_id": 1}',
    "number for text": b'{"name": 7, "kind": 7, "url": 7, "company": 7}',
    "zero character": b'{"name": "a\\u0000b", "url": "http://a\\u0000b"}',
    "half a character": b'{"name": "\\ud800", "kind": "\\ud800", "url": "http://\\ud800"}',
    "too long": b'{"name": "' + b"x" * 201 + b'"}',
}


@pytest.fixture
def member(web: Any) -> Iterator[httpx.Client]:
    """Ada of Kite School."""
    with web.member("kite") as member:
        yield member


@pytest.mark.parametrize("path", PATHS)
def test_bad_bodies(member: httpx.Client, path: str) -> None:
    """Somebody sends what is no JSON, or JSON of another shape: 400 or 422 with a sentence."""
    for wrong, body in BAD_BODIES.items():
        answer = member.post(path, content=body)
        assert answer.status_code in (400, 422), (wrong, answer.status_code)
        assert answer.json()["error"].endswith("."), wrong


@pytest.mark.parametrize("path", PATHS)
def test_huge_bodies(member: httpx.Client, path: str) -> None:
    """Somebody sends 10 MB, announced or in pieces: 413 before it is all read, and the next request is served."""

    def pieces() -> Iterator[bytes]:
        for _ in range(160):
            yield b"x" * 65536

    for content in (b"x" * 10_000_000, pieces()):
        with suppress(httpx.WriteError):  # the app may hang up while we still send
            assert member.post(path, content=content).status_code == 413
        assert member.get("/api/wait?ms=0").status_code == 200


def test_bad_queries(member: httpx.Client) -> None:
    """Somebody asks for impossible pages, waits and sites: 422 with a sentence."""
    for query in [
        "/api/projects?limit=0",
        "/api/projects?limit=201",
        "/api/projects?limit=-1",
        "/api/projects?limit=1e9",
        "/api/projects?limit=%D9%A3",
        "/api/projects?before=x",
        "/api/wait?ms=-1",
        "/api/wait?ms=10001",
        "/api/wait?ms=99999999999999999999",
        "/api/analysis",
        "/api/analysis?url=file:///etc/passwd",
        "/api/analysis?url=http://a%00b",
        "/api/analysis?url=https://a.example&work=51",
        "/api/analysis?url=https://a.example&work=0",
    ]:
        answer = member.get(query)
        assert answer.status_code == 422, query
        assert answer.json()["error"].endswith("."), query


def test_bad_paths(member: httpx.Client) -> None:
    """Somebody asks for what is not there, or in a way that is not offered: 404 or 405."""
    assert member.get("/api/projects/1/tasks").status_code == 404
    assert member.get("/api/projects/%00/tasks").status_code == 404
    assert member.get("/api/jobs/../projects").status_code in (200, 404)
    assert member.get("/static/../settings.py").status_code == 404
    assert member.get("/static/%2e%2e/settings.py").status_code == 404
    assert member.get("/static/..%2fsettings.py").status_code == 404
    assert member.delete("/api/projects").status_code == 405


def test_bad_changes_and_jobs(member: httpx.Client) -> None:
    """Somebody changes a task to what can't be, or queues a job that nobody can do: 422 with a sentence."""
    project = member.get("/api/projects").json()["projects"][0]["project_id"]
    task = member.get(f"/api/projects/{project}/tasks").json()["tasks"][0]["task_id"]
    for change in ({}, {"status": "gone"}, {"title": None}, {"due_on": "tomorrow"}, {"company_id": 1}):
        assert member.patch(f"/api/projects/{project}/tasks/{task}", json=change).status_code == 422, change
    assert member.patch(f"/api/projects/{project}/tasks/{task}", json={"due_on": None}).json()["due_on"] is None
    for job in (
        {"kind": "dance"},
        {"kind": "wait", "args": {"ms": 10**9}},
        {"kind": "wait", "args": []},
        {"kind": "import_tasks"},
        {"kind": "import_tasks", "args": {"project_id": project, "titles": ["a\0b"]}},
    ):
        assert member.post("/api/jobs", json=job).status_code == 422, job
