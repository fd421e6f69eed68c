"""Stories that take their time: a schedule, an app that does not listen, a journal that is lost."""

import time
from typing import Any

Place = Any

HEALTH = "health: {path: /health, starts_within: 30s, every: 1s}"
DEAF_AND_LOUD = """
import threading

def shout():
    while True:
        print("x" * 1023)
        time.sleep(0.001)

threading.Thread(target=shout, daemon=True).start()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server.serve_forever()
"""
JOBS = """name: jobs
services:
  worker: {command: "exec sleep 1000"}
  report: {command: "date +%M >> ran", schedule: "* * * * *"}
keep: [ran]
"""


def test_an_app_that_is_deaf_and_loud_is_served_and_ended(place: Place) -> None:
    """One that ignores SIGTERM and prints a megabyte a second serves like any other, fills no disk, and is killed in the end."""
    place.app()
    text = (place.root / "app.py").read_text()
    place.write("app.py", text[: text.index("signal.signal(")] + DEAF_AND_LOUD)
    place.blueprint(f"{HEALTH}, drain: 1s")
    place.up()
    assert place.get() == "one"
    time.sleep(20.0)
    assert len(place.run("logs", "-n", "2").went_well().out) < 3000
    assert sum(path.stat().st_size for path in place.project.logs.glob("web-1*")) < 64 * 1024**2
    place.run("down").went_well("everything is stopped")
    place.nothing_runs()


def test_a_schedule_runs_once_also_over_restarts(place: Place) -> None:
    """Its job runs once at its minute, although the control plane is killed and started again before and after."""
    place.write("tenfold.yaml", JOBS)
    place.run("up", "--detach").went_well("none of its services speaks HTTP")
    place.kill(place.control_plane())
    place.run("up", "--detach").went_well()
    ran = place.root / "ran"
    place.wait_for(ran.exists, "the job", 65.0)
    place.kill(place.control_plane())
    place.run("up", "--detach").went_well()
    time.sleep(3.0)
    minutes = ran.read_text().split()
    # On a slow machine the next one has come meanwhile.
    assert len(minutes) == len(set(minutes))
    place.run("down").went_well("everything is stopped")
    place.nothing_runs()


def test_a_journal_that_is_gone_or_damaged_loses_no_process(place: Place) -> None:
    """Deleted while the control plane is dead, `up` takes over what runs; damaged, it says which file to move away."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 2s")
    place.up()
    place.kill(place.control_plane())
    journal = place.project.journal
    for path in journal.parent.glob("journal.db*"):
        path.unlink()
    place.up()
    assert place.get() == "one"
    place.kill(place.control_plane())
    for path in journal.parent.glob("journal.db-*"):
        path.unlink()
    journal.write_bytes(b"SQLite format 3\0" + b"\xff" * 50_000)
    for words in (["up"], ["down"], ["status"]):
        place.run(*words).failed(1, str(journal), "move it away")
    assert place.get() == "one"
    journal.rename(journal.with_name("aside"))
    place.up()
    assert place.get() == "one"
