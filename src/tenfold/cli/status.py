"""`tenfold status`: what runs, how it is, and what was decided last. Stage: journal -> a person, or JSON for a program."""

import json
import shutil
import time
from dataclasses import asdict, dataclass

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tenfold.cli import levels, regions
from tenfold.cli.expected import expectations
from tenfold.cli.feed import COLOURS, clock_time
from tenfold.cli.here import Here
from tenfold.cli.tables import ago, coloured, figure, notes, table
from tenfold.console import parts
from tenfold.deciders.memory import PoolScale
from tenfold.facts import ColdStartSeen, InstanceSeen
from tenfold.loop import DecisionRow, JournalReader, Tick
from tenfold.model import Model

WATCH_S = 1.0
STALE_S = 5.0
"""A control plane that wrote nothing down for this long is held up."""
FREE_BYTES_MIN = 256 * 1024


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the journal shows. `control_plane` is its pid, None when none runs: then everything is as it was at `tick.at`."""

    model: Model
    tick: Tick
    decisions: tuple[DecisionRow, ...]
    control_plane: int | None
    stuck: str = ""
    """Why nothing was written down for a while although a control plane runs."""

    @property
    def address(self) -> str:
        """Base URL of the edge; empty while there is none."""
        return parts.address_of(self.model, self.tick)


def look(here: Here, reader: JournalReader, decisions: int = 8) -> View | None:
    """The newest tick with what belongs to it; None before the first one."""
    tick = reader.latest()
    model = reader.model(tick.model) if tick is not None else None
    if tick is None or model is None:
        return None
    pid = here.control_plane()
    stuck = _stuck(here, pid, time.time() - tick.at) if pid is not None else ""
    return View(model, tick, tuple(reader.decisions(limit=decisions)), pid, stuck)


def _stuck(here: Here, pid: int, age_s: float) -> str:
    if age_s < STALE_S:
        return ""
    free = shutil.disk_usage(here.project().state).free
    full = "the disk is full, and without the journal nothing is done: free some space and it goes on by itself"
    why = full if free < FREE_BYTES_MIN else f"process {pid} writes nothing down any more: see `tenfold logs control`"
    return f"as it was {age_s:.0f} s ago; {why}"


@click.command("status")
@click.option("--watch", is_flag=True, help="Keep showing it, each second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object (with --watch one a line).")
@click.pass_obj
def status_command(here: Here, watch: bool, as_json: bool) -> None:
    """What runs, how it is, and what was decided last."""
    console = Console()

    def show() -> None:
        view = look(here, reader)
        if as_json:
            click.echo(json.dumps(as_data(view) if view else {"up": False}))
        else:
            console.print(page(view))

    with here.reader() as reader:
        if not watch:
            show()
            return
        try:
            if as_json or not console.is_terminal:
                while True:
                    show()
                    time.sleep(WATCH_S)
            with Live(page(look(here, reader)), console=console, auto_refresh=False, screen=True) as live:
                while True:
                    time.sleep(WATCH_S)
                    live.update(page(look(here, reader, decisions=14)), refresh=True)
        except KeyboardInterrupt:
            return


def page(view: View | None) -> RenderableType:
    """The whole status as something to print."""
    if view is None:
        return Text("nothing was seen yet: `tenfold up` is about to begin, or never got that far")
    parts: list[RenderableType] = [_heading(view)]
    if view.control_plane is not None:
        parts += levels.lines(view.model, view.tick)
    if view.tick.snapshot.instances or view.control_plane is not None:
        if view.model.is_spread:
            parts += [Text(), regions.tables(view.model, view.tick)]
        parts += [Text(), _pools(view), Text(), _instances(view), Text(), _engines(view)]
    if view.decisions:
        parts += [Text(), _decisions(view)]
    return Group(*parts)


def _heading(view: View) -> RenderableType:
    memory, model = view.tick.memory.release, view.model
    text = Text()
    text.append(model.name, style="bold")
    text.append(f" ({model.environment.name})")
    if view.control_plane is None:
        what = (
            "is down"
            if not view.tick.snapshot.instances
            else "has no control plane: what runs goes on, nothing is healed"
        )
        text.append(f"  {what}; as it was at {clock_time(view.tick.at)}", style="red")
        text.append("  (`tenfold up`)")
        return text
    text.append(f"  {view.address or 'no gateway yet'}", style="bold green" if view.address else "yellow")
    text.append(f"  serving {memory.serving or 'nothing yet'}")
    if view.stuck:
        text.append(f"\n{view.stuck}", style="red")
    operation = memory.operation
    if operation is not None:
        step = operation.step
        name = "undoing" if operation.undoing else step.name if step else "done"
        note = operation.why if operation.undoing else step.note if step else ""
        text.append(f"\n{operation.kind} {operation.release}: {name}", style="yellow")
        text.append(f"  {note}" if note else "")
    return text


def _pools(view: View) -> RenderableType:
    snapshot, memory = view.tick.snapshot, view.tick.memory
    numbers = ("ready", "req/s", "at hand", "p95", "errors")
    shown = table("service", *numbers, "why", right=numbers)
    serving = view.model.releases.get(memory.release.serving or "")
    services = serving.services if serving else view.model.services
    for service in services.values():
        for region in view.model.regions if service.runs_always else ():
            key = f"{service.name}@{region}"
            scale, pool = memory.scale.pools.get(key), snapshot.pools.get(key)
            ready = sum(
                (i.service, i.region, i.release, i.state) == (service.name, region, memory.release.serving, "ready")
                for i in snapshot.instances.values()
            )
            p95 = pool.response_ms_p95 if pool else None
            shown.add_row(
                key,
                _awake(ready, scale),
                f"{pool.requests_per_s:.1f}" if pool else "-",
                f"{pool.in_flight:.1f}" if pool else "-",
                f"{p95:.0f} ms" if p95 is not None else "-",
                f"{pool.errors_per_s:.1f}/s" if pool else "-",
                scale.words if scale else "",
            )
    cold = (f"{seen.key}: {cold_starts(seen)}" for seen in snapshot.cold_starts.values())
    lines = (*expectations(view.model, services, snapshot, memory.scale.pools), *cold)
    return Group(shown, *(Text(f"  {line}", style="dim") for line in lines))


def _awake(ready: int, scale: PoolScale | None) -> str:
    if scale is None:
        return str(ready)
    return "asleep" if scale.wanted == 0 and ready == 0 else f"{ready} of {scale.wanted}"


def cold_starts(seen: ColdStartSeen) -> str:
    """How often a pool was woken by requests and how long these waited, in words."""
    parts = [f"{seen.starts} cold start{'s' * (seen.starts != 1)}"]
    if seen.wait_ms_p50 is not None and seen.wait_ms_max is not None:
        parts.append(
            f"for which {seen.held} request{'s' * (seen.held != 1)} waited {seen.wait_ms_p50 / 1000:.2g} s (p50), "
            f"{seen.wait_ms_max / 1000:.2g} s at the most"
        )
    if seen.waiting:
        parts.append(f"{seen.waiting} wait{'s' * (seen.waiting == 1)} now")
    if seen.refused:
        parts.append(f"{seen.refused} turned away")
    return ", ".join(parts)


def _instances(view: View) -> RenderableType:
    snapshot, is_spread = view.tick.snapshot, view.model.is_spread
    numbers = ("for", "cpu", "memory", "at hand", "sockets")
    # With several regions where it is matters more than its port, and who wants to try a loss needs its process.
    where = ("region", "pid") if is_spread else ("address",)
    shown = table("instance", "release", "state", *numbers, *where, right=(*numbers, "pid"))
    for seen in sorted(snapshot.instances.values(), key=lambda i: (i.service, i.started_at)):
        pool = snapshot.pools.get(f"{seen.service}@{seen.region}")
        state = state_of(view, seen)
        shown.add_row(
            seen.id,
            seen.release,
            coloured(state),
            ago(view.tick.at - seen.since),
            f"{seen.cpu_cores:.0%}" if seen.cpu_cores is not None else "-",
            f"{seen.memory_bytes / 1048576:.0f} MB" if seen.memory_bytes is not None else "-",
            str(pool.in_flight_by_instance.get(seen.id, 0)) if pool and seen.port else "-",
            str(pool.sockets_by_instance.get(seen.id, 0)) if pool and seen.port else "-",
            *((seen.region, str(seen.pid)) if is_spread else (_address(seen),)),
        )
    return Group(shown, *notes((i.id, i.note) for i in snapshot.instances.values()))


def _address(seen: InstanceSeen) -> str:
    return f"{seen.host or '127.0.0.1'}:{seen.port}" if seen.port else ""


def _engines(view: View) -> RenderableType:
    numbers = ("for", "cpu", "memory", *(("pid",) if view.model.is_spread else ()))
    shown = table("engine", "version", "state", *numbers, "address", right=numbers)
    for seen in view.tick.snapshot.engines.values():
        shown.add_row(
            seen.key,
            seen.version,
            coloured(seen.state),
            ago(view.tick.at - seen.since),
            f"{seen.cpu_cores:.0%}" if seen.cpu_cores is not None else "-",
            f"{seen.memory_bytes / 1048576:.0f} MB" if seen.memory_bytes is not None else "-",
            *((figure(seen.pid),) if view.model.is_spread else ()),
            seen.address,
        )
    return Group(shown, *notes((e.key, e.note) for e in view.tick.snapshot.engines.values()))


def _decisions(view: View) -> RenderableType:
    shown = table("at", "by", "decision", "why")
    # The newest first: in a small terminal the end of the page is cut off.
    for row in reversed(view.decisions):
        by = Text(row.decision.by, style=COLOURS.get(row.decision.by, ""))
        shown.add_row(clock_time(row.at), by, row.decision.id, row.decision.why)
    return shown


def state_of(view: View, seen: InstanceSeen) -> str:
    """An instance's state in a word, what is meant to happen to it included."""
    return parts.state_of(view.tick.memory.heal.members.get(seen.id), seen)


def as_data(view: View) -> dict[str, object]:
    """The status for programs; times are seconds since the epoch."""
    snapshot, memory = view.tick.snapshot, view.tick.memory
    operation = memory.release.operation
    return {
        "up": view.control_plane is not None,
        "stuck": view.stuck,
        "name": view.model.name,
        "environment": view.model.environment.name,
        "at": view.tick.at,
        "address": view.address,
        "serving": memory.release.serving,
        **levels.as_data(view.tick),
        "operation": None
        if operation is None
        else {
            "kind": operation.kind,
            "release": operation.release,
            "step": operation.step.name if operation.step else None,
            "undoing": operation.undoing,
            "why": operation.why,
        },
        "services": {
            key: {
                "wanted": scale.wanted,
                "why": scale.why,
                "holding": scale.holding,
                "refused": scale.refused,
                "traffic": _traffic(view, key),
                "asleep": scale.wanted == 0,
                "cold_starts": asdict(cold) if (cold := snapshot.cold_starts.get(key)) is not None else None,
            }
            for key, scale in memory.scale.pools.items()
        },
        "instances": [
            {
                "id": seen.id,
                "service": seen.service,
                "region": seen.region,
                "release": seen.release,
                "state": state_of(view, seen),
                "since": seen.since,
                "started_at": seen.started_at,
                "pid": seen.pid,
                "port": seen.port,
                "cpu_cores": seen.cpu_cores,
                "memory_bytes": seen.memory_bytes,
                "note": seen.note,
            }
            for seen in snapshot.instances.values()
        ],
        "engines": [
            {
                "key": e.key,
                "state": str(e.state),
                "address": e.address,
                "version": e.version,
                "pid": e.pid,
                "note": e.note,
            }
            for e in snapshot.engines.values()
        ],
        "decisions": [
            {"id": r.decision.id, "at": r.at, "by": r.decision.by, "subject": r.decision.subject, "why": r.decision.why}
            for r in view.decisions
        ],
        **(regions.as_data(view.model, view.tick) if view.model.is_spread else {}),
    }


def _traffic(view: View, key: str) -> dict[str, float | None] | None:
    pool = view.tick.snapshot.pools.get(key)
    if pool is None:
        return None
    return {
        "requests_per_s": pool.requests_per_s,
        "errors_per_s": pool.errors_per_s,
        "in_flight": pool.in_flight,
        "sockets": pool.sockets,
        "response_ms_p95": pool.response_ms_p95,
    }
