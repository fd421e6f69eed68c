"""Measuring and planning know a service as one program, whatever pools tiers have of it."""

import yaml

from tenfold.blueprint import load
from tenfold.model import Action, Scenario, Step
from tenfold.proof.measure import share_of
from tenfold.proof.measure.copy import cut_down

ASKED = """
name: shop
services:
  web: {command: "serve {port}", scaling: {tiers: {gold: {instances: {min: 3}}}}}
  api: {command: "serve {port}", paths: [/api]}
tiers: {gold: {tenants: [acme], domains: [acme.example]}}
"""


def test_a_copy_has_no_tiers() -> None:
    """What is measured is the service: in the copy all of its requests go to its own pool."""
    model = load(ASKED, default_name="shop")
    copied = cut_down(ASKED.encode(), "tenfold.yaml", model, "web", 2, 8099)
    of_copy = load(yaml.safe_dump(copied), default_name="shop")
    assert set(of_copy.services) == {"web", "api"}
    assert not of_copy.tiers


def test_requests_are_the_services_own() -> None:
    """A scenario asks services by their paths; which pool its users' tier has is not known to it."""
    services = tuple(load(ASKED, default_name="shop").services.values())
    scenario = Scenario("s", (Action("look", 3.0, (Step("GET", "/"),)), Action("ask", 1.0, (Step("GET", "/api/x"),))))
    shares = {service.name: share_of(service.name, scenario, services) for service in services}
    assert shares == {"web": 0.75, "web-gold": 0.0, "api": 0.25}
