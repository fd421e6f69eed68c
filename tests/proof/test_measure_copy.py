"""The blueprint of a copy that is measured: cut down, and one that can be read."""

import pytest
import yaml

from tenfold.blueprint import load
from tenfold.proof.measure.copy import cut_down

FILE = "tenfold.yaml"
ASKED = """
name: shop
services:
  web:
    command: serve {port}
    instance: {concurrency: 8}
    scaling:
      instances: {min: 2, max: 12}
      triggers: {concurrency: {up_above: 6, down_below: 3}}
      floors: [daily 08:00-09:00 min 4]
      forecast: {}
  worker:
    command: work
    scaling: {instances: {min: 0, max: 4}, triggers: {mails: {up_above: 100, down_below: 10}}}
"""


@pytest.mark.parametrize("instances", [1, 4])
def test_the_copy_can_be_read_whatever_an_instance_takes(instances: int) -> None:
    """Triggers are those of the original: the default ones need not fit; nothing of it scales, and what is not measured runs once."""
    model = load(ASKED, default_name="shop")
    copied = cut_down(ASKED.encode(), FILE, model, "web", instances, 8099)
    of_copy = load(yaml.safe_dump(copied), default_name="shop").services
    assert of_copy["web"].scaling.triggers == model.services["web"].scaling.triggers
    for name, count in (("web", instances), ("worker", 1)):
        scaling = of_copy[name].scaling
        assert (scaling.instances_min, scaling.instances_max) == (count, count)
        assert not scaling.floors
        assert scaling.forecast is None
