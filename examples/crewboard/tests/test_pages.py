"""The page, the endpoints of operations, and the analysis that anybody may ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

APP = Path(__file__).parents[1]


def test_page_names_files_that_exist(web: Any) -> None:
    """A person opens the page: every file that it names is served, and may be kept for a day."""
    with web.visitor() as visitor:
        page = visitor.get("/")
        assert page.status_code == 200
        assert "max-age=60" in page.headers["cache-control"]
        files = set(re.findall(r'/static/[^"]+', page.text))
        assert len(files) == 3
        for file in files:
            answer = visitor.get(file)
            assert answer.status_code == 200, file
            assert "max-age=86400" in answer.headers["cache-control"]


def test_health_says_who_answers(web: Any) -> None:
    """An operator asks for health: the answer names instance, release and region, and so does every answer's header."""
    with web.visitor() as visitor:
        answer = visitor.get("/api/health")
        assert answer.json() == {"status": "ok", "instance": "web-1", "release": "r7", "region": "eu"}
        assert answer.headers["x-served-by"] == "web-1; release=r7; region=eu"
        assert visitor.get("/no/such/page").headers["x-served-by"].startswith("web-1;")


def test_analysis_is_the_same_for_everybody(web: Any) -> None:
    """Two visitors ask for the same site: they get the same result, and the way between may keep it a while."""
    with web.visitor() as visitor:
        query = {"url": "https://example.org/a", "work": 5}
        first, second = (visitor.get("/api/analysis", params=query) for _ in range(2))
        assert first.json() == second.json()
        assert first.json()["pages"] == 5
        assert first.json()["words"] > 1000
        assert first.headers["cache-control"] == "public, max-age=60"


def test_member_keeps_an_analysis(web: Any, world: Any) -> None:
    """A member analyses a site: the company keeps the result."""
    with web.member("cobalt") as member:
        answer = member.post("/api/analysis", json={"url": "https://example.org", "work": 2})
        assert answer.status_code == 201
        kept = world.query("SELECT company_id, url FROM analyses WHERE analysis_id = %s", answer.json()["analysis_id"])
        assert kept == [(3, "https://example.org")]


def test_report_takes_its_time(web: Any) -> None:
    """A member asks for the report: it takes a second and a half, and comes as JSON or as a table."""
    with web.member("harbor") as member:
        member.post("/api/projects", json={"name": "=1+1"}).raise_for_status()
        with ThreadPoolExecutor(2) as threads:
            answer, same = threads.map(member.get, ["/api/report?format=csv", "/api/report"])
        assert min(answer.elapsed, same.elapsed) >= timedelta(seconds=1.5)
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.text.splitlines()[0] == "project,open,done"
        assert "'=1+1,0,0" in answer.text.splitlines()
        assert {"project": "=1+1", "open": 0, "done": 0} in same.json()["projects"]


def test_wait_waits(web: Any) -> None:
    """A drill asks for a wait of 120 ms: it gets one, and is refused an hour."""
    with web.visitor() as visitor:
        began_s = time.monotonic()
        assert visitor.get("/api/wait?ms=120").json()["waited_ms"] == 120
        assert time.monotonic() - began_s >= 0.12
        assert visitor.get("/api/wait?ms=3600000").status_code == 422


def test_app_needs_nothing_of_tenfold() -> None:
    """The app is loaded: not one module of Tenfold comes with it, and neither does the web framework for a worker."""
    code = (
        "import sys, json, crewboard.worker; light = sorted(sys.modules); import crewboard; crewboard.app;"
        "print(json.dumps([light, sorted(sys.modules)]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=APP,
        env={"DATABASE_URL": "postgresql://nowhere/none"},
        capture_output=True,
        text=True,
        check=True,
    )
    light, whole = json.loads(run.stdout)
    assert "starlette.applications" in whole
    assert not [name for name in whole if name.split(".")[0] == "tenfold"]
    assert "starlette.applications" not in light


def test_missing_settings_are_one_sentence() -> None:
    """Somebody starts the app with nothing set: it ends, and says in one sentence what to set."""
    for command in (["-m", "uvicorn", "crewboard:app"], ["-m", "crewboard.migrate"], ["-m", "crewboard.worker"]):
        run = subprocess.run([sys.executable, *command], cwd=APP, env={}, capture_output=True, text=True)
        assert run.returncode == 1
        assert run.stderr.strip().splitlines()[-1].startswith("DATABASE_URL is not set; set it to")
        assert "Traceback" not in run.stderr


def test_without_session_key_all_instances_agree(world: Any, web: Any) -> None:
    """A developer sets no SESSION_KEY: the app warns, works, and a second instance knows the session of the first."""
    first, second = (world.start_web(f"dev-{number}", SESSION_KEY="") for number in (1, 2))
    assert "SESSION_KEY is not set" in first.process.log.read_text()
    with first.member("aurora") as member:
        cookie = {"cookie": f"crewboard_session={member.cookies['crewboard_session']}"}
        with second.visitor() as visitor:
            assert visitor.get("/api/me", headers=cookie).json()["company"] == "Aurora Airlines"
        with web.visitor() as visitor:
            assert visitor.get("/api/me", headers=cookie).status_code == 401
    first.process.end()
    second.process.end()
