"""Judges what a proof has seen by the blueprint's targets: met, missed, or not shown. Stage: targets + evidence -> verdicts -> report.

What could not be shown is never called met: it counts as not met, and says why.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tenfold.model import LatencyTargets, Targets
from tenfold.proof.bounds import CONFIDENCE, failing_at_most, is_broken, requests_to_show
from tenfold.proof.evidence import Evidence, Held, Timed
from tenfold.proof.words import many, ms, percent, percent_at_least, percent_at_most, rate, seconds

WEIGHTS = {
    "concurrent_users": 20,
    "throughput": 10,
    "latency.p95": 10,
    "latency.api_mean": 5,
    "latency.database_mean": 5,
    "latency.websocket": 5,
    "latency.page": 5,
    "availability": 15,
    "error_rate": 10,
    "cache_hit": 5,
    "recovery": 10,
}
"""How much a target counts, by its key: people first, then whether they were served, then how fast, then the rest. They add up to 100; a
blueprint that names fewer targets is scored on those that it names."""

ERROR_RATIO_DEFAULT = 0.01
"""How many requests may go wrong for people to count as served, where no target says so."""
TAIL_MIN = 200
"""So many requests a 95th percentile needs: ten lie beyond it."""
MEAN_MIN = 30


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one target stands: what was `asked`, what was `measured` and `how`, and whether it is met (None: could not be shown).

    `confidence` says how sure that is, or why it could not be shown; `advice` what to do when it is not met. `weight` is its
    part of the score.
    """

    target: str
    asked: str
    measured: str
    how: str
    is_met: bool | None
    weight: int
    confidence: str = ""
    advice: str = ""

    @property
    def word(self) -> str:
        """`met`, `missed` or `not shown`."""
        return "not shown" if self.is_met is None else "met" if self.is_met else "missed"


@dataclass(frozen=True, slots=True)
class _Case:
    """A target on trial."""

    key: str
    bound: float
    asked: str
    targets: Targets
    evidence: Evidence

    def verdict(self, is_met: bool | None, measured: str, how: str, confidence: str = "", advice: str = "") -> Verdict:
        weight = WEIGHTS[self.key]
        return Verdict(
            self.key, self.asked, measured, how, is_met, weight, confidence, "" if is_met is True else advice
        )

    def not_shown(self, why: str, advice: str, measured: str = "-", how: str = "") -> Verdict:
        return self.verdict(None, measured, how, why, advice)


Judge = Callable[[_Case], Verdict]


def score(verdicts: Iterable[Verdict]) -> float:
    """The share of the weights whose targets are met, out of 100; what could not be shown is not met."""
    verdicts = tuple(verdicts)
    total = sum(v.weight for v in verdicts)
    return 100.0 * sum(v.weight for v in verdicts if v.is_met) / total if total else 0.0


def named(targets: Targets) -> dict[str, float]:
    """The targets that a blueprint names, by key, as their bounds; in the order of `WEIGHTS`."""
    latency = targets.latency
    bounds = {
        "concurrent_users": targets.concurrent_users,
        "throughput": targets.throughput_rps,
        "latency.p95": latency.p95_ms,
        "latency.api_mean": latency.api_mean_ms,
        "latency.database_mean": latency.database_mean_ms,
        "latency.websocket": latency.websocket_ms,
        "latency.page": latency.page_ms,
        "availability": targets.availability_ratio,
        "error_rate": targets.error_ratio,
        "cache_hit": targets.cache_hit_ratio,
        "recovery": targets.recovery_s,
    }
    return {key: bound for key in WEIGHTS if (bound := bounds[key]) is not None}


def judge(targets: Targets, evidence: Evidence, only: Sequence[str] = ()) -> tuple[Verdict, ...]:
    """A verdict for each target that is named (of these, `only`, where given), in the order of `WEIGHTS`."""
    found = []
    for key, bound in named(targets).items():
        if only and key not in only:
            continue
        case = _Case(key, bound, _asked(key, bound), targets, evidence)
        gap = evidence.gaps.get(key, "")
        found.append(case.not_shown(gap, RUN_AGAIN) if gap else JUDGES[key](case))
    return tuple(found)


def _asked(key: str, bound: float) -> str:
    match key:
        case "concurrent_users":
            return f"{bound:,.0f} at once"
        case "throughput":
            return f"at least {rate(bound)}"
        case "availability" | "cache_hit":
            return f"at least {percent(bound)}"
        case "error_rate":
            return f"at most {percent(bound)}"
        case "recovery":
            return f"within {seconds(bound)}"
        case _:
            return f"at most {ms(bound)}"


NO_LOAD = "no load of users was made"
RUN_AGAIN = "run `tenfold prove` again and let it end"
QUIETER = "run it again on a machine with a core to spare for the load, or with fewer users"


def error_ratio_max(targets: Targets) -> float:
    """The share (0..1) of requests that may go wrong while users count as served."""
    if targets.error_ratio is not None:
        return targets.error_ratio
    return ERROR_RATIO_DEFAULT if targets.availability_ratio is None else 1.0 - targets.availability_ratio


def _spoilt_by(held: Held) -> str:
    """The first reason, without its advice."""
    return f"the load was spoilt: {held.invalid[0].partition(': ')[0]}"


def _spoilt(case: _Case, held: Held, measured: str, how: str) -> Verdict | None:
    """Why nothing can be said by this load, if so."""
    if held.invalid:
        return case.not_shown(_spoilt_by(held), QUIETER, measured, how)
    if held.lasted_s < held.wanted_s * 0.98:
        why = f"the load was held for {seconds(held.lasted_s)} of {seconds(held.wanted_s)}"
        return case.not_shown(why, RUN_AGAIN, measured, how)
    return None


def _concurrent_users(case: _Case) -> Verdict:
    held = case.evidence.users
    if held is None:
        return case.not_shown(NO_LOAD, RUN_AGAIN)
    limit = error_ratio_max(case.targets)
    measured = f"{held.users_min:,} held for {seconds(held.lasted_s)}, {percent_at_most(held.bad_ratio)} failed"
    p95_ms, p95_ms_max = held.response.p95_ms, case.targets.latency.p95_ms
    how = f"people of the scenario, all at once, with at most {percent(limit)} of requests failed or refused"
    if p95_ms is not None:
        measured += f", p95 {ms(p95_ms)}"
    if p95_ms_max is not None:
        how += f" and p95 within {ms(p95_ms_max)}"
    spoilt = _spoilt(case, held, measured, how)
    if spoilt is not None:
        return spoilt
    if held.users_min < case.bound:
        fewer = f"only {many(int(held.wanted), 'user')} were made" if held.wanted < case.bound else "users fell behind"
        return case.not_shown(fewer, "ask for as many as the target names", measured, how)
    if held.requests == 0 or p95_ms is None:
        return case.not_shown("no request was answered", "look at `tenfold logs web`", measured, how)
    if held.bad_ratio > limit:
        return case.verdict(False, measured, how, advice=_because(case, "they were there, but not served"))
    if p95_ms_max is not None and p95_ms > p95_ms_max:
        return case.verdict(False, measured, how, advice=_because(case, "they were served too slowly"))
    return case.verdict(True, measured, how)


def _because(case: _Case, what: str) -> str:
    """What to do about too little of something: what ran out first, where that was seen."""
    limit = case.evidence.limit
    return f"{what}; {limit}" if limit else f"{what}: `tenfold measure` tells what one instance holds"


def _throughput(case: _Case) -> Verdict:
    """By the load of people where that is enough, else by the one at a fixed rate."""
    users, fixed = case.evidence.users, case.evidence.rate
    held = users if users is not None and (fixed is None or users.answered_rps >= case.bound) else fixed
    if held is None:
        return case.not_shown("no load was made", RUN_AGAIN)
    measured = rate(held.answered_rps)
    source = "by people" if held is users else "at a fixed rate"
    how = f"answers in each second, {source}, over {seconds(held.lasted_s)}"
    spoilt = _spoilt(case, held, measured, how)
    if spoilt is not None:
        return spoilt
    limit = error_ratio_max(case.targets)
    if held.answered_rps < case.bound:
        if held is users and held.bad_ratio <= limit:
            return case.not_shown(
                "the people asked for no more", "give it more users, or let the rate be tried", measured, how
            )
        return case.verdict(False, measured, how, advice=_because(case, "more was asked for than was answered"))
    if held.bad_ratio > limit:
        measured += f", {percent_at_most(held.bad_ratio)} failed"
        return case.verdict(False, measured, how, advice=_because(case, "it answers, but with failures"))
    return case.verdict(True, measured, how)


def _by_latency(of: Callable[[Held], Timed], is_mean: bool, what: str, missing: str, advice: str) -> Judge:
    """The judge of a latency of the people's load."""

    def judged(case: _Case) -> Verdict:
        held = case.evidence.users
        if held is None:
            return case.not_shown(NO_LOAD, RUN_AGAIN)
        timed = of(held)
        return _timed(case, timed, is_mean, what, missing, advice, held)

    return judged


def _timed(
    case: _Case, timed: Timed, is_mean: bool, what: str, missing: str, advice: str, held: Held | None
) -> Verdict:
    value_ms = timed.mean_ms if is_mean else timed.p95_ms
    if timed.count == 0 or value_ms is None:
        spoilt = _spoilt(case, held, "-", "") if held is not None else None
        return spoilt or case.not_shown(missing, _without(case))
    measured = ms(value_ms)
    statistic = "mean" if is_mean else "95th percentile"
    how = f"{statistic} of {timed.count:,} {what}{f' ({timed.of})' if timed.of else ''}"
    spoilt = _spoilt(case, held, measured, how) if held is not None else None
    if spoilt is not None:
        return spoilt
    needed = MEAN_MIN if is_mean else TAIL_MIN
    if timed.count < needed:
        why = f"{timed.count} are too few: {needed} tell a {statistic}"
        return case.not_shown(why, "let it run longer (`--minutes`)", measured, how)
    if value_ms > case.bound:
        return case.verdict(False, measured, how, advice=_because(case, advice))
    return case.verdict(True, measured, how)


def _without(case: _Case) -> str:
    if case.key == "latency.database_mean":
        return "let the app use the blueprint's `data` (with `url`, measure it where it runs), or leave the target out"
    return "give the scenario one, or leave the target out"


def _database(case: _Case) -> Verdict:
    missing = "no transaction of an embedded PostgreSQL was seen while the users were there"
    advice = "transactions take too long: look for slow queries and missing indexes"
    what = "transactions, as the database itself counts the time it worked on them"
    held = case.evidence.users
    return _timed(case, case.evidence.database, True, what, missing, advice, held)


def _availability(case: _Case) -> Verdict:
    seen, bad, allowed = case.evidence.requests, case.evidence.bad, 1.0 - case.bound
    if seen == 0:
        return case.not_shown(NO_LOAD, RUN_AGAIN)
    bound = failing_at_most(bad, seen)
    measured = f"{percent_at_least(1 - bad / seen)} of {seen:,}"
    how = f"requests that neither failed nor were refused, over all loads, their ramps included; {bad:,} did"
    sure = f"{CONFIDENCE:.0%} sure: at least {percent_at_least(1 - bound)}"
    held = case.evidence.users or case.evidence.rate
    if held is not None and held.invalid:
        return case.not_shown(_spoilt_by(held), QUIETER, measured, how)
    if bound <= allowed:
        return case.verdict(True, measured, how, sure)
    if is_broken(bad, seen, allowed):
        return case.verdict(False, measured, how, sure, _because(case, "too many requests fail"))
    return case.not_shown(f"{sure}; {_settling(case, seen, bad, allowed)}", _longer(case, seen, bad), measured, how)


def _settling(case: _Case, seen: int, bad: int, allowed: float) -> str:
    """How many requests would settle it, and how long that takes at the rate of this run."""
    per_s = seen / case.evidence.made_s if case.evidence.made_s > 0 else 0.0
    parts = []
    for failures in sorted({0, bad}):
        needed = requests_to_show(allowed, failures)
        if needed is None:
            return "no run can show that nothing ever fails"
        took = f", {seconds(needed / per_s)} at {rate(per_s)}" if per_s > 0 else ""
        parts.append(f"{needed:,} requests with {many(failures, 'failure')}{took}")
    return f"to show it takes {' or '.join(parts)}"


def _longer(case: _Case, seen: int, bad: int) -> str:
    per_s = seen / case.evidence.made_s if case.evidence.made_s > 0 else 0.0
    needed = requests_to_show(1.0 - case.bound, bad)
    if needed is None or per_s <= 0:
        return "promise a share below 100%"
    minutes = -(-needed // max(int(per_s * 60), 1))
    return f"run `tenfold prove --minutes {minutes}`, or watch it over weeks: `tenfold report`"


def _error_rate(case: _Case) -> Verdict:
    held = case.evidence.users or case.evidence.rate
    if held is None or held.requests == 0:
        return case.not_shown(NO_LOAD if held is None else "no request was answered", RUN_AGAIN)
    measured = f"{percent_at_most(held.bad_ratio)} ({held.bad:,} of {held.requests:,})"
    how = "requests that failed (5xx, lost, timed out) or were refused (4xx), while the load was held"
    spoilt = _spoilt(case, held, measured, how)
    if spoilt is not None:
        return spoilt
    sure = f"{CONFIDENCE:.0%} sure: at most {percent_at_most(failing_at_most(held.bad, held.requests))}"
    if held.bad_ratio > case.bound:
        return case.verdict(False, measured, how, sure, _because(case, "too many requests go wrong"))
    if held.requests * case.bound < 1.0:
        why = f"{many(held.requests, 'request')} can't tell {percent(case.bound)} from none"
        return case.not_shown(why, "let it run longer (`--minutes`)", measured, how)
    return case.verdict(True, measured, how, sure)


def _cache_hit(case: _Case) -> Verdict:
    return case.not_shown(
        "the edge keeps no answers yet", "leave the target out until `edge.cache` is acted on", "0%", "answers kept"
    )


def _recovery(case: _Case) -> Verdict:
    seen = case.evidence.recovery
    if seen is None:
        return case.not_shown("no harm was allowed, so no instance was killed", "run it without `--no-harm`")
    if seen.trouble:
        return case.not_shown(seen.trouble, "mend that, and prove it again")
    how = f"drill instance-kill: {seen.subject} killed under load, until another was ready in its place"
    if seen.replaced_s is None:
        return case.verdict(False, "never", how, advice="look at `tenfold explain` of the decisions after the kill")
    noticed = "" if seen.detect_s is None else f", noticed after {seconds(seen.detect_s)}"
    measured = f"{seconds(seen.replaced_s)}{noticed}, {many(seen.failed, 'request')} failed"
    if seen.lost_writes:
        measured += f", {many(seen.lost_writes, 'acknowledged write')} lost"
        return case.verdict(False, measured, how, advice="an answer must not be sent before its write is committed")
    clients = "" if seen.as_before_s is None else f"clients were served as before after {seconds(seen.as_before_s)}"
    if seen.replaced_s > case.bound:
        advice = "make it start faster, or look more often (`health.every`, `health.healthy_after`)"
        return case.verdict(False, measured, how, clients, advice)
    return case.verdict(True, measured, how, clients)


JUDGES: dict[str, Judge] = {
    "concurrent_users": _concurrent_users,
    "throughput": _throughput,
    "latency.p95": _by_latency(
        lambda held: held.response, False, "requests, from when each was due", "no request was answered", "too slow"
    ),
    "latency.api_mean": _by_latency(
        lambda held: held.api,
        True,
        "requests to paths below /api/",
        "the scenario asks for no path below /api/",
        "the API is too slow",
    ),
    "latency.database_mean": _database,
    "latency.websocket": _by_latency(
        lambda held: held.socket,
        False,
        "messages over WebSocket, from sent to received",
        "no message came back over a WebSocket: the scenario has no socket that sends",
        "messages take too long",
    ),
    "latency.page": _by_latency(
        lambda held: held.pages,
        False,
        "pages with all that follows them, the slowest kind",
        "no action of the scenario begins with a page",
        "pages take too long",
    ),
    "availability": _availability,
    "error_rate": _error_rate,
    "cache_hit": _cache_hit,
    "recovery": _recovery,
}

SUGGESTED = Targets(
    concurrent_users=100,
    throughput_rps=20.0,
    latency=LatencyTargets(p95_ms=500.0),
    availability_ratio=0.999,
    error_ratio=0.001,
    recovery_s=10.0,
)
"""What a blueprint without targets may begin with."""
