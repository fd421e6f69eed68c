"""What was measured outlives runs, is whole or not there, and a damaged file is told and concludes nothing."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from tenfold.drivers.capacity import CapacityObserver, capacity_file, keep_capacities, read_capacities
from tenfold.drivers.project import Project
from tenfold.facts import CapacitySeen
from tenfold.ports import Permanent

HELD = CapacitySeen("web", "office", "s1", 50.0, 9.0, 550.0, 500.0, 60.0, 900.0, 900.0, 2, {"1": 50.0}, "serve {port}")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose folder has no state yet."""
    return Project(tmp_path, "shop")


async def test_what_is_kept_is_seen(project: Project) -> None:
    """Before a measurement there is nothing, after it the figures, in a file that only its owner reads, away from what a run leaves."""
    observer = CapacityObserver(project)
    assert await observer.observe() == ()
    keep_capacities(project, [HELD])
    [seen] = await observer.observe()
    assert replace(seen, seen_at=900.0) == HELD
    assert stat.S_IMODE(capacity_file(project).stat().st_mode) == 0o600
    assert project.run not in capacity_file(project).parents


async def test_the_same_look_is_the_same_fact(project: Project) -> None:
    """A file that has not changed gives the very facts again, so that the journal does not grow with it."""
    keep_capacities(project, [HELD])
    observer = CapacityObserver(project)
    assert await observer.observe() is await observer.observe()


async def test_a_new_measurement_replaces_that_of_its_service_and_scenario(project: Project) -> None:
    """Another scenario stands beside it, the same one in its place."""
    other = replace(HELD, scenario="reports", requests_per_s=12.0)
    keep_capacities(project, [HELD])
    keep_capacities(project, [other])
    keep_capacities(project, [replace(HELD, requests_per_s=70.0)])
    found = {seen.key: seen.requests_per_s for seen in await CapacityObserver(project).observe()}
    assert found == {"web/office": 70.0, "web/reports": 12.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 2, "capacities": []}',
        json.dumps({"version": 1, "capacities": [{"service": "web"}]}),
        "\0" * 2_000_000,
    ],
)
async def test_a_damaged_file_is_told_and_nothing_is_concluded(project: Project, text: str) -> None:
    """Whatever is in the file instead, it raises with its path at each look, and a new measurement mends it."""
    keep_capacities(project, [HELD])
    observer = CapacityObserver(project)
    await observer.observe()
    capacity_file(project).write_text(text)
    for _ in range(2):
        with pytest.raises(Permanent, match=r"capacity\.json .*it is ignored until `tenfold measure` writes it anew"):
            await observer.observe()
    keep_capacities(project, [HELD])
    assert len(await observer.observe()) == 1


@pytest.mark.parametrize(
    "changes", [{"requests_per_s": 0.0}, {"latency_ms": -1.0}, {"scaled": {"1": 0.0}}, {"users": -5.0}]
)
def test_figures_that_no_measurement_gives_are_refused(project: Project, changes: dict[str, object]) -> None:
    """Somebody's zero would divide the load by nothing."""
    keep_capacities(project, [replace(HELD, **changes)])  # type: ignore[arg-type]
    with pytest.raises(Permanent, match="no measurement gives"):
        read_capacities(project)


def test_two_at_once_keep_both(project: Project) -> None:
    """Measurements that end in the same moment do not write over one another."""
    many = [replace(HELD, scenario=f"s{number}") for number in range(16)]
    threads = [Thread(target=keep_capacities, args=(project, [each])) for each in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {seen.scenario for seen in read_capacities(project)} == {each.scenario for each in many}
