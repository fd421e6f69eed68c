"""What a blueprint may say: the one declaration from which it is read, hinted at, and described to editors."""

from tenfold.blueprint import units
from tenfold.blueprint.shape import Key, ListOf, MapOf, Section, TupleOf
from tenfold.model import (
    Budget,
    CacheTimes,
    Data,
    Edge,
    Forecast,
    Health,
    InstanceSize,
    LatencyTargets,
    Limits,
    Model,
    Region,
    Rollout,
    Scaling,
    Service,
    Targets,
    Tier,
    Trigger,
)

_WORD = r"(?=.{1,40}$)[a-z](?:-?[a-z0-9])*"
NAME = units.text("a name (small letters, digits and hyphens)", "myapp", pattern=_WORD)
SERVICE_NAME = units.text(
    "a service's name (small letters, digits and hyphens; not tenfold)", "web", pattern=rf"(?!tenfold$){_WORD}"
)
ENVIRONMENT_NAME = NAME.like("production")
METRIC = units.text(
    "a metric's name (small letters, digits and underscores)", "queue_length", pattern="[a-z][a-z0-9_]{0,60}"
)
ENV_NAME = units.text(
    "a variable's name (letters, digits and underscores)", "LOG_LEVEL", pattern="[A-Za-z_][A-Za-z0-9_]{0,200}"
)
SECRET_NAME = units.text(
    "a variable's name alone (its value goes to `tenfold secrets set`)",
    "SESSION_KEY",
    pattern=ENV_NAME.pattern,
    is_private=True,
)
COMMAND = units.text("a command", "python -m http.server {port}")
URL_PATH = units.text("a URL path that starts with / and has no spaces, ?, # or *", "/api", pattern=r"/[^\s?#*]{0,200}")
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

HEALTH = Section(
    "a mapping of health settings",
    (
        Key(
            "path",
            URL_PATH.like("/api/health"),
            "Asked over HTTP, it must answer 2xx; without one an HTTP service must accept a connection and any other must be alive.",
        ),
        Key("every", units.duration("5s", low_s=0.1), "Time between two questions.", "every_s"),
        Key("timeout", units.duration("2s"), "An answer that takes longer is a bad one.", "timeout_s"),
        Key(
            "healthy_after",
            units.count("answers", "2", high=100),
            "Good answers in a row that make an instance healthy.",
            "healthy_after",
        ),
        Key(
            "unhealthy_after",
            units.count("answers", "3", high=100),
            "Bad answers in a row that make it unhealthy.",
            "unhealthy_after",
        ),
        Key(
            "starts_within",
            units.duration("60s", low_s=0.1),
            "An instance that is not ready after this long has failed to start.",
            "starts_within_s",
        ),
    ),
    Health,
)

INSTANCE = Section(
    "a mapping of instance settings",
    (
        Key("cpu", units.cores("1"), "Processor cores that one instance may use.", "cpu_cores"),
        Key("memory", units.size("512MiB", low_bytes=2**20), "Memory that one instance may use.", "memory_bytes"),
        Key("concurrency", units.count("requests", "80"), "Requests that one instance serves at once."),
    ),
    InstanceSize,
)


def _trigger(up: units.Unit, down: str) -> Section:
    """A trigger whose bounds have the unit of `up`; `down` is an example of the lower one."""
    return Section(
        "a mapping of a trigger's bounds",
        (
            Key("up_above", up, "Above this, per instance, instances are added.", is_required=True),
            Key(
                "down_below",
                up.like(down),
                "Below this, per instance, and for as long as the cooldown, instances are let go.",
                is_required=True,
            ),
            Key(
                "cooldown",
                units.duration("5m", low_s=0.0),
                "How long it must stay low before an instance is let go; adding never waits.",
                "cooldown_s",
            ),
        ),
        Trigger,
    )


TRIGGERS = MapOf(
    "a mapping of metrics",
    METRIC,
    _trigger(units.number("a number (a custom metric has no unit)", "100"), "50"),
    named="metric",
    is_tuple=True,
    known={
        "concurrency": _trigger(units.number("a number of requests", "60", low=0), "30"),
        "cpu": _trigger(units.percent("80%"), "40%"),
        "memory": _trigger(units.percent("80%"), "40%"),
        "response_time": _trigger(units.duration("200ms", in_ms=True), "100ms"),
        "concurrent_users": _trigger(units.number("a number of users", "400", low=0), "200"),
    },
)

SCALING = Section(
    "a mapping of scaling settings",
    (
        Key(
            "instances",
            Section(
                "a mapping of min and max",
                (
                    Key(
                        "min",
                        units.count("instances", "1", high=1000),
                        "Instances that always run, in each region.",
                        "instances_min",
                    ),
                    Key(
                        "max",
                        units.count("instances", "4", high=1000),
                        "Instances that may run, in each region.",
                        "instances_max",
                    ),
                ),
            ),
            "How many instances there may be.",
        ),
        Key(
            "triggers",
            TRIGGERS,
            "Any of them adds instances; all must agree to let one go. Naming some replaces the default ones.",
            derived="concurrency and cpu; cpu alone for a service without HTTP",
        ),
        Key(
            "forecast",
            Section(
                "a mapping of forecast settings",
                (
                    Key("horizon", units.duration("10m", low_s=1.0), "How far ahead to look.", "horizon_s"),
                    Key(
                        "confidence",
                        units.percent("95%", low=0.5, high=0.999),
                        "How sure a forecast must be to add instances.",
                        "confidence_ratio",
                    ),
                ),
                Forecast,
            ),
            "Adds instances before the load comes.",
        ),
    ),
    Scaling,
)

ENV = MapOf("a mapping of variables", ENV_NAME, units.value("a value", "info"))

SERVICE = Section(
    "a mapping with a command",
    (
        Key(
            "command",
            COMMAND,
            "What runs, by a shell in the release's folder; {port} and {host} (or $PORT, $HOST) tell it where to listen.",
            is_required=True,
        ),
        Key("build", COMMAND.like("uv sync --frozen"), "Runs once per release, before it starts."),
        Key(
            "release",
            COMMAND.like("python manage.py migrate"),
            "Runs once per release, before it takes traffic.",
            "release_hook",
        ),
        Key("schedule", units.cron('"0 3 * * *"'), "Cron, in UTC: makes it a job that runs and ends."),
        Key(
            "http",
            units.flag(),
            "Whether it listens for HTTP.",
            derived="true for `web`, and where the command names the port or there is a health path or paths",
        ),
        Key(
            "paths",
            ListOf("a list of URL paths", URL_PATH),
            "URL prefixes that the edge sends to it; [] keeps an HTTP service from the edge.",
            derived='["/"] for `web`, or else for the first HTTP service',
        ),
        Key("health", HEALTH, "How an instance is known to be well."),
        Key("instance", INSTANCE, "What one instance may use."),
        Key("scaling", SCALING, "How many instances, and what moves the number."),
        Key("env", ENV, "Environment variables of this service alone."),
        Key(
            "drain",
            units.duration("30s", low_s=0.0),
            "How long requests at hand may take when an instance is let go.",
            "drain_s",
        ),
    ),
    Service,
)

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
        Key("latency", units.duration("75ms", in_ms=True), "Its goal for an answer.", "latency_ms"),
        Key("residency", NAME.like("eu"), "The place whose law its tenants' data must not leave."),
    ),
    Region,
)

TIER = Section(
    "a mapping of tier settings",
    (
        Key(
            "cache", units.duration("15m", low_s=0.0), "How long the edge may keep an answer for this tier.", "cache_s"
        ),
        Key("preload", units.flag(), "Whether its pages are fetched before they are asked for."),
        Key("requests", units.rate("100/min"), "Requests each tenant may make."),
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
        Key("replicas", units.count("replicas", "1", low=0, high=16), "Copies of each database."),
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
    ),
    Budget,
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
        MapOf("a mapping of regions", NAME.like("europe-west1"), REGION, named="name"),
        "Places that serve.",
        derived="one, `local`",
    ),
    Key("tiers", MapOf("a mapping of tiers", NAME.like("starter"), TIER, named="name"), "What classes of tenants get."),
    Key("edge", EDGE, "What the edge does before the app is asked."),
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
