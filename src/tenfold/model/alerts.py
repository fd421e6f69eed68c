"""Who is told of an alert, and when. Nouns of the model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Escalation:
    """One rung: an alert that has lasted `after_s` goes to `webhook` (an HTTP POST of JSON; it may name a secret as `${NAME}`) or is given
    to `command` (JSON on its standard input). With `only` it hears of alerts of
    that severity alone (`critical`)."""

    after_s: float = 0.0
    webhook: str | None = None
    command: str | None = None
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Alerts:
    """The rungs, lowest first; none: alerts are shown and journalled, and sent nowhere."""

    escalation: tuple[Escalation, ...] = ()
