"""A disk that fills up: nothing is decided that can't be written down, the app goes on, and so does everything once there is room."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

Place = Any

HEALTH = "health: {path: /health, starts_within: 30s, every: 1s}"


def fill(folder: Path) -> Path:
    """Leave not one byte free."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def test_a_full_disk_holds_and_goes_on_when_there_is_room(small_disk: Place) -> None:
    """Full: it says so and holds, a dead instance waits, deploys are refused in a sentence; freed: all is done at once."""
    place = small_disk
    place.app()
    place.blueprint(f"{HEALTH}, scaling: {{instances: {{min: 2, max: 2}}}}, drain: 1s", "rollout: {watch: 1s}")
    process = place.popen("up")
    place.say_until(process, "serves at")
    # What is written goes into the pages that the journal has already: it takes a while until it needs more.
    ballast = fill(place.root)
    said = place.say_until(process, "holding, nothing is done")
    assert "the disk is full: free some space and it goes on by itself" in said
    assert place.get() == "one"
    first = next(iter(place.running()["web-1"]))
    os.kill(first, signal.SIGKILL)
    assert place.get() == "one", "the other instance serves"
    place.run("deploy").failed(1, "the disk is full")
    place.run("secrets", "set", "TOKEN", given="value").failed(1, "No space left")
    place.run("status").went_well("web-2")
    place.wait_for(lambda: "full" in place.run("status").out, "the reason in the status")
    ballast.unlink()
    place.say_until(process, "holding no more")
    place.wait_for(lambda: [i["state"] for i in place.status()["instances"]] == ["ready"] * 2, "the replacement")
    place.run("deploy").went_well("r2 serves")
    fill(place.root)
    process.send_signal(signal.SIGINT)
    ended = place.end_of(process)
    assert ended.code in (0, 1)
    assert "Traceback" not in ended.text
    place.nothing_runs()
    assert shutil.disk_usage(place.root).free < 1 << 20


def test_up_on_a_full_disk_says_so(small_disk: Place) -> None:
    """Nothing is begun that could not be written down."""
    place = small_disk
    place.app()
    place.blueprint(HEALTH)
    fill(place.root)
    ended = place.run("up")
    assert ended.code == 1
    assert ended.plain().err.count("\n") == 1
    assert "full" in ended.err or "No space left" in ended.err
    place.nothing_runs()
