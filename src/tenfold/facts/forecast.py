"""Facts about what is to come: what a series is expected to be, and what a request takes. Reckoned, and journalled like any fact."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForecastSeen:
    """What a series of the journal's minutes is expected to be; key is its name (`web@local.requests_per_s`).

    `quantiles[i][j]` is the value that minute `seen_at + horizons_s[j]` stays below with chance `levels[i]` (0..1; one of them 0.5), in
    the unit of the series. `seen_at` is the end of the newest minute that it knows, and `value` was that minute's; `usual` is the mean of
    the last day's (0 in journals of before that was told). `history_s` is how much of the past it rests on, and `basis` says in words how
    it was made.
    """

    series: str
    seen_at: float
    value: float
    horizons_s: tuple[float, ...]
    levels: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]
    history_s: float = 0.0
    basis: str = ""
    usual: float = 0.0

    @property
    def key(self) -> str:
        return self.series

    def __hash__(self) -> int:
        # What is reckoned of a forecast is looked up by it, thousands of times: its figures need not be read for that.
        return hash((self.series, self.seen_at))


@dataclass(frozen=True, slots=True)
class WorkSeen:
    """What a pool's requests and starts take, by its last minutes; key `web@local`.

    A request keeps an instance busy for `busy_s` (requests at hand per request/s: Little's law) and costs `cpu_s` of processor time; an
    instance serves `start_s` after its start was asked for, as 95 of 100 of the last starts did. None where not known yet.
    """

    service: str
    region: str
    seen_at: float
    busy_s: float | None = None
    cpu_s: float | None = None
    start_s: float | None = None

    @property
    def key(self) -> str:
        return f"{self.service}@{self.region}"
