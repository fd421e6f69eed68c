"""Quantities are text with units: what each may look like, how it becomes a number,
and how a number becomes its text again."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

from cronsim import CronSim, CronSimError

from tenfold.model import Money, Rate

Written = str
"""A value as a blueprint writes it (`5s`, `512MiB`)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One sort of scalar.

    `what` completes "expected ...", `example` is a value that is right. Text that matches `pattern` whole is given to
    `read`, which raises `ValueError("expected ...")` for what is well formed yet out of range. `write` is the way back.
    `json_types` are the types besides text that an editor may take the value for.
    What is `private` is never repeated in a message.
    """

    what: str
    example: Written
    pattern: str
    read: Callable[[Written], Any]
    write: Callable[[Any], Written] = str
    json_types: tuple[str, ...] = ()
    is_private: bool = False

    def parse(self, text: Written) -> Any:
        """The value of `text`. Raises `ValueError` whose text says what was expected."""
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise ValueError(f"expected {self.what}")
        return self.read(text)

    def like(self, example: Written) -> "Unit":
        """The same unit with an example that suits its key."""
        return replace(self, example=example)


_SECONDS = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_BYTES = {
    f"{letter}{i}b": Decimal(1024 if i else 1000) ** n for n, letter in enumerate("kmgt", 1) for i in ("i", "")
} | {"b": Decimal(1)}
_NUMBER = r"\d{1,18}(?:\.\d{1,9})?"


def _split(text: Written) -> tuple[Decimal, str]:
    """The number at the start of `text`, and the unit after it."""
    number = re.match(_NUMBER, text)
    assert number is not None, "the pattern asks for a number first"
    return Decimal(number.group()), text[number.end() :].strip()


def _plain(value: Decimal) -> Written:
    """Digits without exponent or needless zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _within(value: Any, low: float | None, high: float | None, unit: Callable[[Any], Written]) -> Any:
    """`value`, or a `ValueError` that names the bound it breaks."""
    if low is not None and value < low:
        raise ValueError(f"expected {unit(low)} or more")
    if high is not None and value > high:
        raise ValueError(f"expected {unit(high)} or less")
    return value


def _write_seconds(seconds: float) -> Written:
    value = Decimal(repr(seconds))
    if value == 0:
        return "0s"
    name = next(name for name, size in _SECONDS.items() if value % size == 0 or name == "ms")
    return f"{_plain(value / _SECONDS[name])}{name}"


def duration(example: Written, *, low_s: float = 0.001, in_ms: bool = False) -> Unit:
    """A length of time, in seconds (or milliseconds), of at least `low_s` and at most ten years."""
    times = Decimal(1000 if in_ms else 1)

    def write(value: float) -> Written:
        return _write_seconds(float(Decimal(repr(value)) / times))

    def read(text: Written) -> float:
        number, unit = _split(text)
        seconds = number * _SECONDS[unit]
        _within(float(seconds), low_s, 3650 * 86400.0, _write_seconds)
        return float(seconds * times)

    return Unit("a duration (ms, s, m, h or d)", example, rf"{_NUMBER} ?(?:ms|s|m|h|d)", read, write)


def size(example: Written, *, low_bytes: int) -> Unit:
    """A number of bytes."""

    def write(count: int) -> Written:
        for name in ("TiB", "GiB", "MiB", "KiB"):
            if count and count % _BYTES[name.lower()] == 0:
                return f"{int(count / _BYTES[name.lower()])}{name}"
        return f"{int(count)}B"

    def read(text: Written) -> int:
        number, unit = _split(text)
        value: int = _within(int(number * _BYTES[unit.lower()]), low_bytes, 2**50, write)
        return value

    return Unit("a size (KiB, MiB, GiB or kB, MB, GB)", example, rf"{_NUMBER} ?(?:[KkMmGgTt][Ii]?)?[Bb]", read, write)


def percent(example: Written, *, low: float = 0.0, high: float = 1.0) -> Unit:
    """A share, 0..1, written as a percentage."""

    def write(ratio: float) -> Written:
        return f"{_plain(Decimal(repr(ratio)) * 100)}%"

    def read(text: Written) -> float:
        ratio: float = _within(float(_split(text)[0] / 100), low, high, write)
        return ratio

    return Unit("a percentage", example, rf"{_NUMBER} ?%", read, write)


def count(of: str, example: Written, *, low: int = 1, high: int = 10**9) -> Unit:
    """A whole number of something, `of` in the plural; underscores may part its digits."""

    def read(text: Written) -> int:
        value: int = _within(int(text), low, high, str)
        return value

    return Unit(f"a whole number of {of}", example, r"-?\d{1,12}(?:_\d{1,12}){0,4}", read, str, ("integer",))


def port(example: Written) -> Unit:
    """A TCP port."""
    return replace(count("ports", example, high=65535), what="a port number")


def number(what: str, example: Written, *, low: float | None = None, high: float | None = None) -> Unit:
    """A plain number."""

    def write(value: float) -> Written:
        return _plain(Decimal(repr(value)))

    def read(text: Written) -> float:
        value: float = _within(float(text), low, high, write)
        return value

    return Unit(what, example, r"[+-]?\d{1,12}(?:_\d{1,3}){0,4}(?:\.\d{1,9})?", read, write, ("number",))


def cores(example: Written) -> Unit:
    """A number of processor cores: `1`, `0.5`, or thousandths as Kubernetes writes them, `500m`."""

    def write(value: float) -> Written:
        return _plain(Decimal(repr(value)))

    def read(text: Written) -> float:
        amount, milli = _split(text)
        value: float = _within(float(amount / 1000 if milli else amount), 0.01, 1024.0, write)
        return value

    return Unit("a number of processor cores", example, rf"{_NUMBER}m?", read, write, ("number",))


def rate(example: Written) -> Unit:
    """So many in each second, minute, hour or day."""

    def write(value: Rate) -> Written:
        return f"{value.count}/{next(name for name, size in _SECONDS.items() if float(size) == value.per_s)}"

    def read(text: Written) -> Rate:
        many, per = (part.strip() for part in text.split("/"))
        value: int = _within(int(many), 1, 10**9, lambda low: f"{low}/s")
        return Rate(value, float(_SECONDS["m" if per == "min" else per]))

    return Unit("a rate (/s, /min, /h or /d)", example, r"\d{1,12}(?:_\d{1,12}){0,4} ?/ ?(?:s|min|m|h|d)", read, write)


def per_second(example: Written) -> Unit:
    """A rate as a plain number of events per second."""
    exact = rate(example)

    def write(value: float) -> Written:
        return f"{_plain(Decimal(repr(value)))}/s"

    def read(text: Written) -> float:
        found: Rate = exact.read(text)
        return found.per_second

    return replace(exact, read=read, write=write)


_CIDR = "an address block (CIDR) or an address"


def _read_cidr(text: Written) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        if "host bits" in str(error):
            meant = ip_network(text, strict=False)
            raise ValueError(f"expected {meant} (what follows the first {meant.prefixlen} bits must be 0)") from None
        raise ValueError(f"expected {_CIDR}") from None


def cidr(example: Written) -> Unit:
    """A block of IP addresses; one address alone is a block of one."""
    return Unit(_CIDR, example, r"[0-9A-Fa-f:.]{2,45}(?:/\d{1,3})?", _read_cidr)


def money(example: Written, *, digits: int = 2) -> Unit:
    """An amount above nothing, of at most `digits` after the point, and its currency."""

    def read(text: Written) -> Money:
        amount, currency = text.split()
        if not Decimal(amount):
            raise ValueError("expected an amount above 0")
        return Money(Decimal(amount), currency)

    pattern = rf"\d{{1,12}}(?:\.\d{{1,{digits}}})? [A-Z]{{3}}"
    return Unit("an amount and a currency (three capital letters)", example, pattern, read)


def flag() -> Unit:
    """Yes or no."""
    return Unit(
        "true or false",
        "true",
        "true|false",
        lambda text: text == "true",
        lambda value: str(value).lower(),
        ("boolean",),
    )


def text(what: str, example: Written, *, pattern: str = r"[\s\S]*\S[\s\S]*", is_private: bool = False) -> Unit:
    """Words, taken as they are written; by default anything but nothing."""
    return Unit(what, example, pattern, str, str, is_private=is_private)


def value(what: str, example: Written) -> Unit:
    """Any scalar, kept as it is written (`010` stays `010`)."""
    return Unit(what, example, r"[\s\S]*", str, str, ("number", "boolean"), is_private=True)


def _read_cron(text: Written) -> str:
    try:
        comes = next(CronSim(text, datetime(2024, 1, 1)), None)  # noqa: DTZ001 - any fixed day does; cron here is UTC
    except CronSimError as error:
        raise ValueError(f"expected a cron expression (UTC; cron says: {error})") from None
    if comes is None:
        raise ValueError("expected a cron expression of a time that comes")
    return text


def cron(example: Written) -> Unit:
    """Five fields of cron: minute, hour, day of month, month, day of week."""
    pattern = r"(?=.{1,100}$)[\w*,/#-]+(?: +[\w*,/#-]+){4}"
    return Unit("a cron expression of five fields (minute hour day month weekday, UTC)", example, pattern, _read_cron)
