"""A tier's pool of a service is one more service of the model, which is as that service wherever the blueprint does not differ."""

from dataclasses import replace

from tenfold.blueprint import load, not_acted_on
from tenfold.model import Forecast, Model, Scaling, Service, Trigger

TEXT = """
services:
  web:
    command: run {port}
    build: make
    release: migrate
    env: {A: "1"}
    health: {path: /health}
    sticky: true
    scaling:
      instances: {min: 2, max: 6}
      triggers: {concurrency: {up_above: 50, down_below: 20}}
      forecast: {}
      idle: 5m
      tiers:
        enterprise: {instances: {max: 20}, forecast: {horizon: 20m}}
        agency: {triggers: {cpu: {up_above: 70%, down_below: 30%}}}
  worker: {command: work}
tiers:
  enterprise: {tenants: [acme, globex], domains: [acme.example], share: 12.5%}
  agency: {tenants: [initech], cache: 30m}
  starter: {}
environments:
  production: {services: {web: {scaling: {instances: {max: 9}, tiers: {agency: {instances: {min: 3}}}}}}}
"""


def read(environment: str | None = None) -> Model:
    return load(TEXT, environment=environment, default_name="shop")


def test_one_more_service() -> None:
    """It runs the same program on the same paths; only its scaling differs, and what runs once per release is its service's."""
    services = read().services
    assert list(services) == ["web", "web-enterprise", "web-agency", "worker"]
    web, enterprise, agency = (services[name] for name in ("web", "web-enterprise", "web-agency"))
    assert (web.tier, enterprise.tier, enterprise.base, web.base) == (None, "enterprise", "web", "web")
    assert enterprise == replace(
        web,
        name="web-enterprise",
        tier="enterprise",
        build=None,
        release_hook=None,
        scaling=replace(web.scaling, instances_max=20, forecast=Forecast(1200.0)),
    )
    assert agency.scaling == replace(web.scaling, triggers=(Trigger("cpu", 0.7, 0.3),))
    assert all(type(service.scaling) is Scaling for service in services.values())


def test_environments_change_it_too() -> None:
    """What an environment says of the service holds for its tiers' pools, and it may say more of these."""
    services = read("production").services
    numbers = {n: (s.scaling.instances_min, s.scaling.instances_max) for n, s in services.items() if n != "worker"}
    assert numbers == {"web": (2, 9), "web-enterprise": (2, 20), "web-agency": (3, 9)}


def test_how_many_are_in_a_tier() -> None:
    """A share of all users, none where that is not said; shares that are a whole as people write them are no more than that."""
    assert [tier.share_ratio for tier in read().tiers.values()] == [0.125, None, None]
    tenth = ", ".join(f"t{n}: {{share: 10%}}" for n in range(10))
    assert len(load(f"services: {{web: {{command: run}}}}\ntiers: {{{tenth}}}", default_name="shop").tiers) == 10


def test_says_where_its_number_stands() -> None:
    """Advice on a pool names the key to change."""
    assert Service("web", "run").of_tier("gold", Scaling()).scaling_at == "services.web.scaling.tiers.gold"
    assert Service("web", "run").scaling_at == "services.web.scaling"


def test_what_tiers_do_not_change_yet() -> None:
    """It is said which tiers have no pool, and what is read of a tier and changes nothing."""
    assert not_acted_on(read()) == (
        "tiers: no service gives starter a pool of its own (scaling.tiers), so they share that of all",
        "tiers: cache, preload and requests (agency) change nothing yet",
    )
