"""What is to be sent, where and when: the nouns of a load run, checked as they are made.

Stage: the command line (or a drill) makes a `LoadPlan`; `engine.run` carries it out. A plan is plain data and goes
to the generator's own process as JSON, so every check stands in the nouns themselves.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

from tenfold.model import Scenario
from tenfold.proof.load.curve import RateCurve, Spacing, UserCurve
from tenfold.proof.load.errors import LoadError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"/[\x21-\x7e]*")
_WEIGHT = re.compile(r"(\d+(?:\.\d+)?)%")
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})


def loopback_address(host: str) -> str | None:
    """The literal loopback address that `host` means, or None when it is not on this machine's loopback.

    Names are not resolved, so that a name server can't turn load on somebody else: only `localhost` and
    `*.localhost` (RFC 6761) count, and both mean 127.0.0.1.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return host if ip_address(host).is_loopback else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Target:
    """The server that gets the load.

    `owned` says that whoever starts the run answers for the host; without it only loopback is accepted.
    """

    host: str
    port: int
    owned: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.port < 65536):
            raise LoadError(f"port {self.port} does not exist: give one between 1 and 65535")
        if not self.owned and loopback_address(self.host) is None:
            raise LoadError(
                f"{self.host} is not this machine: load goes to loopback only, unless you say that you own the target (--i-own-this)"
            )

    @classmethod
    def parse(cls, url: str, *, owned: bool = False) -> Self:
        """Read `http://host[:port]`; raises `LoadError` for anything else."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise LoadError(f"{url!r} is not an address ({error}): write http://127.0.0.1:8080") from error
        if parts.scheme == "https":
            raise LoadError(f"{url} asks for TLS, which the load engine does not speak: give the http:// address")
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise LoadError(f"{url!r} is not an address: write http://127.0.0.1:8080")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise LoadError(f"{url} names a path: give the address alone, and the paths in the mix of requests")
        return cls(parts.hostname, 80 if port is None else port, owned)

    @property
    def authority(self) -> str:
        """`host:port`, as the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 80 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of request in a mix, and its weight (any positive number, relative to the others)."""

    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise LoadError(f"{self.method!r} is not a method: write one like GET or POST")
        if self.method.upper() == "CONNECT":
            raise LoadError("CONNECT asks for a tunnel, which makes no load: use another method")
        if not _PATH.fullmatch(self.path) or "#" in self.path:
            raise LoadError(
                f"{self.path!r} is not a path: it starts with / and spaces and other signs are written as %20"
            )
        if not (0 < self.weight < float("inf")):
            raise LoadError(f"{self.name} has a weight of {self.weight:g}: give one above zero")
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name) or not value.isprintable() or not value.isascii():
                raise LoadError(f"{self.name} has the header {name!r}: {value!r}, which HTTP does not allow: mend it")
            if name.lower() in _OWN_HEADERS:
                raise LoadError(f"{self.name} sets the header {name}, which the load engine sets itself: leave it out")

    @property
    def name(self) -> str:
        """What people call it: `GET /api/projects`."""
        return f"{self.method} {self.path}"

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice does no more than sending it once (RFC 9110, section 9.2.2)."""
        return self.method.upper() in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")

    def rendered(self, target: Target) -> bytes:
        """Its bytes on the wire (HTTP/1.1, RFC 9112), made once per run."""
        names = {name.lower() for name, _ in self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {target.authority}")
        if "user-agent" not in names:
            lines.append("User-Agent: tenfold-load")
        lines.extend(f"{name}: {value}" for name, value in self.headers)
        if self.body or self.method.upper() in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join((*lines, "", "")).encode("ascii") + self.body


@dataclass(frozen=True, slots=True)
class Mix:
    """The kinds of request that are sent, each chosen at random in proportion to its weight."""

    requests: tuple[Request, ...] = (Request(),)

    def __post_init__(self) -> None:
        if not self.requests:
            raise LoadError("the mix names no request: write one like `GET / 100%`")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `GET /api/wait?ms=20 60%, GET / 40%`.

        Shares add up to 100%; without any, all requests are equally frequent. A comma within a path is written %2C.
        Raises `LoadError`.
        """
        entries = [entry.split() for entry in text.split(",")]
        shares = [_WEIGHT.fullmatch(words[-1]) if words else None for words in entries]
        for words, share in zip(entries, shares, strict=True):
            if len(words) != (3 if share else 2):
                raise LoadError(f"`{' '.join(words)}` is not a request: write METHOD PATH SHARE, as in `GET / 40%`")
        weights = [float(share[1]) for share in shares if share]
        if weights and len(weights) != len(entries):
            raise LoadError("some requests of the mix have a share and some have none: give all of them one, or none")
        if weights and abs(sum(weights) - 100) > 0.01:
            raise LoadError(f"the shares of the mix add up to {sum(weights):g}%: make them 100%")
        return cls(
            tuple(
                Request(words[0].upper(), words[1], weight=weight)
                for words, weight in zip(entries, weights or [1.0] * len(entries), strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A whole run of the open model: requests become due along `curve`, whether or not earlier ones were answered.

    `timeout_s` (default 10) is how long a client waits from the send before it gives up. `in_flight_max` (default
    8000) bounds what waits for an answer at once, and so the descriptors of the process; a request that is due beyond
    it is counted as unsent and makes the run invalid. `seed` fixes arrivals and choices.
    """

    target: Target
    curve: RateCurve
    mix: Mix = Mix()
    spacing: Spacing = Spacing.POISSON
    seed: int = 1
    timeout_s: float = 10.0
    in_flight_max: int = 8000

    def __post_init__(self) -> None:
        if not (0 < self.timeout_s <= 600):
            raise LoadError(f"a timeout of {self.timeout_s:g} s is asked for: give one above 0 and up to 600 s")
        if not (0 < self.in_flight_max <= 20_000):
            raise LoadError(f"{self.in_flight_max} requests in flight are asked for: give between 1 and 20000")


@dataclass(frozen=True, slots=True)
class UserPlan:
    """A run of a scenario: by `users` (closed model) or by `arrivals` of actions per second (open model), one of both.

    Closed model: user number n comes when the curve first exceeds n, does the scenario's `enter`, pauses, does an
    action, pauses, and so on. Open model: each arrival is an action of a user who is idle at that moment, or of a new one
    who enters first.

    `http` is what requests are sent with (sockets always use HTTP/1.1). `processes` share the users evenly; 0 chooses:
    as many as descriptors and cores call for. `headers` go with every request. `timeout_s` is how long a user waits for
    an answer, from the send. `seed` fixes what each user does and pauses, whatever the number of processes.
    What becomes due in the first `warm_up_s` seconds (a ramp) is in `LoadResult.seconds` alone: counts, parts and distributions
    of the result are of what became due later.
    """

    target: Target
    scenario: Scenario
    users: UserCurve | None = None
    arrivals: RateCurve | None = None
    seed: int = 1
    timeout_s: float = 10.0
    http: Literal["1.1", "2"] = "1.1"
    processes: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    warm_up_s: float = 0.0

    def __post_init__(self) -> None:
        if (self.users is None) == (self.arrivals is None):
            raise LoadError("a scenario is played by users or by arrivals: give one of both")
        if not (0 < self.timeout_s <= 600):
            raise LoadError(f"a timeout of {self.timeout_s:g} s is asked for: give one above 0 and up to 600 s")
        if not (0 <= self.processes <= 256):
            raise LoadError(f"{self.processes} load processes are asked for: give between 1 and 256, or 0 to choose")

    @property
    def duration_s(self) -> float:
        """Length of the whole run in seconds, but for the last answers."""
        curve = self.users or self.arrivals
        assert curve is not None, "one of both is there"
        return curve.duration_s
