"""Where the entry believes clients to be: by whose word, by country, or at home."""

from typing import Any

import pytest

from tenfold.model import ResidencyRule, ServiceRoutes, Share

PLACES = {"eu": (50.4, 3.8), "us": (41.3, -95.9), "au": (-37.8, 144.9)}
WEB = ServiceRoutes("web", ("/",), (), hedge_after_ms=None)


def test_the_nearest_region_serves(stack: Any) -> None:
    """The word of a trusted sender places a client by great circle, over the date line too; nonsense leads home."""
    stack.gateways((WEB,))
    trusting = stack.entry(stack.table(stack.own(*PLACES), trust=("127.0.0.0/8",)))
    asked = {
        "48.8,2.3": "eu",
        " 40.7 , -74.0 ": "us",
        "-36.8,174.8": "au",
        "-17.7,-178.0": "au",
        "21.3,-157.8": "us",
        "90,0": "eu",
        "+35.7,139.7": "au",
        **dict.fromkeys(("", "Paris", "91,0", "0,181", "nan,nan", "1e1,2", "1,2,3", "0x10,1", "48.8;2.3"), "eu"),
    }
    found = {said: stack.ask(trusting.port, x_tenfold_place=said) for said in asked}
    assert {said: answer.region for said, answer in found.items()} == asked
    seen = found["-36.8,174.8"].seen["headers"]
    assert seen["x-tenfold-origin"] == "au"
    assert "x-tenfold-place" not in seen


def test_strangers_are_not_believed(stack: Any) -> None:
    """Who is not trusted can tell neither place nor origin, address, nor request id; who is can tell the client's address."""
    stack.gateways((WEB,))
    said = {
        "x_tenfold_place": "-36.8,174.8",
        "x_tenfold_origin": "au",
        "x_forwarded_for": "1.2.3.4, 9.8.7.6",
        "x_request_id": "mine",
        "x_tenfold_tenant": "acme",
    }
    strict = stack.entry(stack.table(stack.own(*PLACES), trust=("10.0.0.0/8",)))
    answer = stack.ask(strict.port, **said)
    headers = answer.seen["headers"]
    assert (answer.region, headers["x-tenfold-origin"], headers["x-forwarded-for"]) == ("eu", "eu", "127.0.0.1")
    assert "x-tenfold-place" not in headers
    assert headers["x-tenfold-tenant"] == "acme"
    assert headers["x-request-id"] == answer.headers["x-request-id"] != "mine"
    trusting = stack.entry(stack.table(stack.own(*PLACES), trust=("127.0.0.1",)), "entry-trusting")
    headers = stack.ask(trusting.port, **said).seen["headers"]
    assert (headers["x-tenfold-origin"], headers["x-forwarded-for"]) == ("au", "9.8.7.6")
    assert headers["x-request-id"] != "mine"


@pytest.mark.parametrize("tenants", [(), ("acme",)])
def test_a_place_leaves_no_residency(stack: Any, tenants: tuple[str, ...]) -> None:
    """Wherever its client is, a request to a host of a residency is served there and tells its origin, and a socket is opened near
    its client, whether the place alone decides or tenants do too."""
    stack.gateways((WEB,))
    ways = (*stack.own(*PLACES), *stack.everywhere(Share("eu", 1.0), residency="eu"))
    rule = ResidencyRule("eu", ("eu.shop.example",), tenants)
    port = stack.entry(stack.table(ways, trust=("127.0.0.1",), residency=(rule,))).port
    kept = stack.ask(port, host="eu.shop.example", x_tenfold_place="-36.8,174.8")
    assert (kept.region, kept.seen["headers"]["x-tenfold-origin"]) == ("eu", "au")
    assert stack.ask(port, x_tenfold_place="-36.8,174.8").region == "au"
    assert stack.ask(port).seen["headers"]["x-tenfold-origin"] == "eu"
    stack.open_socket(port, "-36.8,174.8").close()
    lines = stack.engine("entry").logged(4)
    assert [line["pool"] for line in lines] == ["from~au~eu", "from~au", "from~eu", "from~au~ws"]


def country_database(low: str, high: str) -> bytes:
    """A MaxMind database (format 2.0) of two countries: of IPv4 addresses below 128.0.0.0, and of all others."""

    def text(value: str) -> bytes:
        return bytes([2 << 5 | len(value)]) + value.encode()

    def entries(**found: bytes) -> bytes:
        return bytes([7 << 5 | len(found)]) + b"".join(text(key) + value for key, value in found.items())

    def short(value: int) -> bytes:
        return bytes([5 << 5 | 2]) + value.to_bytes(2, "big")

    countries = [entries(country=entries(iso_code=text(code))) for code in (low, high)]
    # One node; what is past it (16 zeros apart) points into the data.
    node = b"".join((1 + 16 + at).to_bytes(3, "big") for at in (0, len(countries[0])))
    about = entries(
        node_count=bytes([6 << 5 | 1, 1]),
        record_size=short(24),
        ip_version=short(4),
        database_type=text("Country"),
        languages=bytes([1, 4]) + text("en"),
        binary_format_major_version=short(2),
        binary_format_minor_version=short(0),
        build_epoch=bytes([1, 2, 1]),
        description=entries(en=text("Two countries")),
    )
    return node + bytes(16) + b"".join(countries) + b"\xab\xcd\xefMaxMind.com" + about


def test_a_country_is_a_place(stack: Any) -> None:
    """With a GeoIP database the client's address tells its nearest region; a trusted sender's word on the place tells more."""
    path = stack.folder / "country.mmdb"
    path.write_bytes(country_database("NZ", "CA"))
    stack.gateways((WEB,))
    port = stack.entry(stack.table(stack.own(*PLACES), trust=("127.0.0.0/8",), geoip=str(path))).port
    assert stack.ask(port).region == "au"
    assert stack.ask(port, x_forwarded_for="200.1.1.1").region == "us"
    assert stack.ask(port, x_forwarded_for="200.1.1.1", x_tenfold_place="50,4").region == "eu"
    assert stack.ask(port, x_forwarded_for="200.1.1.1", x_tenfold_place="nowhere").region == "us"
    strict = stack.entry(stack.table(stack.own(*PLACES), geoip=str(path)), "entry-strict").port
    answer = stack.ask(strict, x_tenfold_country="CA", x_tenfold_origin="us", x_forwarded_for="200.1.1.1")
    assert (answer.region, answer.seen["headers"]["x-tenfold-origin"]) == ("au", "au")
    assert "x-tenfold-country" not in answer.seen["headers"]
    path.write_bytes(country_database("AQ", "AQ"))
    unknown = stack.entry(stack.table(stack.own(*PLACES), geoip=str(path)), "entry-unknown").port
    assert stack.ask(unknown).region == "eu"
