"""`tenfold explain ID`: why a decision was made, or where one request and its time went. Stage: journal, access log -> a person."""

import json
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenfold.cli import explainview, routing
from tenfold.cli.feed import clock_time
from tenfold.cli.here import Fail, Here
from tenfold.drivers.envoy import find_request
from tenfold.facts import RequestTrace
from tenfold.loop import DecisionRow, JournalReader, ReceiptRow
from tenfold.model import Model

LOOK_BACK = 100_000
"""So many decisions are searched, the newest first."""


@click.command("explain")
@click.argument("id_", metavar="ID")
@click.option(
    "--replay",
    "is_replay",
    is_flag=True,
    help="Decide it again from the journal, and say what would have been otherwise.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.pass_obj
def explain_command(here: Here, id_: str, is_replay: bool, as_json: bool) -> None:
    """Why a decision was made, or what happened to a request.

    ID is a decision's (`d17`, at the end of each line that `up` prints), an instance's (`web-3`: its whole life), or a request's:
    the `x-request-id` that the edge returned with the answer.

    With --replay a decision is decided again from the journal, by this program: whether it comes out equal (exit code 1 when it does not),
    all that it saw and remembered, what each bound made of it, and, of a number of instances, what would have been without the forecast,
    the budget, and so on.
    """
    with here.reader() as reader:
        row = reader.find_decision(id_)
        if row is not None:
            made = explainview.replayed(reader, row) if is_replay else None
            _explain_decision(reader, row, as_json, made)
            if made is not None and not made.again.is_equal:
                raise SystemExit(1)
            return
        trace = find_request(here.project(), id_)
        if trace is not None:
            if is_replay:
                raise Fail(_not_decided(id_, "a request", [trace.decision, trace.entry_decision]))
            _explain_request(reader, trace, as_json)
            return
        life = [r for r in reader.decisions(limit=LOOK_BACK) if _is_about(r, id_)]
        if life:
            if is_replay:
                raise Fail(_not_decided(id_, "no decision", [r.decision.id for r in life]))
            _explain_life(id_, life, as_json)
            return
    raise Fail(
        f"no decision, request or instance {id_} is kept: decisions are in `tenfold status`, the id of a request is in its "
        "answer's x-request-id header (access logs are kept for the newest requests only)"
    )


def _not_decided(id_: str, what: str, decisions: list[str]) -> str:
    """That `id_` can't be decided again, and which decision behind it can."""
    known = [each for each in dict.fromkeys(decisions) if each]
    behind = f": `tenfold explain {known[-1]} --replay` does so with the last one behind it" if known else ""
    return f"{id_} is {what}, and only decisions are decided again{behind}"


def _is_about(row: DecisionRow, id_: str) -> bool:
    is_named = re.compile(rf"(?<![\w-]){re.escape(id_)}(?![\w-])")
    texts = (row.decision.subject, row.decision.why, *(effect.key for effect in row.decision.effects))
    return any(is_named.search(text) for text in texts)


def _explain_decision(
    reader: JournalReader, row: DecisionRow, as_json: bool, made: explainview.Replayed | None = None
) -> None:
    decision, receipts = row.decision, reader.receipts(row.decision.id)
    tick = reader.tick(row.tick)
    rejected = [r for r in tick.rejected if r.decision == decision.id] if tick else []
    moved = _moved(reader, row)
    if as_json:
        data = {
            "decision": msgspec.to_builtins(decision),
            "at": row.at,
            "tick": row.tick,
            "receipts": [msgspec.to_builtins(r.receipt) for r in receipts],
            "rejected": [{"effect": r.effect.key, "why": r.why} for r in rejected],
        }
        if moved:
            data["moved"] = moved
        if made is not None:
            data["replay"] = explainview.as_data(made)
        click.echo(json.dumps(data))
        return
    console = Console(highlight=False)
    console.print(
        Text.assemble((decision.id, "bold"), f"  {_moment(row.at)}, by {decision.by}, about {decision.subject}")
    )
    console.print(Text(decision.why, style="bold green"))
    if decision.facts:
        console.print("\nit saw")
        for fact in decision.facts:
            console.print(f"  {fact}")
    for heading, lines in explainview.bounds(decision).items():
        console.print(f"\n{heading}")
        for line in lines:
            console.print(Text(f"  {line}"))
    if moved:
        console.print("\nit moved")
        for each in moved:
            console.print(f"  {each}")
    if decision.effects:
        console.print("\nit did")
        ends = {r.receipt.key: r for r in receipts}
        for effect in decision.effects:
            console.print(f"  {effect.key}  {_end(ends.get(effect.key), row.at)}")
    for rejection in rejected:
        console.print(f"  {rejection.effect.key}  turned down: {rejection.why}", style="yellow")
    if not decision.effects and not rejected:
        console.print("\nit changed what is wanted; other decisions carry that out", style="dim")
    if made is not None:
        explainview.tell(made, console)


def _moved(reader: JournalReader, row: DecisionRow) -> list[str]:
    """What a table of the entry changes, against the one before it."""
    table = routing.entry_table(row.decision)
    if table is None:
        return []
    tables = (
        (r, t)
        for r in reversed(reader.decisions(limit=LOOK_BACK))
        if (t := routing.entry_table(r.decision)) is not None
    )
    before = next((t for r, t in tables if (r.tick, r.at) < (row.tick, row.at)), None)
    return list(routing.changes(before, table))


def _end(row: ReceiptRow | None, sent_at: float) -> str:
    if row is None:
        return "no receipt yet"
    note = f": {row.receipt.note}" if row.receipt.note else ""
    return f"{row.receipt.outcome} after {max(row.receipt.at - sent_at, 0) * 1000:.0f} ms{note}"


def _explain_request(reader: JournalReader, trace: RequestTrace, as_json: bool) -> None:
    published = reader.find_decision(trace.decision) if trace.decision else None
    passage = _passage(reader, trace)
    started = next(
        (r for r in reversed(reader.decisions(limit=LOOK_BACK)) if trace.instance and _starts(r, trace.instance)), None
    )
    if as_json:
        data = {
            "request": msgspec.to_builtins(trace),
            "routed_by": msgspec.to_builtins(published.decision.why) if published else None,
            "instance_started_by": started.decision.id if started else None,
        }
        if passage is not None:
            data |= {"why_there": passage.why, "regions": [asdict(each) for each in passage.candidates]}
            data |= {"way_by": passage.way_by.decision.why if passage.way_by else None}
        click.echo(json.dumps(data))
        return
    console = Console(highlight=False)
    console.print(Text.assemble((f"{trace.method} {trace.path}", "bold"), f"  {trace.status}  {_moment(trace.at)}"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    if trace.origin:
        table.add_row("client", routing.client(passage.model if passage else None, trace))
    if passage is not None:
        table.add_row("region", f"{trace.region or 'none'}: {passage.why}")
    table.add_row("service", _service(trace))
    who = f"{trace.instance}" + (f" (started by {started.decision.id}: {started.decision.why})" if started else "")
    table.add_row("instance", who if trace.instance else "none was asked")
    table.add_row("tries", _tries(trace))
    table.add_row("time", _times(trace))
    table.add_row("limited by", trace.limited_by or "nothing")
    if passage is not None and passage.way_by is not None:
        table.add_row("way by", f"{passage.way_by.decision.id}: {passage.way_by.decision.why}")
    if published is not None:
        table.add_row("routed by", f"{published.decision.id}: {published.decision.why}")
    console.print(table)
    if passage is not None:
        console.print()
        console.print(routing.candidates_table(passage.candidates, trace.region))


@dataclass(frozen=True, slots=True)
class _Passage:
    """How a request came to its region: why, what else there was, and the decision that published its way (None: not kept)."""

    model: Model
    why: str
    candidates: tuple[routing.Candidate, ...]
    way_by: DecisionRow | None


def _passage(reader: JournalReader, trace: RequestTrace) -> _Passage | None:
    """None for a request that came through no global entry, or that the journal does not reach back to."""
    seq = reader.at(trace.at) if trace.origin else None
    tick = reader.tick(seq) if seq is not None else None
    model = reader.model(tick.model) if tick is not None else None
    if tick is None or model is None:
        return None
    published = reader.find_decision(trace.entry_decision) if trace.entry_decision else None
    table = routing.entry_table(published.decision if published else None)
    # Without its table, as the ways were meant to be at that moment.
    ways = table.ways if table is not None else routing.meant(tick.memory.regions)
    way = next((w for w in ways if (w.origin, w.residency) == (trace.origin, trace.residency)), None)
    if way is None:
        return None
    regions = tick.memory.regions
    return _Passage(
        model, routing.why_there(model, regions, way, trace), routing.candidates(model, regions, way), published
    )


def _service(trace: RequestTrace) -> str:
    if trace.service:
        return f"{trace.service} in {trace.region}, route {trace.route}"
    # What no gateway saw may well be a path that is served.
    is_lost = bool(trace.origin) and not trace.instance and trace.status >= 500
    return "none: no gateway answered" if is_lost else "none: nothing serves this path"


def _tries(trace: RequestTrace) -> str:
    if not trace.origin:
        return f"{trace.attempts}"
    regions = f"{trace.entry_attempts} at regions"
    hedged = ", one of them given up for another because it was late" if trace.hedged else ""
    return f"{regions}{hedged}; {trace.attempts} at instances"


def _starts(row: DecisionRow, instance: str) -> bool:
    return any(effect.key.partition("#")[0] == f"start:{instance}" for effect in row.decision.effects)


def _times(trace: RequestTrace) -> str:
    parts = [f"{trace.total_ms:,.1f} ms in all"]
    if trace.network_ms is not None:
        parts.append(f"{trace.network_ms:,.1f} ms on the way to the region and back")
    if trace.upstream_ms is not None:
        parts.append(f"{trace.upstream_ms:,.1f} ms at the instance")
        parts.append(
            f"{max(trace.total_ms - trace.upstream_ms - (trace.network_ms or 0), 0):,.1f} ms at the edge "
            "(waiting, other tries, sending)"
        )
    if trace.first_byte_ms is not None:
        parts.append(f"first byte after {trace.first_byte_ms:,.1f} ms")
    return "; ".join(parts)


def _explain_life(id_: str, rows: list[DecisionRow], as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps([{"id": r.decision.id, "at": r.at, "by": r.decision.by, "why": r.decision.why} for r in rows])
        )
        return
    click.secho(f"the life of {id_}", bold=True)
    for row in rows:
        click.echo(
            f"  {clock_time(row.at)}  {row.decision.by:8} {row.decision.why}  {click.style(row.decision.id, dim=True)}"
        )


def _moment(at: float) -> str:
    day = "" if time.time() - at < 43200 else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d} "
    return f"{day}{clock_time(at)}"
