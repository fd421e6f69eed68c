"""What docs/keda.md shows is what is served: its ScaledObject, its keys, its figures."""

import re
from pathlib import Path

import pytest
import yaml

from tenfold.console.keda import beside, watched
from tenfold.console.keda.asked import MAX_DEFAULT, POOL_KEYS, QUERY_KEYS, START_S, Ref, asked_of
from tenfold.console.keda.protocol import METRIC
from tenfold.console.keda.service import WHY_KEY
from tenfold.console.live import STALE_S
from tenfold.model import Forecast, Scaling

PAGE = (Path(__file__).parents[3] / "docs" / "keda.md").read_text()
SHOWN = [part for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S) for part in yaml.safe_load_all(block)]


def test_its_scaled_object_is_served() -> None:
    """The metadata is read without a problem, is text alone as KEDA asks for, and its bounds are those of the ScaledObject."""
    (shown,) = (part for part in SHOWN if part["kind"] == "ScaledObject")
    (trigger,) = shown["spec"]["triggers"]
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    ref = Ref(shown["metadata"]["namespace"], shown["metadata"]["name"], tuple(trigger["metadata"].items()))
    asked = asked_of(ref, {}, {})
    spec, scaling = shown["spec"], asked.service.scaling
    assert (scaling.instances_min, scaling.instances_max) == (spec["minReplicaCount"], spec["maxReplicaCount"])
    # The fallback is KEDA's for a metric of type AverageValue, which is what a trigger without a metricType has.
    assert "metricType" not in trigger


def test_each_key_is_told() -> None:
    """Of both sources, and no other."""
    table = PAGE.partition("| key | means |")[2].partition("\n\n")[0]
    told = re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert sorted(told) == sorted(QUERY_KEYS)
    assert all(f"`{key}`" in PAGE.partition("## A project that runs")[2] for key in POOL_KEYS)


@pytest.mark.parametrize(
    "sentence",
    [
        f"The metric is called `{METRIC}`, its target is 1",
        f"trailing metadata `{WHY_KEY}`",
        f"(every {beside.LOOK_EVERY_S:.0f} s;",
        f"older than\n{watched.STALE_S:.0f} s",
        f"serves up to {watched.OBJECTS_MAX} ScaledObjects",
        {8: "asks Prometheus eight\nthings at once"}[beside.READS_MAX],
        {600.0: "nobody asked for in ten minutes"}[watched.FORGET_S],
        {15: "fifteen days, a day at a time"}[int(beside.HISTORY_S / beside.PART_S)],
        f"after {Scaling().idle_s / 60:.0f} minutes without any load",
        f"else 1 and {MAX_DEFAULT}",
        f"else {Forecast().horizon_s / 60:.0f}m and {Forecast().confidence_ratio:.0%}",
        f"first request | {START_S / 60:.0f}m |",
        f"written nothing for {STALE_S:.0f} s",
    ],
)
def test_its_figures_are_those_of_the_code(sentence: str) -> None:
    """A bound that the page names is the bound that the code has."""
    assert sentence in PAGE


def test_its_deployment_selects_what_it_runs() -> None:
    """Service, Deployment and the trigger's address go together."""
    by_kind = {part["kind"]: part for part in SHOWN}
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    address = by_kind["ScaledObject"]["spec"]["triggers"][0]["metadata"]["scalerAddress"]
    meta = by_kind["Service"]["metadata"]
    assert address == f"{meta['name']}.{meta['namespace']}:{by_kind['Service']['spec']['ports'][0]['port']}"
