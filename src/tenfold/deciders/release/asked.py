"""What people ask for (up, deploy, rollback, down) becomes intent and operations,
or a refusal that says what to do."""

import math
from collections.abc import Mapping
from dataclasses import replace

from tenfold.deciders.memory import Intent, ReleaseMemory, RouteMemory
from tenfold.deciders.release.operation import answer, begin, say, shift_back
from tenfold.deciders.release.steps import LOOK_S_MAX, Sight, not_ready
from tenfold.effects import Decision, StopTask
from tenfold.facts import (
    DeployRequest,
    DownRequest,
    DrainRequest,
    EngineState,
    PersonRequest,
    RollbackRequest,
    Snapshot,
    TaskState,
    UpRequest,
)
from tenfold.model import Model


def take_up(request: PersonRequest, memory: ReleaseMemory, sight: Sight) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Begin what a person asks for, answer it at once, or leave it for later when it is under way already."""
    operation = memory.operation
    if f"answer:{request.id}" in sight.snapshot.pending:
        return memory, ()
    if request.id in (memory.up_request, memory.down_request) or (operation and operation.request == request.id):
        return memory, ()
    match request:
        case DownRequest() if memory.intent is Intent.DOWN and memory.down_request is not None:
            return memory, ()  # it waits for the same end
        case DownRequest():
            made = (
                ()
                if operation is None
                else (
                    answer(
                        operation.request,
                        False,
                        f"{operation.release} was not shipped: `tenfold down` came first",
                        operation.release,
                    ),
                )
            )
            if memory.up_request:
                made = (*made, answer(memory.up_request, False, "`tenfold down` came first", "up"))
            after = replace(
                memory, intent=Intent.DOWN, down_request=request.id, operation=None, up_request=None, watched_at=None
            )
            return after, (
                *made,
                say("project", "asked to go down: everything is drained and stopped, engines last"),
            )
        case UpRequest():
            return _take_up_up(request, memory, sight)
        case DeployRequest():
            if memory.intent is not Intent.UP:
                return memory, (
                    answer(
                        request.id,
                        False,
                        "nothing is running: `tenfold up` starts this project with the folder as it is",
                        request.id,
                    ),
                )
            if operation is not None:
                return memory, (
                    answer(
                        request.id,
                        False,
                        f"{operation.release} is being shipped right now: wait for it to end, or `tenfold rollback` to stop it",
                        request.id,
                    ),
                )
            return begin("deploy", request.release.id, request.id, memory, sight)
        case RollbackRequest():
            return _take_up_rollback(request, memory, sight)
        case DrainRequest():
            return memory, ()  # `drain` answers it: no release changes by it


def _take_up_up(request: UpRequest, memory: ReleaseMemory, sight: Sight) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    memory = replace(memory, intent=Intent.UP, down_request=None)
    # The last wish wins: a `down` whose control plane died before its end is off.
    off = tuple(
        answer(id_, False, "`tenfold up` came after it", "project") for id_ in _open_downs(sight, request.made_at)
    )
    if memory.operation is not None or memory.serving == request.release.id:
        # What was under way goes on; who asked hears when something serves.
        return replace(memory, up_request=request.id), (*off, say("project", "asked to be up: going on from memory"))
    memory, made = begin("up", request.release.id, request.id, memory, sight)
    return memory, (*off, *made)


def _open_downs(sight: Sight, before: float = math.inf) -> tuple[str, ...]:
    """The requests to go down, made `before` this, that wait for an answer, by id. One that came later, in the same tick, stands."""
    snapshot = sight.snapshot
    return tuple(
        request.id
        for request in snapshot.requests.values()
        if isinstance(request, DownRequest)
        and request.made_at < before
        and f"answer:{request.id}" not in snapshot.pending
    )


def _take_up_rollback(
    request: RollbackRequest, memory: ReleaseMemory, sight: Sight
) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    operation = memory.operation
    if memory.intent is not Intent.UP:
        return memory, (
            answer(request.id, False, "nothing is running, so there is nothing to go back from", request.id),
        )
    if operation is not None:
        if operation.kind == "rollback" or operation.undoing:
            return memory, (answer(request.id, False, f"already going back from {operation.release}", request.id),)
        if operation.step is not None and operation.step.name == "retire":
            # The old one is being let go, so it can't take the traffic at once: the new one serves until it can.
            shipped = f"{operation.release} serves"
            told = answer(operation.request, True, shipped, f"release/{operation.release}")
            memory, made = _take_up_rollback(request, replace(memory, operation=None), sight)
            return memory, (told, *made)
        stopped = replace(operation, undoing=True, why="`tenfold rollback` stopped it")
        back = replace(shift_back(memory), operation=stopped)
        text = f"{operation.release} is stopped and undone; {back.serving or 'nothing'} serves"
        return back, (answer(request.id, True, text, request.id), say(f"release/{operation.release}", stopped.why))
    before = [r for r in memory.served if r != memory.serving]
    target = request.to or (before[-1] if before else None)
    if target is None:
        return memory, (
            answer(request.id, False, "no release served before this one: there is nothing to go back to", request.id),
        )
    if target == memory.serving:
        return memory, (answer(request.id, True, f"{target} serves already", request.id),)
    if target not in sight.model.releases or target not in sight.snapshot.releases:
        kept = ", ".join(r for r in before if r in sight.snapshot.releases) or "none"
        return memory, (
            answer(
                request.id, False, f"the files of {target} are not here any more; to go back to: {kept}", request.id
            ),
        )
    return begin("rollback", target, request.id, memory, sight)


def answer_up(
    model: Model, snapshot: Snapshot, memory: ReleaseMemory, wanted: Mapping[str, int], routes: RouteMemory
) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Answer who asked to be up and found something to go on with: once the instances of what serves are ready and each
    gateway, and the global entry, runs the table of this tick (`routes`)."""
    if memory.serving is None and memory.operation is None:
        # What it waited for was undone, and nothing served before: the request, still open, is taken up for itself.
        return replace(memory, up_request=None), ()
    target = model.releases.get(memory.serving or "")
    if memory.up_request is None or target is None or not_ready(target, model, snapshot, wanted):
        return memory, ()
    if any(s.runs_always and s.http for s in target.services.values()):
        edges = [(f"gateway/{region}", region) for region in model.regions]
        if model.is_spread:
            edges.append((f"entry/{model.entry_region}", "entry"))
        for key, name in edges:
            engine, gateway = snapshot.engines.get(key), snapshot.gateways.get(name)
            if engine is None or engine.state is not EngineState.READY or gateway is None:
                return memory, ()
            if gateway.table_digest != routes.digests.get(name):
                return memory, ()
    return replace(memory, up_request=None), (answer(memory.up_request, True, f"{memory.serving} serves", "up"),)


def go_down(memory: ReleaseMemory, sight: Sight) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Stop tasks; answer once nothing is left. Instances and engines are let go by heal, since nothing should run any more."""
    snapshot = sight.snapshot
    made = []
    for task in snapshot.tasks.values():
        if task.state is TaskState.RUNNING and f"stop-task:{task.id}" not in snapshot.pending:
            why = f"{task.id} is ended: the project goes down"
            made.append(Decision("", "release", f"task/{task.id}", (StopTask(task.id),), why))
    # Without an edge nobody need see a gateway: what would look for one may not even be installed.
    looked_for = ("process", "gateway") if sight.model.has_edge else ("process",)
    seen = all(snapshot.fresh(source, LOOK_S_MAX) for source in looked_for)
    engines = any(e.state is not EngineState.EXITED and e.pid is not None for e in snapshot.engines.values())
    left = made or sight.heal.members or snapshot.instances or engines
    if not seen or left or memory.down_request is None:
        return memory, tuple(made)
    stopped = "everything is stopped; data and releases stay"
    told = tuple(
        answer(id_, True, stopped, "project") for id_ in dict.fromkeys((memory.down_request, *_open_downs(sight)))
    )
    return replace(memory, intent=Intent.NONE, down_request=None), told
