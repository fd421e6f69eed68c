"""What a blueprint may say of a service. One half of the declaration that `parts` makes whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tenfold.blueprint import schedules, units
from tenfold.blueprint.shape import Key, ListOf, MapOf, Section
from tenfold.model import INSTANCES_MOST, Forecast, Health, InstanceSize, Scaling, Service, Trigger

WORD = r"(?=.{1,40}$)[a-z](?:-?[a-z0-9])*"
NAME = units.text("a name (small letters, digits and hyphens)", "myapp", pattern=WORD)
SERVICE_NAME = units.text(
    "a service's name (small letters, digits and hyphens; not tenfold)", "web", pattern=rf"(?!tenfold$){WORD}"
)
METRIC = units.text(
    "a metric's name (small letters, digits and underscores)", "queue_length", pattern="[a-z][a-z0-9_]{0,60}"
)
ENV_NAME = units.text(
    "a variable's name (letters, digits and underscores)", "LOG_LEVEL", pattern="[A-Za-z_][A-Za-z0-9_]{0,200}"
)
COMMAND = units.text("a command", "python -m http.server {port}")
URL_PATH = units.text("a URL path that starts with / and has no spaces, ?, # or *", "/api", pattern=r"/[^\s?#*]{0,200}")

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
        "capacity": _trigger(units.percent("80%"), "50%"),
    },
)

_SCALES = (
    Key(
        "instances",
        Section(
            "a mapping of min and max",
            (
                Key(
                    "min",
                    units.count("instances", "1", low=0, high=INSTANCES_MOST),
                    "Instances that always run, in each region; with 0 a service sleeps while it is idle.",
                    "instances_min",
                ),
                Key(
                    "max",
                    units.count("instances", "4", high=INSTANCES_MOST),
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
                Key("horizon", units.duration("10m", low_s=1.0), "What will be needed within it is kept.", "horizon_s"),
                Key(
                    "confidence",
                    units.percent("95%", low=0.5, high=0.999),
                    "How sure it should be that there are enough instances.",
                    "confidence_ratio",
                ),
            ),
            Forecast,
        ),
        "Adds instances before the load comes.",
    ),
    Key(
        "idle",
        units.duration("15m", low_s=1.0),
        "With min 0: how long without a request and without open sockets before the last instance goes.",
        "idle_s",
    ),
    Key(
        "floors",
        ListOf("a list of scheduled floors", schedules.floor("weekdays 08:00-18:00 min 4")),
        "So many instances run at these hours at least, in each region; they start in time to serve when the hour begins.",
    ),
    Key(
        "zone",
        schedules.zone("Europe/Berlin"),
        "The time zone of floors that name none.",
    ),
)


def _as_its_service(key: Key) -> Key:
    """The same key, of a tier's pool: left out, it is as the service's own."""
    if isinstance(key.kind, Section) and key.kind.build is None:
        return replace(key, kind=replace(key.kind, keys=tuple(map(_as_its_service, key.kind.keys))))
    return replace(key, derived="as the service's own")


@dataclass(frozen=True, slots=True)
class ScalingSaid(Scaling):
    """Scaling as a blueprint says it: with what it says of tiers' pools, by tier and attribute. `tiers` makes services of these."""

    tiers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


SCALING = Section(
    "a mapping of scaling settings",
    (
        *_SCALES,
        Key(
            "tiers",
            MapOf(
                "a mapping of tiers",
                NAME.like("enterprise"),
                Section("a mapping of scaling settings", tuple(map(_as_its_service, _SCALES))),
            ),
            "Tiers whose requests get instances of their own, by the tier's name; what is not said is the service's own.",
        ),
    ),
    ScalingSaid,
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
        Key(
            "sticky",
            units.flag(),
            "Whether a browser stays at the region and the instance that answered it first, by cookie, while these serve.",
            "is_sticky",
        ),
    ),
    Service,
)
