"""A measurement that is stopped or killed in the middle, beside a project that runs."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

Place = Any

SCENARIOS = """
scenarios:
  browse: {think: 5s, actions: {look: {share: 100%, requests: [GET /, 'GET /env?name=PATH']}}}
"""


@pytest.fixture
def elsewhere(place: Place) -> Iterator[Path]:
    """Where copies are made, by a short path as sockets need it: nothing may be left in it, nor run from it."""
    with tempfile.TemporaryDirectory(prefix="tf-") as name:
        folder = Path(name)
        place.env["TMPDIR"] = name
        yield folder
        for process in running_from(folder):
            process.kill()


def running_from(folder: Path) -> list[psutil.Process]:
    """Every process that works in a copy, or was started there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_ctrl_c_in_the_middle_leaves_nothing_and_disturbs_nobody(place: Place, elsewhere: Path) -> None:
    """Beside a project that runs and keeps data, a measurement is begun and stopped: the copy is gone, the project is as it was."""
    place.app()
    place.write("counts.db", "")
    place.blueprint("health: {path: /health, every: 1s}", SCENARIOS)
    place.up()
    assert place.get("/count") == "1"
    process = place.popen("measure", "--latency", "300ms")
    place.say_until(process, "held")
    assert running_from(elsewhere)
    process.send_signal(signal.SIGINT)
    ended = place.end_of(process, patience_s=20.0)
    ended.failed(1, "stopped: everything that was started for it is gone, and nothing was kept")
    assert not list(elsewhere.glob("tenfold-measure-*"))
    assert not [process for process in running_from(elsewhere) if "tenfold-measure-" in process.cwd()]
    assert place.get("/count") == "2", "the copy has counted in a file of its own"
    assert not (place.root / ".tenfold" / "capacity.json").exists()


def test_a_killed_measurement_leaves_nothing_running(place: Place, elsewhere: Path) -> None:
    """Killed with -9 it can't clean up, but its copy ends with it; only files are left."""
    place.app()
    place.blueprint("health: {path: /health, every: 1s}", SCENARIOS)
    process = place.popen("measure")
    place.say_until(process, "held")
    process.kill()
    process.wait()
    place.wait_for(lambda: not running_from(elsewhere), "the copy ends by itself")
