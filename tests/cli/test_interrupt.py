"""Ends that nobody planned: Ctrl-C at any moment, a second one, and a control plane that is killed."""

import fcntl
import os
import pty
import random
import signal
import socket
import sys
import termios
import time
from typing import Any

import pytest

from tenfold.cli.loading import interrupts_held

Place = Any

HEALTH = "health: {path: /health, starts_within: 30s, every: 1s}"
SEED = 20_261_120
MOMENTS = 6


def interrupt(place: Place, process: Any) -> Any:
    """Ctrl-C, and how it ended."""
    process.send_signal(signal.SIGINT)
    return place.end_of(process, patience_s=60.0)


def test_ctrl_c_at_any_moment_leaves_nothing_running(place: Place) -> None:
    """From its first moments until it serves: nothing is left, nothing is lost, and the next `up` goes on from there."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 2s")
    moments = random.Random(SEED)
    for _ in range(MOMENTS):
        after_s = moments.uniform(0.1, 2.5)
        process = place.popen("up")
        time.sleep(after_s)
        ended = interrupt(place, process)
        assert ended.code in (0, 1, 130, -signal.SIGINT), (after_s, ended)
        # Before it is in `main` it is Python itself that is interrupted, and that says so in its own way.
        assert "Traceback" not in ended.text or "main()" not in ended.text, (after_s, ended)
        place.nothing_runs()
    process = place.popen("up")
    place.say_until(process, "serves at")
    assert place.get() == "one"
    ended = interrupt(place, process)
    ended.went_well(
        "stopping: requests at hand are finished first", "everything is stopped; `tenfold up` starts it again"
    )
    place.nothing_runs()


def test_ctrl_c_while_modules_are_loaded_is_not_lost() -> None:
    """Python drops one that strikes a callback of an import: it is held until all is loaded, and one that is ignored stays so."""
    before, loaded = signal.getsignal(signal.SIGINT), []
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt), interrupts_held():
            signal.raise_signal(signal.SIGINT)
            loaded.append("all")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            loaded.append("again")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert loaded == ["all", "again"]


def test_many_at_once(place: Place) -> None:
    """Of several `up` at the same moment one runs, the others say so; of several `down` each ends well."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 1s")
    tries = [place.popen("up", "--detach") for _ in range(3)]
    ended = sorted((place.end_of(one) for one in tries), key=lambda one: one.code)
    assert [one.code for one in ended] == [0, 1, 1]
    # The winner may not have written down yet who it is: "by another process".
    assert all("is run by" in one.text and "serves at" not in one.text for one in ended[1:]), ended
    assert place.get() == "one"
    tries = [place.popen("down") for _ in range(2)]
    for one in tries:
        place.end_of(one).went_well()
    place.nothing_runs()


SLOW_TO_TELL = """
import sys, time
from tenfold.cli import main, up, wiring

greet = up._greet

def late(*args, **kwargs):
    time.sleep(1.5)
    greet(*args, **kwargs)

up._greet = late
wiring.PROGRAM = (sys.executable, "-c", open("slow.py").read())
main()
"""


def test_one_that_is_held_up_before_it_tells_is_waited_for(place: Place) -> None:
    """What a detached control plane has to say is on the terminal when `up` returns, also where it says it late."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 1s")
    place.write("slow.py", SLOW_TO_TELL)
    place.prefix = (sys.executable, "-c", SLOW_TO_TELL)
    place.up()
    assert [path.name for path in place.project.run.glob("up-*.log")] == []
    assert "serves at" in (place.project.logs / "up.log").read_text()
    place.run("down").went_well("everything is stopped")
    place.nothing_runs()


def test_a_second_ctrl_c_kills_at_once(place: Place) -> None:
    """The first one waits for a request that takes long; the second does not."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 50s")
    process = place.popen("up")
    place.say_until(process, "serves at")
    asking = socket.create_connection(("127.0.0.1", place.port))
    asking.sendall(b"GET /slow?s=40 HTTP/1.1\r\nhost: shop\r\n\r\n")
    place.wait_for(lambda: (place.status()["services"]["web@local"]["traffic"] or {}).get("in_flight"), "the request")
    process.send_signal(signal.SIGINT)
    place.say_until(process, "is let go")
    began_s = time.monotonic()
    ended = interrupt(place, process)
    assert time.monotonic() - began_s < 10.0
    assert "killing everything" in ended.out
    asking.close()
    place.nothing_runs()


def test_a_closed_terminal_stops_everything(place: Place) -> None:
    """Whoever closes the window, or reads no further, gets what Ctrl-C gives: everything drained and stopped."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 2s")
    master, terminal = pty.openpty()
    process = place.popen(
        "up", stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    )
    os.close(terminal)
    said = ""
    while "serves at" not in said:
        said += os.read(master, 4096).decode()
    os.close(master)
    assert process.wait(timeout=60.0) == 0
    place.nothing_runs()
    reading = place.popen("up")
    place.say_until(reading, "r1")
    reading.stdout.close()
    reading.wait(timeout=60.0)
    assert reading.stderr.read() == ""
    place.nothing_runs()


def test_a_killed_control_plane_is_noticed_and_its_work_taken_up(place: Place) -> None:
    """After kill -9 the app goes on serving, everyone says what is the matter, and `down` or `up` take over what runs."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 2s")
    place.up()
    (instance,) = (i["pid"] for i in place.status()["instances"])
    place.kill(place.control_plane())
    assert place.get() == "one"
    place.run("status").went_well("has no control plane: what runs goes on, nothing is healed", "`tenfold up`")
    place.run("doctor").went_well("run without a control plane", "`tenfold up` takes them over")
    place.run("deploy").failed(1, "`tenfold up`")
    place.up()
    assert [i["pid"] for i in place.status()["instances"]] == [instance], (
        "the instance was taken over, not started anew"
    )
    place.kill(place.control_plane())
    place.run("down").went_well("everything is stopped")
    place.nothing_runs()


def test_a_down_whose_control_plane_dies_under_it_stops_the_rest_itself(place: Place) -> None:
    """The control plane is killed just as `down` asks it: nobody would answer, so `down` ends what is left."""
    place.app()
    place.blueprint(f"{HEALTH}, drain: 20s")
    place.run("up", "--detach").went_well()
    asking = socket.create_connection(("127.0.0.1", place.port))
    asking.sendall(b"GET /slow?s=40 HTTP/1.1\r\nhost: shop\r\n\r\n")
    place.wait_for(lambda: (place.status()["services"]["web@local"]["traffic"] or {}).get("in_flight"), "the request")
    process = place.popen("down")
    place.say_until(process, "is let go")
    pid = place.control_plane()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    asking.close()
    place.end_of(process).went_well()
    place.nothing_runs()
