"""What the journal knows of the last days, for plans: minutes of the pools, users of today. Stage: journal -> facts for `cli.plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.cli.here import Here
from tenfold.estimators.advice import Advice, advise_spend
from tenfold.estimators.minutes import MINUTE_S
from tenfold.facts import Window
from tenfold.loop import JournalError, JournalMissing, JournalReader
from tenfold.model import Model

DAYS = 7
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Past:
    """The last week: its minutes, and how long a start takes, by pool. Empty where nothing has run."""

    window: Window = field(default_factory=lambda: Window(0.0, MINUTE_S, {}))
    starts_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def users(self) -> float | None:
        """The most users at once that the app told; None where it tells none."""
        told = [values for name, values in self.window.series.items() if name.endswith(":concurrent_users")]
        sums = [sum(v or 0.0 for v in minute) for minute in zip(*told, strict=True)]
        most = max(sums, default=0.0)
        return most if most >= 1 else None

    def advice(self, model: Model, held_rps: Mapping[str, float]) -> tuple[Advice, ...]:
        """What would have cost less."""
        return advise_spend(model, self.window, held_rps, self.starts_s)


def past_of(here: Here) -> Past:
    """The journal's last week. One that can't be read tells nothing here: other commands say what is wrong with it."""
    try:
        with JournalReader(here.project().journal) as reader:
            tick = reader.latest()
            if tick is None:
                return Past()
            starts_s = {key: seen.start_s for key, seen in tick.snapshot.works.items() if seen.start_s is not None}
            return Past(reader.window(tick.at - DAYS * DAY_S, tick.at + MINUTE_S), starts_s)
    except (JournalMissing, JournalError):
        return Past()
