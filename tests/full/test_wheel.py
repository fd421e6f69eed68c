"""The built wheel, installed as a user would, runs an app in an empty folder: as root, and as a user without any rights."""

import json
import subprocess
import time
from pathlib import Path

import psutil

from .conftest import User, answer_of


def left_running(folder: Path, within_s: float = 5.0) -> list[str]:
    """The command lines of the processes that have to do with `folder` and don't end within that time."""
    until_s = time.monotonic() + within_s
    while (found := _running(folder)) and time.monotonic() < until_s:
        time.sleep(0.05)
    return found


def _running(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "cwd"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words or str(folder) in (process.info["cwd"] or ""):
            found.append(words)
    return found


def test_init_and_up_in_an_empty_folder(user: User) -> None:
    """Two commands after the installation an app of one file answers through the edge, and after a third nothing is left running."""
    folder = user.make_folder("site")
    made = user.call(folder, "init", "--", "python3", "-m", "http.server", "{port}")
    assert made.returncode == 0, made.stderr
    up = user.call(folder, "up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    status = json.loads(user.call(folder, "status", "--json").stdout)
    assert answer_of(status["address"]) == 200
    down = user.call(folder, "down")
    assert down.returncode == 0, down.stderr
    assert not left_running(folder)


def test_stores_serve_whoever_asks(user: User) -> None:
    """With `data` in the blueprint PostgreSQL and Valkey serve the app, as root too, and `run` reaches the same database."""
    folder = user.make_folder("shop")
    (folder / "tenfold.yaml").write_text(
        "name: shop\nservices:\n  web: {command: 'python3 -m http.server {port}'}\ndata: {}\n"
    )
    up = user.call(folder, "up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    code = (
        "import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).execute('select 6 * 7').fetchone()[0])"
    )
    asked = user.call(folder, "run", str(user.bin / "python"), "-c", code)
    assert (asked.returncode, asked.stdout.strip()) == (0, "42"), asked.stderr
    assert user.call(folder, "down").returncode == 0
    assert not left_running(folder)


def test_doctor_finds_a_new_machine_well(user: User) -> None:
    """In an empty folder doctor has notes and nothing to mend."""
    folder = user.make_folder("empty")
    told = user.call(folder, "doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "all is well" in told.stdout


def test_the_wheel_brings_the_page(user: User) -> None:
    """The console's page, its script, fonts and licences are installed with the wheel, and `up` serves them."""
    folder = user.make_folder("page")
    user.call(folder, "init", "--", "python3", "-m", "http.server", "{port}")
    up = user.call(folder, "up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    port = (folder / ".tenfold" / "run" / "console-port").read_text().strip()
    for path in ("", "page/app.js", "page/vendor/inter.woff2", "page/vendor/LICENSE-preact", "page/land.svg"):
        assert answer_of(f"http://127.0.0.1:{port}/{path}") == 200
    assert user.call(folder, "down").returncode == 0


def test_the_protocol_of_keda_comes_along(user: User) -> None:
    """Beside Python files the wheel holds the definition that `tenfold scaler` serves, and its description."""
    folder = user.make_folder("keda")
    code = "from tenfold.console.keda.protocol import METRIC, MetricValue; print(MetricValue(metricName=METRIC).metricName)"
    python = [str(user.bin / "python"), "-c", code]
    done = subprocess.run(
        python, cwd=folder, user=user.uid, group=user.uid, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "tenfold-wanted", done.stderr
