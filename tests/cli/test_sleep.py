"""A service that may sleep, told on real engines: it sleeps, is woken by a crowd, and tells what that cost."""

import concurrent.futures
import json
import urllib.request
from typing import Any

Place = Any

WEB = (
    "health: {path: /health, starts_within: 30s, every: 1s}, drain: 2s, "
    "scaling: {instances: {min: 0, max: 2}, idle: 1500ms, triggers: {concurrency: {up_above: 60, down_below: 30}}}"
)

WORKER = (
    "  worker: {command: python3 worker.py, drain: 1s, "
    "scaling: {instances: {min: 0}, idle: 2s, triggers: {jobs: {up_above: 100, down_below: 10}}}}\n"
)


def sleeps(place: Place) -> bool:
    """Nothing of web runs, by the processes themselves."""
    return not any(name.startswith("web-") for name in place.running())


def test_it_sleeps_a_crowd_wakes_it_once_and_nothing_fails(place: Place) -> None:
    """Proved at `up`, asleep when idle; 20 requests at once all get 200 by one cold start that is counted and explained; without a control
    plane a sleeping service is a 503 that says why, and after `up` it works again; a deploy proves its release and sleeps again."""
    place.app()
    place.blueprint(WEB, "rollout: {watch: 1s}")
    place.up()
    place.wait_for(lambda: sleeps(place), "web to fall asleep")
    place.run("status").went_well("asleep", "web@local sleeps: no request and no open socket for 2 s")

    with concurrent.futures.ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: place.ask("/"), range(20)))
    assert [status for status, _, _ in answers] == [200] * 20
    assert {text for _, _, text in answers} == {"one"}
    web = place.status()["services"]["web@local"]
    seen = web["cold_starts"]
    assert (seen["starts"], seen["held"], seen["refused"]) == (1, 20, 0)
    assert 0 < seen["wait_ms_p50"] <= seen["wait_ms_max"] < 30_000
    id_ = answers[0][1]["x-request-id"]
    explained = place.wait_for(lambda: (e := place.run("explain", id_)).code == 0 and e, "the access log")
    explained.went_well("it waited", "s for a cold start: web slept when it came")

    place.wait_for(lambda: sleeps(place), "web to fall asleep again")
    place.kill(place.control_plane())
    status, headers, text = place.ask("/")
    assert (status, headers["retry-after"]) == (503, "5")
    assert "sleeps, and the control plane that would wake it does not answer" in text
    place.up()
    assert sleeps(place), "coming back wakes nobody"
    assert place.ask("/")[0] == 200
    place.run("status").went_well("1 cold start, for which 1 request waited")

    place.wait_for(lambda: sleeps(place), "web to fall asleep once more")
    place.app("two")
    place.run("deploy").went_well("serves")
    place.wait_for(lambda: sleeps(place), "the new release to sleep")
    assert place.get() == "two"
    place.run("down").went_well("everything is stopped")
    place.nothing_runs()


def test_a_worker_is_woken_by_what_another_service_posts(place: Place) -> None:
    """A background service stays awake while nothing is known of its queue, sleeps by an empty one, and a job wakes it."""
    place.app()
    place.write("worker.py", "import time\nwhile True:\n    time.sleep(1)\n")
    place.blueprint("health: {path: /health, starts_within: 30s}")
    text = (place.root / "tenfold.yaml").read_text()
    place.write("tenfold.yaml", text.replace("services:\n", f"services:\n{WORKER}", 1))
    place.up()

    def post(jobs: float) -> None:
        share = {"service": "worker", "region": "local", "instance": "web-1", "name": "jobs", "value": jobs}
        url = f"{place.get('/env?name=TENFOLD_URL')}/api/metrics"
        asked = urllib.request.Request(url, json.dumps(share).encode(), {"content-type": "application/json"})
        assert urllib.request.urlopen(asked, timeout=10).status == 204

    def works() -> bool:
        return any(name.startswith("worker-") for name in place.running())

    place.run("status").went_well("worker@local stays awake: the app has not posted jobs lately")
    assert works()
    post(0)
    place.wait_for(lambda: not works(), "the worker to fall asleep")
    post(5)
    place.wait_for(works, "the worker to be woken")
