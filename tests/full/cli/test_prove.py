"""`prove` on the small app with real engines: everything is started, proved, written and gone again."""

import json
import signal
from typing import Any

Place = Any

TARGETS = """
targets: {concurrent_users: 5, latency: {p95: 10s}, recovery: 30s}
scenarios: {visit: {think: 50ms, actions: {look: {share: 100%, requests: [GET /]}}}}
"""
WEB = "scaling: {instances: {min: 2, max: 2}}"


def test_a_small_app_is_proved(place: Place) -> None:
    """Started for it, loaded, an instance killed and replaced, judged, written as a page and as figures, and stopped again."""
    place.app()
    place.blueprint(WEB, TARGETS)
    ended = place.run("prove", "--minutes", "0.1", "--html", "r.html", "--json", "r.json", patience_s=110.0)
    assert ended.code in (0, 1), ended
    ended.plain()
    report = json.loads((place.root / "r.json").read_text())
    found = {verdict["target"]: verdict for verdict in report["verdicts"]}
    assert list(found) == ["concurrent_users", "latency.p95", "recovery"]
    # On a machine that is busy a load may be spoilt; then it is said, and never called missed.
    for key in ("concurrent_users", "latency.p95"):
        assert found[key]["is_met"] or "spoilt" in found[key]["confidence"], found
    assert found["concurrent_users"]["measured"].startswith("5 held for 6 s")
    (drill,) = report["drills"]
    assert drill["subjects"][0].startswith("web-")
    assert drill["recover_s"] is not None
    assert (ended.code == 0) is (report["score"] == 100)
    kinds = [span["kind"] for span in report["spans"]]
    assert kinds == ["ramp", "load", "drill", "harm"]
    assert any("restarted in its place" in mark["why"] for mark in report["marks"])
    assert "Does shop meet its targets?" in (place.root / "r.html").read_text()
    place.nothing_runs()


def test_an_interrupted_proof_writes_what_it_has(place: Place) -> None:
    """Ctrl-C in the middle of the load: no drill, a report that calls itself incomplete, and what ran before goes on running."""
    place.app()
    place.blueprint(WEB, TARGETS)
    place.up()
    process = place.popen("prove", "--html", "r.html", "--json", "r.json")
    place.say_until(process, "answers/s")
    process.send_signal(signal.SIGINT)
    ended = place.end_of(process)
    assert (ended.code, "incomplete: it was stopped" in ended.out) == (1, True), ended
    report = json.loads((place.root / "r.json").read_text())
    assert (report["drills"], {verdict["is_met"] for verdict in report["verdicts"]}) == ([], {None})
    assert "incomplete" in (place.root / "r.html").read_text()
    assert place.control_plane() is not None
    assert place.get() == "one"
    place.run("down").went_well("everything is stopped")
