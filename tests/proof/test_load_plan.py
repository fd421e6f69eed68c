"""The nouns of a load run check themselves."""

import msgspec
import pytest

from tenfold.proof.load import LoadError, LoadPlan, Mix, RateCurve, Request, Target


def test_a_mix_is_read() -> None:
    """Requests with their shares, as people write them."""
    mix = Mix.parse("GET /api/wait?ms=20 60%,  post / 40%")
    assert [(request.name, request.weight) for request in mix.requests] == [("GET /api/wait?ms=20", 60), ("POST /", 40)]
    assert [request.weight for request in Mix.parse("GET /a, GET /b").requests] == [1, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a request"),
        ("GET", "not a request"),
        ("GET / 50%,", "not a request"),
        ("GET / x 50%", "not a request"),
        ("GET / 50%, GET /a", "some have none"),
        ("GET / 50%, GET /a 40%", "add up to 90%"),
        ("GET / 0%, GET /a 100%", "weight of 0"),
        ("GET api", "not a path"),
        ("GET http://elsewhere/", "not a path"),
        ("GET /a#b", "not a path"),
        ("GET /straße", "not a path"),
        ("G(ET /", "not a method"),
        ("CONNECT /", "tunnel"),
    ],
)
def test_a_bad_mix_is_refused(text: str, says: str) -> None:
    """Each kind of slip has its own sentence."""
    with pytest.raises(LoadError, match=says):
        Mix.parse(text)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost/", "http://[::1]:81", "http://app.localhost:80"]
)
def test_loopback_is_welcome(url: str) -> None:
    """This machine's own addresses need no further word."""
    assert Target.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1:80",
        "http://0.0.0.0:80",
        "http://2130706433",
    ],
)
def test_other_hosts_need_a_word(url: str) -> None:
    """Load on somebody else's server is refused, unless whoever asks answers for it."""
    with pytest.raises(LoadError, match="loopback only"):
        Target.parse(url)
    assert Target.parse(url, owned=True).owned


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("127.0.0.1:8080", "not an address"),
        ("ftp://127.0.0.1", "not an address"),
        ("http://", "not an address"),
        ("http://127.0.0.1:port", "not an address"),
        ("http://127.0.0.1:99999", "not an address"),
        ("http://127.0.0.1:0", "port 0"),
        ("http://me:secret@127.0.0.1", "not an address"),
        ("http://[::1", "not an address"),
        ("https://127.0.0.1", "TLS"),
        ("http://127.0.0.1/path", "names a path"),
        ("http://127.0.0.1?x=1", "names a path"),
    ],
)
def test_bad_addresses_are_refused(url: str, says: str) -> None:
    """What is not an address gets a sentence with one that is."""
    with pytest.raises(LoadError, match=says):
        Target.parse(url)


def test_requests_are_rendered() -> None:
    """The bytes on the wire: our headers, theirs, and a length where there is a body or could be one."""
    target = Target("::1", 8080)
    assert Request("GET", "/a?b=1").rendered(target) == (
        b"GET /a?b=1 HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: tenfold-load\r\n\r\n"
    )
    request = Request("POST", "/", (("host", "app.example"), ("User-Agent", "me")), b"{}")
    assert request.rendered(target) == (
        b"POST / HTTP/1.1\r\nhost: app.example\r\nUser-Agent: me\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    "headers",
    [(("X", "a\r\nY: b"),), (("X:", "a"),), (("X Y", "a"),), (("Content-Length", "5"),), (("connection", "close"),)],
)
def test_headers_that_would_break_the_request_are_refused(headers: tuple[tuple[str, str], ...]) -> None:
    """No line break gets into a header, and the engine's own headers stay its own."""
    with pytest.raises(LoadError):
        Request("GET", "/", headers)


def test_a_plan_travels_as_json_and_is_checked_on_arrival() -> None:
    """The generator's own process gets the same plan, and no plan goes round the checks."""
    plan = LoadPlan(
        Target("127.0.0.1", 80), RateCurve.steps((1, 5)), Mix((Request("POST", "/", (("A", "b"),), b"\x00"),))
    )
    text = msgspec.json.encode(plan)
    assert msgspec.json.decode(text, type=LoadPlan) == plan
    with pytest.raises(msgspec.ValidationError, match="loopback only"):
        msgspec.json.decode(text.replace(b"127.0.0.1", b"203.0.113.1"), type=LoadPlan)


def test_impossible_plans_are_refused() -> None:
    """Patience and room have bounds."""
    target, curve = Target("127.0.0.1", 80), RateCurve.steps((1, 5))
    for timeout_s in (0.0, -1.0, 601.0, float("nan")):
        with pytest.raises(LoadError, match="timeout"):
            LoadPlan(target, curve, timeout_s=timeout_s)
    for in_flight_max in (0, 20_001):
        with pytest.raises(LoadError, match="in flight"):
            LoadPlan(target, curve, in_flight_max=in_flight_max)
