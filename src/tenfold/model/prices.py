"""What a core and a GiB of memory cost for an hour, where the blueprint does not say it. Nouns of the model."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tenfold.model.money import Money

GIB_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one core and of one GiB of memory, for an hour, in one currency. `as_of` (`2026-06-17`) and `source` say when and
    where they were found; both are empty for those of the blueprint."""

    core_hour: Money
    gib_hour: Money
    as_of: str = ""
    source: str = ""

    @property
    def currency(self) -> str:
        return self.core_hour.currency

    def per_hour(self, cores: float, memory_bytes: float) -> Decimal:
        """What so many cores and so much memory cost for an hour, in the currency of these prices."""
        gib = Decimal(str(memory_bytes)) / GIB_BYTES
        return Decimal(str(cores)) * self.core_hour.amount + gib * self.gib_hour.amount


SHIPPED = Prices(
    Money(Decimal("0.04048"), "USD"),
    Money(Decimal("0.004445"), "USD"),
    as_of="2026-06-17",
    source="AWS Fargate, Linux on x86, us-east-1, on demand",
)
"""A common list price for containers that somebody else runs: what a server of your own costs is for the blueprint to say."""


def month_of(at: float) -> tuple[float, float]:
    """When the month (UTC) of `at` begins and ends, in seconds since the epoch."""
    day = datetime.fromtimestamp(at, UTC)
    first = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first.timestamp(), after.timestamp()
