"""What a ScaledObject's metadata may say, and the sentence for what it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.console.keda.asked import QUERY_KEYS, Asked, BadMetadata, Ref, asked_of
from tenfold.model import Forecast, Scaling, Service, Trigger

QUERY = "sum(rate(http_requests_total[1m]))"
WEB = Service(
    "web",
    "serve",
    scaling=Scaling(2, 8, (Trigger("cpu", 0.8, 0.4), Trigger("capacity", 0.7, 0.4)), Forecast(900.0, 0.9)),
)


def asked(*, measured: dict[str, float] | None = None, **metadata: str) -> Asked:
    ref = Ref("shop", "web-scaler", tuple(sorted(metadata.items())))
    return asked_of(ref, {"web": WEB}, measured or {})


def test_two_keys_are_enough() -> None:
    """A query and what one instance holds; the rest is as KEDA has it, with a forecast."""
    found = asked(query=QUERY, holds="50")
    assert (found.query, found.holds, found.replicas_query, found.start_s) == (QUERY, 50.0, None, 120.0)
    scaling = found.service.scaling
    assert (found.service.name, scaling.instances_min, scaling.instances_max) == ("web-scaler", 1, 100)
    assert scaling.forecast == Forecast()
    assert scaling.triggers == ()


def test_all_keys_are_read() -> None:
    """Bounds, horizon, confidence, start time and the query of replicas."""
    found = asked(
        query=QUERY, holds="12.5", replicas_query="r", min="0", max="12", horizon="15m", confidence="90%", start="45s"
    )
    scaling = found.service.scaling
    assert (found.holds, found.replicas_query, found.start_s) == (12.5, "r", 45.0)
    assert (scaling.instances_min, scaling.instances_max) == (0, 12)
    assert scaling.forecast == Forecast(900.0, 0.9)


def test_a_service_of_the_blueprint_gives_what_is_not_said() -> None:
    """Its bounds, its forecast and its capacity trigger count, unless the metadata says otherwise; what can't be read here is left out."""
    found = asked(query=QUERY, holds="50", service="web", max="20")
    scaling = found.service.scaling
    assert (scaling.instances_min, scaling.instances_max) == (2, 20)
    assert scaling.forecast == Forecast(900.0, 0.9)
    assert [each.metric for each in scaling.triggers] == ["capacity"]
    assert asked(query=QUERY, service="web", measured={"web": 33.0}).holds == 33.0


def test_keys_of_keda_are_keda_s() -> None:
    """What KEDA reads itself comes along and is no mistake; a value from the target's environment counts as the key's."""
    found = asked(
        query=QUERY, holdsFromEnv="50", scalerAddress="tenfold:9095", enableTLS="true", tlsCertFile="/certs/ca.crt"
    )
    assert found.holds == 50.0


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({}, "metadata query is missing: it is a PromQL query, such as sum("),
        ({"query": QUERY}, "metadata holds is missing: it is how much of the query's figure one instance holds"),
        ({"query": QUERY, "hold": "5"}, "metadata hold: there is no such key; did you mean holds?"),
        ({"query": QUERY, "holds": "5", "zebra": "1"}, "there is no such key; there are query, holds"),
        ({"query": QUERY, "holds": "lots"}, 'metadata holds: expected a number above 0, found "lots"; try 50'),
        ({"query": QUERY, "holds": "0"}, "metadata holds: expected 0.001 or more"),
        ({"query": QUERY, "holds": "NaN"}, "metadata holds: expected a number above 0"),
        ({"query": " ", "holds": "5"}, "metadata query: expected a PromQL query"),
        ({"query": QUERY, "holds": "5", "min": "9", "max": "3"}, "metadata min: 9 is above max, which is 3"),
        ({"query": QUERY, "holds": "5", "max": "0"}, "metadata max: expected 1 or more"),
        ({"query": QUERY, "holds": "5", "confidence": "95"}, "metadata confidence: expected a percentage"),
        ({"query": QUERY, "holds": "5", "start": "soon"}, "metadata start: expected a duration"),
        ({"query": QUERY, "holds": "5", "service": "wep"}, "the blueprint has no service wep; it has web"),
        ({"query": QUERY, "holds": "5", "holdsFromEnv": "6"}, "metadata holds: it is there twice"),
        ({"query": "q" * 9000, "holds": "5"}, "metadata query: it is longer than 8192 characters"),
    ],
)
def test_what_is_wrong_is_named(metadata: dict[str, str], sentence: str) -> None:
    """The key, what was expected, and the nearest that there is."""
    with pytest.raises(BadMetadata) as found:
        asked(**metadata)
    assert sentence in str(found.value)
    assert "\n" not in str(found.value)


@given(st.dictionaries(st.sampled_from([*QUERY_KEYS, "hold", "x"]), st.text(max_size=20), max_size=9))
def test_any_text_is_read_or_refused(metadata: dict[str, str]) -> None:
    """Whatever somebody writes, it gives bounds that hold, or a sentence; nothing else is raised."""
    try:
        found = asked(**metadata)
    except BadMetadata as error:
        assert str(error).startswith("metadata ")
        return
    assert 0 <= found.service.scaling.instances_min <= found.service.scaling.instances_max
    assert found.holds > 0
