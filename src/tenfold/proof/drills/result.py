"""What a drill says in the end: plain data, ready for JSON, for a table and for a verdict."""

from dataclasses import dataclass

from tenfold.proof.consistency import Consistency


@dataclass(frozen=True, slots=True)
class Traffic:
    """The load beside a drill, as its clients counted it.

    `slow` answers took longer than `slow_ms`; None where it could not be counted. `p99_ms` and `max_ms` are of the response time during the
    drill, `normal_p999_ms` is what was normal before. `invalid` holds why the figures can't be trusted. `reasons` are examples of
    failures.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    slow: int | None = None
    slow_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    normal_p999_ms: float | None = None
    invalid: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """Something that happened, `at_s` seconds after the harm was done (below 0: before)."""

    name: str
    at_s: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a drill must show: what was measured against what, and whether it is met."""

    what: str
    measured: str
    must_show: str
    met: bool


@dataclass(frozen=True, slots=True)
class DrillResult:
    """A whole drill, on `world` (`sim` with `seed`, or `real`).

    `subjects` is what was harmed. `struck_at` and `mended_at` are seconds since the epoch on that world's clock. `detect_s` is the time
    from the harm to the first decision that answers it (None: there was none), which is `decision` (`d12`) of the decider `answered_by`,
    `why`. `recover_s` is the time from the harm until what the drill watches for recovery held again, `whole_s` from the end of the harm
    until the whole steady state did; None: not by the end. `writes` is the judgement on the history of writes beside it (None:
    nothing was written, since no scenario has a `check`), `history` the file that holds it. `notes` say what else a reader should know.
    """

    drill: str
    line: str
    world: str
    seed: int
    subjects: tuple[str, ...]
    struck_at: float
    mended_at: float
    detect_s: float | None
    recover_s: float | None
    whole_s: float | None
    answered_by: str
    decision: str
    why: str
    traffic: Traffic
    writes: Consistency | None
    phases: tuple[Phase, ...]
    findings: tuple[Finding, ...]
    is_interrupted: bool = False
    history: str = ""
    notes: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """True when all that the drill must show was shown."""
        return not self.is_interrupted and all(finding.met for finding in self.findings)
