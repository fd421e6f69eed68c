"""How an app posts a metric of its own: one JSON object to `POST /api/metrics` of the console."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

METRICS_PATH = "/api/metrics"
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class MetricPost:
    """`value` of metric `name` as instance `instance` of `service` in `region` knows it: its own share, not the total."""

    service: str
    region: str
    instance: str
    name: str
    value: float

    def to_json(self) -> dict[str, str | float]:
        """The body of the POST."""
        return {
            "service": self.service,
            "region": self.region,
            "instance": self.instance,
            "name": self.name,
            "value": self.value,
        }


def read_post(body: object) -> MetricPost:
    """Check a decoded body; raises ValueError with a sentence for its sender."""
    if not isinstance(body, Mapping):
        raise ValueError("expected a JSON object with service, region, instance, name and value")
    texts = {}
    for key in ("service", "region", "instance", "name"):
        text = body.get(key)
        if not isinstance(text, str) or not 0 < len(text) <= 100:
            raise ValueError(f"{key}: expected a text of 1 to 100 characters")
        texts[key] = text
    if not NAME.fullmatch(texts["name"]):
        raise ValueError("name: expected small letters, digits and _ (concurrent_users)")
    value = body.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        raise ValueError("value: expected a finite number")
    return MetricPost(**texts, value=float(value))
