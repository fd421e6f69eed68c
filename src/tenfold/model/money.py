"""Money: an amount in a currency, never a bare float. A noun of the model."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Money:
    """`amount` in whole units of `currency` (ISO 4217, three capital letters)."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"
