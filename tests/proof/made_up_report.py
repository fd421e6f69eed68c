"""A report that nobody measured, for the page's tests: everything that a report can have, from a seed."""

from dataclasses import replace
from random import Random

from tenfold.model import LatencyTargets, Targets
from tenfold.proof.consistency import Consistency
from tenfold.proof.drills.result import DrillResult, Finding, Traffic
from tenfold.proof.evidence import Evidence, Held, Recovered, Timed
from tenfold.proof.report import Mark, Moment, Report, Series, Setting, Span
from tenfold.proof.verdict import judge

TARGETS = Targets(
    concurrent_users=500,
    throughput_rps=120.0,
    latency=LatencyTargets(p95_ms=500, api_mean_ms=100, database_mean_ms=50, websocket_ms=50, page_ms=1000),
    availability_ratio=0.9999,
    error_ratio=0.001,
    recovery_s=10.0,
)
LAST_S = 240
HELD = Held(
    *(500, 120.0, 120.0, 500, 12600, 12598, 3),
    response=Timed(12600, 62.0, 310.0),
    api=Timed(9000, 41.0, 200.0),
    pages=Timed(1300, 210.0, 1180.0, "open a project"),
    socket=Timed(800, 4.0, 12.0),
)
DRILL = DrillResult(
    drill="instance-kill",
    line="an instance is killed with SIGKILL under load",
    world="real",
    seed=7,
    subjects=("web-2",),
    struck_at=1_790_000_190.0,
    mended_at=1_790_000_190.0,
    detect_s=0.12,
    recover_s=2.31,
    whole_s=3.4,
    answered_by="heal",
    decision="d19",
    why="web-2 in local ended (killed by signal 9): web-5 takes its place",
    traffic=Traffic(2400, failed=2, slow=14, slow_ms=420.0, p99_ms=380.0, max_ms=910.0),
    writes=Consistency(acknowledged=180, reads=40),
    phases=(),
    findings=(Finding("requests that failed", "2", "0", False),),
)
MARKS = (
    Mark(
        21.0,
        "d14",
        "scale",
        "web@local gets 3 instances instead of 2: concurrency is 71.0, above 60",
        ("concurrency: 71.0",),
    ),
    Mark(33.4, "d15", "scale", "web@local gets 4 instances instead of 3: response time is 260 ms, above 200 ms"),
    Mark(34.1, "d16", "route", "web-3 is ready: the gateway of local sends it requests"),
    Mark(35.0, "d17", "route", "web-4 is ready: the gateway of local sends it requests"),
    Mark(190.1, "d19", "heal", "web-2 in local ended (killed by signal 9): web-5 takes its place"),
    Mark(192.4, "d20", "route", "web-5 is ready: the gateway of local sends it requests"),
)


def made_up() -> Report:
    """The same each time."""
    random = Random(7)
    moments = []
    for at in range(LAST_S):
        users = min(500, at * 500 // 50) if at < 180 else 120
        rate = users * 0.21 * random.uniform(0.9, 1.1)
        slow = 3.0 if 18 < at < 36 else 6.0 if at == 190 else 1.0
        p50 = (18 + users * 0.03) * slow * random.uniform(0.9, 1.15)
        bad = 2 if at == 190 else 1 if at == 97 else 0
        gone = 60 <= at < 63
        moments.append(
            Moment(
                float(at),
                users,
                0.0 if gone else rate,
                bad,
                *((None,) * 3 if gone or not users else (p50, p50 * 4, p50 * 7)),
            )
        )
    ready = tuple((float(at), float(2 + (at > 23) + (at > 35) - (190 <= at < 192))) for at in range(LAST_S))
    workers = tuple((float(at), 1.0) for at in range(LAST_S))
    evidence = Evidence(
        *(HELD, None, 15700, 4, 180.0),
        database=Timed(21000, 1.42),
        recovery=Recovered("web-2", 0.12, 2.31, 2.9, 2, 0),
        limit="web had all its 8 instances: raise services.web.scaling.instances.max",
    )
    return Report(
        name="crewboard",
        environment="development",
        started_at=1_790_000_000.0,
        took_s=float(LAST_S),
        setting=Setting(
            command="tenfold prove --users 500 --seed 7",
            machine="2 cores, Linux 6.1, Python 3.11.2",
            versions={"gateway": "Envoy 1.40.0", "postgres": "PostgreSQL 18.6", "valkey": "Valkey 9.1.2"},
            blueprint_digest="4c1f9e0a5d21",
            release="r3",
            scenario="office",
            seed=7,
        ),
        verdicts=judge(TARGETS, evidence),
        spans=(
            Span("500 users come", "ramp", 0.0, 50.0),
            Span("500 users at once", "load", 50.0, 178.0),
            Span("instance-kill", "drill", 180.0, 238.0),
            Span("web-2 harmed", "harm", 190.0, 192.3),
        ),
        moments=tuple(moments),
        instances=(Series("web@local", ready), Series("worker@local", workers)),
        regions=(Series("local", tuple((m.at_s, m.answered_per_s) for m in moments)),),
        marks=MARKS,
        drills=(DRILL,),
        method=(
            "500 users play the scenario office: each does one action after another, with pauses of 10 s in the mean.",
        ),
        notes=(),
        p95_ms_max=500.0,
    )


def hostile(text: str) -> Report:
    """A report in which every word that an app, a blueprint or an engine may choose is `text`."""
    report = made_up()
    return replace(
        report,
        name=text,
        environment=text,
        why_incomplete=text,
        notes=(text,),
        method=(text,),
        setting=Setting(text, text, {text: text}, text, text, text, 1),
        verdicts=tuple(replace(v, measured=text, how=text, confidence=text, advice=text) for v in report.verdicts),
        spans=(Span(text, "load", 0.0, 200.0),),
        instances=(Series(text, ((0.0, 1.0), (9.0, 2.0))),),
        regions=(Series(text, ((0.0, 1.0), (9.0, 2.0))), Series(text + "2", ((0.0, 1.0),))),
        marks=(Mark(3.0, text, text, text, (text,)),),
        drills=(
            replace(
                DRILL,
                drill=text,
                line=text,
                subjects=(text,),
                answered_by=text,
                why=text,
                notes=(text,),
                findings=(Finding(text, text, text, False),),
            ),
        ),
    )
