"""A whole measurement of a small app that waits, on the real engines, in short steps."""

import shutil
from pathlib import Path

from tenfold.blueprint import load
from tenfold.cli.wiring import PROGRAM
from tenfold.drivers.project import Project
from tenfold.proof.measure import Goal, Pace, Question, Told, measure

APP = Path(__file__).resolve().parents[3] / "bench" / "small_app.py"
BLUEPRINT = b"""
name: waiting
services:
  web: {command: 'python3 small_app.py {host} {port}', health: {path: /now}}
  reports: {command: touch ran, schedule: '* * * * *'}
scenarios:
  wait: {think: 1s, actions: {wait: {share: 100%, requests: [GET /wait]}}}
"""


async def test_what_an_instance_holds_is_found(tmp_path: Path) -> None:
    """Ten at once for 50 ms each are 200 requests/s; and nothing is left of it in the project's folder."""
    root = tmp_path / "waiting"
    root.mkdir()
    shutil.copy(APP, root)
    model = load(BLUEPRINT, name="tenfold.yaml", default_name="waiting")
    (root / "tenfold.yaml").write_bytes(BLUEPRINT)
    pace = Pace(warm_up_s=0.5, bracket_s=1.0, step_s=1.0, edge_s=1.5, count=100, start_rate=100.0)
    question = Question(model.services["web"], model.scenarios["wait"], Goal(400.0, 0.01), (1,), pace)
    said: list[str] = []
    told = Told(said.append, lambda instances: None, lambda point, standing: None, lambda count: None)
    found = await measure(Project(root, root.name), BLUEPRINT, "tenfold.yaml", model, question, PROGRAM, told)
    [one] = found.counts
    assert 120 <= one.requests_per_s <= 260
    fact = found.fact("s1", "c", 1.0)
    assert (fact.service, fact.scenario, set(fact.scaled)) == ("web", "wait", {"1"})
    assert fact.users >= fact.requests_per_s, "each pauses for a second, and waits besides"
    assert 0 < fact.cpu_ms["web"] < 5
    assert sorted(path.name for path in root.iterdir()) == ["small_app.py", "tenfold.yaml"]
