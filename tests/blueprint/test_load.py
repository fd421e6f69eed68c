"""What a blueprint leaves out is settled sensibly, environments override it, and what is not acted on yet is said."""

import pytest

from tenfold.blueprint import BlueprintError, app_name, load, not_acted_on
from tenfold.model import Action, InstanceSize, Model, Region, ResidencyRule, Scaling, Scenario, Service, Step


def read(text: str, environment: str | None = None) -> Model:
    """The model of a text."""
    return load(text, environment=environment, default_name="My Shop")


def problems(text: str, environment: str | None = None) -> list[str]:
    """The problems of a text."""
    with pytest.raises(BlueprintError) as caught:
        read(text, environment)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_smallest() -> None:
    """Two lines are a whole blueprint; everything else is the model's own default, and users ask for the first path."""
    model = read("name: shop\nservices: {web: {command: run}}\n")
    browse = Scenario("default", (Action("browse", 1.0, (Step("GET", "/"),)),))
    web = Service("web", "run", paths=("/",))
    assert model == Model("shop", {"web": web}, {"local": Region("local")}, scenarios={"default": browse})
    assert tuple(model.regions) == ("local",)
    assert not_acted_on(model) == ()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Shop", "my-shop"),
        ("shop_2.0", "shop-2-0"),
        ("42", "app"),
        ("", "app"),
        ("2nd-try", "nd-try"),
        ("x" * 99, "x" * 40),
    ],
)
def test_name_from_folder(folder: str, name: str) -> None:
    """A blueprint without a name is called after its folder, made into a right name."""
    assert load("services: {web: {command: run}}", default_name=folder).name == app_name(folder) == name


@pytest.mark.parametrize(
    ("service", "http"),
    [
        ('api: {command: "run {port}"}', True),
        ("api: {command: run $PORT}", True),
        ('api: {command: "run ${PORT}"}', True),
        ("api: {command: run $PORTAL}", False),
        ("api: {command: run, health: {path: /up}}", True),
        ("api: {command: run, paths: [/api]}", True),
        ("web: {command: run}", True),
        ("web: {command: run, http: false}", False),
        ("worker: {command: run}", False),
        ("worker: {command: run, http: true}", True),
        ('nightly: {command: "run {port}", schedule: "0 3 * * *"}', False),
    ],
)
def test_http(service: str, http: bool) -> None:
    """A service listens when it is called web, names its port, or has a health path or paths; unless it says otherwise."""
    (found,) = read(f"services:\n  {service}\n").services.values()
    assert found.http is http


@pytest.mark.parametrize(
    ("services", "paths"),
    [
        ("api: {command: run $PORT}", {"api": ("/",)}),
        ("api: {command: run, paths: [/api]}\n  web: {command: run}", {"api": ("/api",), "web": ("/",)}),
        ("worker: {command: run}\n  api: {command: run $PORT}", {"worker": (), "api": ("/",)}),
        ("api: {command: run $PORT, paths: []}\n  web: {command: run}", {"api": (), "web": ("/",)}),
        ("api: {command: run, paths: [/]}\n  web: {command: run, paths: [/web]}", {"api": ("/",), "web": ("/web",)}),
    ],
)
def test_paths(services: str, paths: dict[str, tuple[str, ...]]) -> None:
    """`web`, or else the first HTTP service, gets /; a service may keep itself from the edge."""
    assert {name: service.paths for name, service in read(f"services:\n  {services}\n").services.items()} == paths


def test_second_http_service_needs_paths() -> None:
    """Two services that listen can't both have /, so the second is told how to get paths of its own."""
    (problem,) = problems("services:\n  web: {command: run}\n  api: {command: run $PORT}\n")
    assert problem.startswith("services.api: listens for HTTP, but / goes to web; give it paths of its own")


def test_default_triggers() -> None:
    """A service without HTTP is not scaled on requests at once, which nobody counts for it; triggers that are named stay."""
    services = read(
        "services:\n  web: {command: run}\n  worker: {command: run}\n"
        "  still: {command: run, scaling: {triggers: {}}}\n"
        "  queue: {command: run, scaling: {triggers: {jobs_waiting: {up_above: 9.5, down_below: 1}}}}\n"
    ).services
    metrics = {name: [trigger.metric for trigger in service.scaling.triggers] for name, service in services.items()}
    assert metrics == {"web": ["concurrency", "cpu"], "worker": ["cpu"], "still": [], "queue": ["jobs_waiting"]}
    assert services["web"].scaling == Scaling()
    assert services["queue"].scaling.triggers[0].up_above == 9.5


ENVIRONMENTS = """
services:
  web: {command: run, instance: {cpu: 2, memory: 1GiB}, env: {A: 1, B: 010}}
domains: [shop.example]
data: {}
environments:
  production:
    services: {web: {instance: {memory: 2GiB}, env: {B: yes}}, worker: {command: work}}
    domains: [a.example, b.example]
    data: {url: postgresql://db/shop}
  staging: {domains: []}
"""


def test_environments() -> None:
    """An environment says only what differs: mappings are merged, lists and values replaced, the rest stays."""
    usual, production, staging = (read(ENVIRONMENTS, name) for name in (None, "production", "staging"))
    assert (usual.environment.name, usual.environment.is_production) == ("development", False)
    assert usual == read(ENVIRONMENTS, "development")
    assert production.environment.is_production and not staging.environment.is_production
    assert production.services["web"].instance == InstanceSize(2.0, 2 * 1024**3)
    assert production.services["web"].env == {"A": "1", "B": "yes"}
    assert usual.services["web"].env == {"A": "1", "B": "010"}
    assert set(production.services) == {"web", "worker"} and set(usual.services) == {"web"}
    assert (production.domains, staging.domains) == (("a.example", "b.example"), ())
    assert production.data is not None and production.data.url == "postgresql://db/shop"
    assert usual.data is not None and usual.data.url is None


def test_unknown_environment() -> None:
    """An environment that the blueprint does not have is a problem that names those it has."""
    message = 'environments: there is no environment "prod"; known are development, production, staging'
    assert problems(ENVIRONMENTS, "prod") == [message]


def test_every_environment_is_checked() -> None:
    """A mistake in production is told in development, once, at its own place; what only does not fit there names it."""
    text = ENVIRONMENTS.replace("[a.example, b.example]", "[a.example, a.example]").replace(
        "{domains: []}", "{secrets: [A]}"
    )
    assert problems(text) == [
        "services.web.env.A: is a secret too; keep it in secrets alone, so that its value is not in this file"
        " (in the environment staging)",
        "environments.production.domains[1]: is given twice; keep one of them",
    ]


def test_says_what_is_not_acted_on() -> None:
    """Each part that changes nothing yet is named in a sentence of its own."""
    text = """
services: {web: {command: run, scaling: {forecast: {}}}}
targets: {throughput: 10/s, cache_hit: 90%}
regions: {a: {at: [0, 0], residency: eu}, b: {at: [0, 9], latency: 75ms}}
tiers: {starter: {}}
edge: {cache: {api: 1s}, limits: {burst: 1}}
data: {tenant_key: company_id, shards: 2, replicas: 2, url: postgresql://db/shop}
budget: {monthly: 1 USD}
"""
    said = [sentence.partition(":")[0] for sentence in not_acted_on(read(text))]
    assert said == [
        *(
            "regions",
            "data.shards",
            "data.replicas",
            "data",
            "data.tenant_key",
            "tiers",
            "edge.cache",
            "edge.limits",
        ),
        "targets.cache_hit",
    ]
    assert "residency (a) binds where requests are served" in not_acted_on(read(text))[0]


SPREAD = """
services: {web: {command: run, sticky: true}, worker: {command: work}}
domains: [shop.example, "*.shop.example"]
regions: {a: {at: [50.4, 3.8], residency: eu}, b: {at: [41.3, -95.9]}, c: {at: [-37.8, 144.9], residency: eu}}
residency: {eu: {domains: [eu.shop.example, "*.eu.shop.example"], tenants: [acme, "user@x.example"]}}
edge: {region: c, trust: [10.0.0.0/8, 192.0.2.7, "2001:db8::/32"], geoip: geo.mmdb}
data: {replicas: 1, region: b, synchronous: true, rpo: 0s, rto: 10s}
"""


def test_several_regions() -> None:
    """What several regions need is read: the entry, whom it trusts, who must stay where, and where data are written and copied."""
    model = read(SPREAD)
    assert model.is_spread and model.home == "a" and model.entry_region == "c"
    assert model.store_regions == ("b", "a")
    assert model.services["web"].is_sticky and not model.services["worker"].is_sticky
    assert model.edge.trust == ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32")
    assert model.edge.geoip == "geo.mmdb"
    assert model.residency == {
        "eu": ResidencyRule("eu", ("eu.shop.example", "*.eu.shop.example"), ("acme", "user@x.example"))
    }
    assert model.data is not None
    assert (model.data.is_synchronous, model.data.rpo_s, model.data.rto_s) == (True, 0.0, 10.0)
    assert [sentence.partition(":")[0] for sentence in not_acted_on(model)] == ["regions"]


def test_nowhere_to_choose() -> None:
    """With one region it is said that nobody is asked where a client is."""
    alone = "services: {web: {command: run}}\nedge: {trust: [10.0.0.0/8]}\nregions: {a: {latency: 75ms}}"
    assert not_acted_on(read(alone)) == (
        "regions: latency limits what a region takes from others, and there is one",
        "edge: trust and geoip tell which region is nearest, and there is one",
    )


def test_region_without_place() -> None:
    """One region may lie anywhere; of several each must say where, or nobody would be sent to the nearest."""
    assert not read("services: {web: {command: run}}\nregions: {a: {residency: eu}}").is_spread
    found = problems("services: {web: {command: run}}\nregions: {a: {}, b: {at: [1, 2]}, c:\n  {}}")
    assert [problem.partition(":")[0] for problem in found] == ["regions.a.at", "regions.c.at"]


def test_regions_of_an_environment() -> None:
    """Development may have one region and production several with a copy of the data, each checked as it is overlaid."""
    text = """
services: {web: {command: run}}
regions: {a: {at: [0, 0]}}
data: {}
environments:
  production: {regions: {b: {at: [0, 9]}}, data: {replicas: 1}}
"""
    assert not read(text).is_spread
    assert read(text, "production").store_regions == ("a", "b")
    assert problems(text.replace("regions: {b: {at: [0, 9]}}, ", "")) == [
        "environments.production.data.replicas: a copy is kept in another region, and there is only a; add a region, or remove it"
    ]
