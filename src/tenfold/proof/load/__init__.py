"""The load engine: an open model that keeps to its own clock, and refuses its own bad data.

Stage: a `RateCurve` (by hand, or from a `Trace`), a `Target` and a `Mix` make a `LoadPlan`; `run` (here) or `run_apart`
(in a process of its own) carries it out with `Progress` each second, and ends with a `LoadResult`. `Sockets` holds
WebSocket connections through a drill.
"""

from tenfold.proof.load.curve import RateCurve, Segment, Spacing, Stretch, UserCurve
from tenfold.proof.load.engine import run
from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import LoadPlan, Mix, Request, Target, UserPlan
from tenfold.proof.load.result import Latency, LoadResult, Outcome, Part, Progress, Sample, Second, SocketsPart
from tenfold.proof.load.sockets import Reconnect, Sockets, SocketsResult
from tenfold.proof.load.team import run_apart, run_users
from tenfold.proof.load.trace import Trace, generated_day, parse_trace, read_trace

__all__ = [
    "Latency",
    "LoadError",
    "LoadPlan",
    "LoadResult",
    "Mix",
    "Outcome",
    "Part",
    "Progress",
    "RateCurve",
    "Reconnect",
    "Request",
    "Sample",
    "Second",
    "Segment",
    "Sockets",
    "SocketsPart",
    "SocketsResult",
    "Spacing",
    "Stretch",
    "Target",
    "Trace",
    "UserCurve",
    "UserPlan",
    "generated_day",
    "parse_trace",
    "read_trace",
    "run",
    "run_apart",
    "run_users",
]
