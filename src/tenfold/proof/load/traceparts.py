"""What every reader of traces needs: rows, the time that is asked for, times in the ways in which tools write them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

HELP = "write a header `timestamp,requests` and rows like `2026-01-05T09:00,420`"
FIGURE_MAX = 1e12
"""Nobody is asked for more in any step: such a figure is none of requests, and a simulation can't count so far."""
BOUNDS = "give a number from 0 to 1e12"
_SCALES = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
"""A number below this is so many parts of a second since the epoch: seconds up to the year 5138, then ms, us and ns."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure at a moment; `where` is the file and the line, or what there is instead."""

    where: str
    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is asked for: from `since` up to but not including `until`; None is without a bound."""

    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, since: datetime | None, until: datetime | None) -> Self:
        """Times without a zone are taken as UTC, as almost every trace means them."""
        return cls(*(m.replace(tzinfo=UTC) if m is not None and m.tzinfo is None else m for m in (since, until)))

    @property
    def words(self) -> str:
        """For a sentence about what a file has."""
        return "" if self.since is None and self.until is None else " in the time asked for"

    def holds(self, at: datetime) -> bool:
        """Whether a moment lies in it."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def of_epoch(number: float) -> datetime:
    """A time from seconds since the epoch, or milli-, micro- or nanoseconds. Raises `ValueError` for what is none."""
    for below, parts in _SCALES:
        if abs(number) < below:
            try:
                return datetime.fromtimestamp(number / parts, UTC)
            except (OverflowError, OSError) as error:
                raise ValueError(str(error)) from error
    raise ValueError(f"{str(number)[:40]} is no time since the epoch")


def of_text(text: str) -> datetime:
    """A time in UTC, from ISO 8601 (without a zone it is that) or a number since the epoch. Raises `ValueError`."""
    whole, _, rest = text.partition(".")
    # Eight digits are a day, as ISO 8601 writes it short.
    if whole.isascii() and whole.isdigit() and len(whole) >= 9 and (not rest or (rest.isascii() and rest.isdigit())):
        return of_epoch(float(text))
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def told(moment: datetime) -> str:
    """`2026-01-05T09:00`, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").removesuffix(":00")
