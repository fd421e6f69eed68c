"""What a blueprint may say: the one declaration from which it is read, hinted at, and described to editors."""

from tenfold.blueprint import units
from tenfold.blueprint.scenarios import SCENARIOS
from tenfold.blueprint.services import ENV, ENV_NAME, NAME, SERVICE, SERVICE_NAME, WORD
from tenfold.blueprint.shape import Key, ListOf, MapOf, Section, TupleOf
from tenfold.model import (
    Alerts,
    Budget,
    CacheTimes,
    ConsoleAt,
    Data,
    Edge,
    Escalation,
    LatencyTargets,
    Limits,
    Model,
    Prices,
    Region,
    ResidencyRule,
    Rollout,
    Targets,
    Tier,
)

ENVIRONMENT_NAME = NAME.like("production")
REGION_NAME = units.text(
    "a region's name (small letters, digits and hyphens; not entry)", "europe-west1", pattern=rf"(?!entry$){WORD}"
)
TENANT = units.text("a tenant's id (letters, digits and . _ : @ + -)", "acme", pattern=r"[A-Za-z0-9][\w.:@+-]{0,199}")
SECRET_NAME = units.text(
    "a variable's name alone (its value goes to `tenfold secrets set`)",
    "SESSION_KEY",
    pattern=ENV_NAME.pattern,
    is_private=True,
)
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN = units.text(
    "a domain name in small letters, without https:// or port",
    "app.example",
    pattern=rf"(?=.{{1,253}}$)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*",
)
FOLDER_PATH = units.text(
    "a path inside the project's folder", "media", pattern=r"(?!\.{0,2}/|.*/\.\.?(?:/|$)|\.{1,2}$)[^\n]{1,400}"
)
COLUMN = units.text("a column's name", "company_id", pattern="[A-Za-z_][A-Za-z0-9_]{0,62}")

TARGETS = Section(
    "a mapping of targets",
    (
        Key("concurrent_users", units.count("users", "10_000"), "People using the app at once."),
        Key("throughput", units.per_second("1000/s"), "Requests answered.", "throughput_rps"),
        Key(
            "latency",
            Section(
                "a mapping of latencies",
                tuple(
                    Key(name, units.duration(example, in_ms=True), doc, f"{name}_ms")
                    for name, example, doc in (
                        ("p95", "500ms", "95 of 100 requests are answered within this."),
                        ("api_mean", "100ms", "Mean answer of the API."),
                        ("database_mean", "50ms", "Mean answer of the database."),
                        ("websocket", "50ms", "From a message sent to the message received."),
                        ("page", "2s", "A whole page."),
                    )
                ),
                LatencyTargets,
            ),
            "Upper bounds of answers.",
        ),
        Key("availability", units.percent("99.99%"), "Requests that succeed.", "availability_ratio"),
        Key("error_rate", units.percent("0.1%"), "Requests that may fail.", "error_ratio"),
        Key("cache_hit", units.percent("90%"), "Cacheable requests that the edge answers itself.", "cache_hit_ratio"),
        Key("recovery", units.duration("30s"), "From an instance's death to its replacement.", "recovery_s"),
    ),
    Targets,
)

REGION = Section(
    "a mapping of region settings",
    (
        Key(
            "at",
            TupleOf(
                "latitude and longitude",
                (
                    units.number("a latitude in degrees", "50.4", low=-90, high=90),
                    units.number("a longitude in degrees", "3.8", low=-180, high=180),
                ),
            ),
            "Where it lies: latitude and longitude in degrees.",
        ),
        Key("capacity", units.count("users", "3000"), "Its share of users.", "capacity_users"),
        Key(
            "latency",
            units.duration("75ms", in_ms=True),
            "Its goal for an answer: while it is at work and later, it takes no more.",
            "latency_ms",
        ),
        Key(
            "residency",
            NAME.like("eu"),
            "The place whose law it is under: only such regions may serve who must stay there.",
        ),
    ),
    Region,
)

WHOSE = (
    Key("domains", ListOf("a list of domains", DOMAIN.like("eu.app.example")), "Requests to these hosts."),
    Key(
        "tenants",
        ListOf("a list of tenants' ids", TENANT),
        "Requests of these tenants, named by the header x-tenfold-tenant or the cookie tenfold-tenant.",
    ),
)
"""Whose requests are meant: those of a residency, or of a tier."""

RESIDENCY = Section("a mapping of domains and tenants", WHOSE, ResidencyRule)

TIER = Section(
    "a mapping of tier settings",
    (
        Key(
            "cache", units.duration("15m", low_s=0.0), "How long the edge may keep an answer for this tier.", "cache_s"
        ),
        Key("preload", units.flag(), "Whether its pages are fetched before they are asked for."),
        Key("requests", units.rate("100/min"), "Requests each tenant may make."),
        *WHOSE,
        Key(
            "share",
            units.percent("20%"),
            "Which part of all users is in it, for `tenfold plan --users` and `tenfold simulate`.",
            "share_ratio",
        ),
    ),
    Tier,
)

EDGE = Section(
    "a mapping of edge settings",
    (
        Key(
            "port",
            units.port("8080"),
            "Where the edge listens on this machine; a busy port is stepped over and said.",
        ),
        Key(
            "region",
            REGION_NAME,
            "Where the global entry stands that sends each client to its region.",
            derived="the first region",
        ),
        Key(
            "trust",
            ListOf("a list of address blocks", units.cidr("10.0.0.0/8")),
            "Senders who are believed when they tell a client's place (x-tenfold-place) and address (x-forwarded-for).",
        ),
        Key(
            "geoip",
            units.text("the path of a MaxMind database", "GeoLite2-Country.mmdb"),
            "A MaxMind database of countries, for clients whose place nobody tells.",
        ),
        Key(
            "cache",
            Section(
                "a mapping of cache times",
                tuple(
                    Key(
                        name,
                        units.duration(example, low_s=0.0),
                        f"How long an answer of this class may be kept: {doc}.",
                        f"{name}_s",
                    )
                    for name, example, doc in (
                        ("static", "24h", "files"),
                        ("dynamic", "5m", "pages"),
                        ("api", "60s", "API answers"),
                    )
                ),
                CacheTimes,
            ),
            "How long the edge may keep an answer.",
        ),
        Key(
            "limits",
            Section(
                "a mapping of rates",
                (
                    Key("signed_in", units.rate("100/min"), "Requests of a signed-in user."),
                    Key("anonymous", units.rate("20/min"), "Requests of an address that is not signed in."),
                    Key("login", units.rate("5/min"), "Attempts to sign in, per address."),
                    Key(
                        "burst", units.count("requests", "200", low=0), "Requests beyond a rate that may come at once."
                    ),
                ),
                Limits,
            ),
            "How often a caller may ask.",
        ),
    ),
    Edge,
)


CONSOLE = Section(
    "a mapping of console settings",
    (
        Key(
            "port",
            units.port("8081"),
            "Where the console listens on this machine; a busy port is stepped over and said.",
            derived="the one after the edge's",
        ),
        Key(
            "host",
            units.text(
                "an address of this machine, or its name", "0.0.0.0", pattern=r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}|::"
            ),
            "Another address than loopback to listen at; there it shows nothing without its token.",
        ),
        Key(
            "domains",
            ListOf("a list of domains", DOMAIN.like("console.example")),
            "Further names by which it is asked, as behind a proxy.",
        ),
    ),
    ConsoleAt,
)


def _store_url(schemes: str, example: str) -> units.Unit:
    """A store's address, or a `${NAME}` that holds it."""
    what = f"an address such as {example}, or ${{NAME}} of a secret or environment variable"
    return units.text(
        what, "${DATABASE_URL}", pattern=rf"(?:{schemes})://\S+|\$\{{[A-Za-z_][A-Za-z0-9_]*\}}", is_private=True
    )


DATA = Section(
    "a mapping of data settings",
    (
        Key("tenant_key", COLUMN, "The column that says whose a row is."),
        Key("shards", units.count("shards", "4", high=1024), "Databases the tenants are spread over."),
        Key("replicas", units.count("replicas", "1", low=0, high=16), "Copies of each database, in another region."),
        Key("region", REGION_NAME, "Where the databases take writes at first.", derived="the first region"),
        Key(
            "synchronous",
            units.flag(),
            "Whether a write is acknowledged only once the copy has it too.",
            "is_synchronous",
        ),
        Key(
            "rpo",
            units.duration("5s", low_s=0.0),
            "The newest acknowledged writes that may be lost with their region.",
            "rpo_s",
        ),
        Key("rto", units.duration("10s"), "Within how long writes must go on after the loss of their region.", "rto_s"),
        Key(
            "url",
            _store_url("postgres(?:ql)?", "postgresql://host/name"),
            "Your own PostgreSQL instead of the embedded one.",
        ),
        Key(
            "valkey_url",
            _store_url("redis|rediss|valkey|valkeys", "redis://host:6379/0").like("${VALKEY_URL}"),
            "Your own Valkey or Redis instead of the embedded one.",
        ),
    ),
    Data,
)

BUDGET = Section(
    "a mapping of budget settings",
    (
        Key("monthly", units.money("300 USD"), "What may be spent in a month.", is_required=True),
        Key("alert_at", units.percent("80%"), "The share of it at which to say so.", "alert_at_ratio"),
        Key(
            "enforce",
            units.flag(),
            "Whether nothing is added that would take the month beyond it; otherwise it only warns.",
            "is_enforced",
        ),
        Key(
            "prices",
            Section(
                "a mapping of prices",
                (
                    Key("core_hour", units.money("0.04 USD", digits=6), "One core for an hour.", is_required=True),
                    Key(
                        "gib_hour",
                        units.money("0.0045 USD", digits=6),
                        "One GiB of memory for an hour.",
                        is_required=True,
                    ),
                ),
                Prices,
            ),
            "What instances cost.",
            derived="the dated list prices that come with Tenfold, in USD",
        ),
    ),
    Budget,
)

RUNG = Section(
    "a mapping of who is told and when",
    (
        Key("after", units.duration("15m", low_s=0.0), "How long the alert has lasted then.", "after_s"),
        Key(
            "webhook",
            units.text(
                "a URL, or ${NAME} of a secret or environment variable",
                "${PAGER_URL}",
                pattern=r"(?:https?://|\$\{[A-Za-z_][A-Za-z0-9_]*\})[^\s]{0,2000}",
                is_private=True,
            ),
            "Where the alert is sent by HTTP POST, as JSON.",
        ),
        Key(
            "command",
            units.text("a command", "notify-send Tenfold", is_private=True),
            "A command that gets the alert as JSON on its standard input.",
        ),
        Key(
            "only",
            units.text("critical or warning", "critical", pattern="critical|warning"),
            "Alerts of this severity alone.",
        ),
    ),
    Escalation,
)

PARTS = (
    Key("name", NAME, "The app's name.", derived="the folder's name"),
    Key(
        "services",
        MapOf("a mapping of services", SERVICE_NAME, SERVICE, named="name"),
        "The programs of the app.",
        is_required=True,
    ),
    Key("env", ENV, "Environment variables of every service."),
    Key(
        "secrets", ListOf("a list of names", SECRET_NAME), "Names of secret variables; values by `tenfold secrets set`."
    ),
    Key("domains", ListOf("a list of domains", DOMAIN), "Hosts that the edge answers for.", derived="any host"),
    Key("targets", TARGETS, "What `tenfold prove` proves."),
    Key(
        "regions",
        MapOf("a mapping of regions", REGION_NAME, REGION, named="name"),
        "Places that serve.",
        derived="one, `local`",
    ),
    Key(
        "residency",
        MapOf("a mapping of residencies", NAME.like("eu"), RESIDENCY, named="name"),
        "Who may be served only in regions of a residency, by its name.",
    ),
    Key("tiers", MapOf("a mapping of tiers", NAME.like("starter"), TIER, named="name"), "What classes of tenants get."),
    Key("edge", EDGE, "What the edge does before the app is asked."),
    Key("console", CONSOLE, "Where the console listens, the page that shows what runs and why."),
    Key(
        "rollout",
        Section(
            "a mapping of rollout settings",
            (
                Key(
                    "watch",
                    units.duration("60s", low_s=0.0),
                    "How long a new release must stay healthy before the old one is let go.",
                    "watch_s",
                ),
            ),
            Rollout,
        ),
        "How a release takes over.",
    ),
    Key("data", DATA, "PostgreSQL and Valkey for the app, embedded or your own; without it no store runs."),
    Key("budget", BUDGET, "What may be spent."),
    Key(
        "alerts",
        Section(
            "a mapping of alert settings",
            (Key("escalation", ListOf("a list of rungs", RUNG), "Who is told of an alert, and when, lowest first."),),
            Alerts,
        ),
        "Who is told when something is wrong.",
    ),
    Key(
        "scenarios",
        SCENARIOS,
        "What users do, for load, measurements, drills and proofs; may stand in scenarios.yaml beside this file instead.",
        derived="one, `default`, that asks for the first path",
    ),
    Key(
        "keep",
        ListOf("a list of paths", FOLDER_PATH),
        "Paths of the folder that all releases share (uploads, a SQLite file).",
    ),
)
"""Everything that an environment may say again in its own way."""

OVERRIDES = Section("a mapping of what differs", PARTS, Model)

BLUEPRINT = Section(
    "a mapping",
    (
        *PARTS,
        Key(
            "environments",
            MapOf("a mapping of environments", ENVIRONMENT_NAME, OVERRIDES),
            "What differs in an environment, by its name; `production` is the one that drills refuse.",
        ),
    ),
    Model,
)
