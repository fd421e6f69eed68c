"""When so many users will be there: growth by share or by number. Stage: users of today and how they grow -> days from now."""

import math
from dataclasses import dataclass

DAYS = {"day": 1.0, "week": 7.0, "month": 365.2425 / 12, "year": 365.2425}
"""What a period lasts; a month is a twelfth of the mean year of the Gregorian calendar."""
DAYS_MAX = 3650.0
"""Nobody's growth holds for longer than ten years."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How users grow: by `ratio` (0.1: a tenth more) or by `users` each `period` (`day`, `week`, `month`, `year`); one of both is 0."""

    period: str
    ratio: float = 0.0
    users: float = 0.0

    def days_until(self, today: float, users: float) -> float | None:
        """In how many days `users` are reached from those of today: 0 when they are there, None when not within ten years.

        By share N(t) = today * (1 + ratio)^(t / period), by number N(t) = today + users * t / period, t and period in days.
        """
        if users <= today:
            return 0.0
        if self.ratio > 0:
            periods = math.log(users / today) / math.log1p(self.ratio) if today > 0 else math.inf
        else:
            periods = (users - today) / self.users if self.users > 0 else math.inf
        found_days = periods * DAYS[self.period]
        return found_days if found_days <= DAYS_MAX else None
