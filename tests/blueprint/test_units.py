"""Quantities as text: what is written is read back as the same value, and what is wrong says what was expected."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blueprint import units
from tenfold.model import Money, Rate

SECONDS = units.duration("5s", low_s=0.0)
MILLISECONDS = units.duration("50ms", in_ms=True)
SIZE = units.size("512MiB", low_bytes=1)
PERCENT = units.percent("80%")
COUNT = units.count("users", "3000", low=0)
NUMBER = units.number("a number", "1")
CORES = units.cores("1")
RATE = units.rate("100/min")
PER_SECOND = units.per_second("1000/s")
MONEY = units.money("300 USD")
FLAG = units.flag()
CRON = units.cron("0 3 * * *")

thousandths = st.integers(0, 10**8).map(lambda n: n / 1000)


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        (SECONDS, "100ms", 0.1),
        (SECONDS, "5s", 5.0),
        (SECONDS, "1.5 m", 90.0),
        (SECONDS, "1h", 3600.0),
        (SECONDS, "1d", 86400.0),
        (SECONDS, "0s", 0.0),
        (MILLISECONDS, "2s", 2000.0),
        (MILLISECONDS, "1.5ms", 1.5),
        (SIZE, "512MiB", 512 * 1024 * 1024),
        (SIZE, "1GB", 10**9),
        (SIZE, "1.5 kb", 1500),
        (SIZE, "7B", 7),
        (PERCENT, "99.99%", 0.9999),
        (PERCENT, "80 %", 0.8),
        (COUNT, "10_000", 10_000),
        (NUMBER, "-37.8", -37.8),
        (CORES, "500m", 0.5),
        (CORES, "0.5", 0.5),
        (RATE, "100/min", Rate(100, 60.0)),
        (RATE, "1_000 / s", Rate(1000, 1.0)),
        (PER_SECOND, "120/m", 2.0),
        (MONEY, "300 USD", Money(Decimal(300), "USD")),
        (MONEY, "9.99 EUR", Money(Decimal("9.99"), "EUR")),
        (FLAG, "false", False),
        (CRON, "*/5 0-6 1,15 * MON", "*/5 0-6 1,15 * MON"),
        (CRON, "0 0 29 2 *", "0 0 29 2 *"),
    ],
)
def test_reads(unit: units.Unit, text: str, value: Any) -> None:
    """Each unit reads its quantities exactly."""
    assert unit.parse(text) == value


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        (SECONDS, ("5", "s", "-5s", "5 s s", "1e3s", "5sec", "1h30m", "99999d", "٣s")),
        (MILLISECONDS, ("0ms", "50", "50us")),
        (SIZE, ("512", "512Mi", "1.5", "0B", "99999TiB")),
        (PERCENT, ("80", "0.8", "101%", "-1%", "%")),
        (COUNT, ("lots", "1.5", "10,000", "1__0", "_1", "-1", "9" * 5000)),
        (NUMBER, ("x", "1e5", "nan", "inf", "")),
        (CORES, ("0", "0m", "two", "1 m", "5000")),
        (RATE, ("100", "100/week", "0/s", "1.5/s", "/s")),
        (MONEY, ("300", "$300", "300 usd", "0 USD", "300.999 USD")),
        (FLAG, ("yes", "True", "1", "")),
        (
            CRON,
            ("daily", "61 * * * *", "* * * *", "* * * * * *", "0 0 30 2 *", "0 0 * * 9", "* * * * " + "1," * 99 + "1"),
        ),
    ],
)
def test_refuses(unit: units.Unit, texts: tuple[str, ...]) -> None:
    """A quantity without its unit, out of range or of another sort is refused with what was expected."""
    for text in texts:
        with pytest.raises(ValueError, match=r"^expected "):
            unit.parse(text)


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        (SECONDS, thousandths),
        (MILLISECONDS, st.integers(10**3, 10**9).map(lambda n: n / 1000)),
        (SIZE, st.integers(1, 2**50)),
        (PERCENT, st.integers(0, 10**6).map(lambda n: n / 10**6)),
        (COUNT, st.integers(0, 10**9)),
        (NUMBER, thousandths.map(lambda n: -n)),
        (CORES, st.integers(10, 10**6).map(lambda n: n / 1000)),
        (RATE, st.builds(Rate, st.integers(1, 10**9), st.sampled_from([1.0, 60.0, 3600.0, 86400.0]))),
        (MONEY, st.builds(Money, st.decimals(Decimal("0.01"), 10**9, places=2), st.sampled_from(["USD", "EUR"]))),
        (FLAG, st.booleans()),
    ],
)
def test_round_trip(unit: units.Unit, values: st.SearchStrategy[Any]) -> None:
    """What a unit writes, it reads back as the same value: so a default can be shown as text and compared."""

    @given(values)
    def check(value: Any) -> None:
        assert unit.parse(unit.write(value)) == value

    check()


@given(st.text(max_size=30))
def test_no_text_breaks_a_unit(text: str) -> None:
    """Any text is either read or refused with a sentence; nothing else comes out of a unit."""

    for unit in (SECONDS, MILLISECONDS, SIZE, PERCENT, COUNT, CRON, NUMBER, CORES, RATE, PER_SECOND, MONEY, FLAG):
        try:
            unit.parse(text)
        except ValueError as error:
            assert str(error).startswith("expected ")
