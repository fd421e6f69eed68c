"""The network between the regions of a false world, and to them from where clients are: how long a round trip takes, what is lost,
what does not pass at all.

Clients near a region enter at a point of presence there, outside of the region: harm to the region's network meets them too.
"""

from collections.abc import Mapping

from tenfold.model import Region
from tenfold.model.places import rtt_ms_between

UNPLACED_RTT_MS = 80.0
"""Between two regions of which one has no place."""
NEAR_RTT_MS = 1.0
"""From a point of presence to the region beside it."""
RESENT_AFTER_MS = 200.0
"""The least that TCP waits before it sends a lost packet again (Linux, TCP_RTO_MIN)."""


class Wan:
    """Round trips between regions by `rtt_ms` (`a>b`, either way round), else by their places; harm by region, each until its time."""

    def __init__(self, regions: Mapping[str, Region], rtt_ms: Mapping[str, float]) -> None:
        self._regions, self._told = dict(regions), dict(rtt_ms)
        self._usual: dict[tuple[str, str], float] = {}
        self._slow: dict[str, tuple[float, float]] = {}
        self._lossy: dict[str, tuple[float, float]] = {}
        self._cut: dict[str, float] = {}
        self.is_harmed = False

    def usual_ms(self, a: str, b: str) -> float:
        """The round trip between two regions without any harm, in milliseconds."""
        known = self._usual.get((a, b))
        if known is None:
            known = self._usual[a, b] = self._told.get(f"{a}>{b}", self._told.get(f"{b}>{a}", self._by_place(a, b)))
        return known

    def rtt_ms(self, a: str, b: str) -> float:
        """The round trip between two regions now."""
        usual_ms = self.usual_ms(a, b)
        if not self._slow or a == b:
            return usual_ms
        return usual_ms + self._extra_ms(a) + self._extra_ms(b)

    def from_clients_ms(self, origin: str, region: str) -> float:
        """The round trip from the point of presence near `origin` to `region` now."""
        return self.usual_ms(origin, region) + self._extra_ms(region)

    def loss_ratio(self, *regions: str) -> float:
        """What share of packets is lost each way between these, or on the way from clients to the one."""
        passing = 1.0
        for region in regions:
            passing *= 1.0 - self._lossy.get(region, (0.0, 0.0))[1]
        return 1.0 - passing

    def passes(self, a: str, b: str) -> bool:
        """Whether anything passes between two regions."""
        return a == b or not self._cut or (a not in self._cut and b not in self._cut)

    def admits(self, region: str) -> bool:
        """Whether clients' requests, from wherever, get to `region`."""
        return region not in self._cut

    def is_well(self, region: str) -> bool:
        """Whether no harm to the network of `region` is in force."""
        return not self.is_harmed or not (region in self._slow or region in self._lossy or region in self._cut)

    def slow(self, region: str, extra_ms: float, until_s: float) -> None:
        """Everything to and from `region` takes longer, until then."""
        self._slow[region], self.is_harmed = (until_s, extra_ms), True

    def lose(self, region: str, ratio: float, until_s: float) -> None:
        """A share of its packets is lost each way, until then."""
        self._lossy[region], self.is_harmed = (until_s, ratio), True

    def cut(self, region: str, until_s: float) -> None:
        """Nothing passes to or from `region`, until then."""
        self._cut[region], self.is_harmed = until_s, True

    def move(self, now_s: float) -> None:
        """End the harm whose time is over."""
        if not self.is_harmed:
            return
        self._slow = {region: harm for region, harm in self._slow.items() if harm[0] > now_s}
        self._lossy = {region: harm for region, harm in self._lossy.items() if harm[0] > now_s}
        self._cut = {region: until_s for region, until_s in self._cut.items() if until_s > now_s}
        self.is_harmed = bool(self._slow or self._lossy or self._cut)

    def mend(self) -> None:
        """End all harm."""
        self.move(float("inf"))

    def _extra_ms(self, region: str) -> float:
        return self._slow.get(region, (0.0, 0.0))[1]

    def _by_place(self, a: str, b: str) -> float:
        if a == b:
            return NEAR_RTT_MS
        places = [self._regions[region].at if region in self._regions else None for region in (a, b)]
        if places[0] is None or places[1] is None:
            return UNPLACED_RTT_MS
        return rtt_ms_between(places[0], places[1])
