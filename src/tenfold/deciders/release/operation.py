"""Moves an operation through its table of steps, back when one fails, and answers who asked."""

from dataclasses import replace

from tenfold.deciders.memory import HealMemory, Intent, MemberState, ReleaseMemory
from tenfold.deciders.release.steps import HANDLERS, KEPT_RELEASES, STEPS, Sight, watch_traffic
from tenfold.effects import AnswerRequest, Decision, Operation, RemoveRelease, Step, StepState


def running(memory: ReleaseMemory, heal: HealMemory) -> tuple[str, ...]:
    """The releases that should have instances now, the one that serves first."""
    if memory.intent is not Intent.UP:
        return ()
    operation, serving = memory.operation, memory.serving
    if operation is None:
        return (serving,) if serving else ()
    old = serving if serving != operation.release else next(iter(memory.served[-1:]), None)
    if operation.undoing:
        return (old,) if old else ()
    names = [s.name for s in operation.steps if s.state in (StepState.DONE, StepState.SKIPPED, StepState.RUNNING)]
    new = operation.release if "start" in names else None
    # An old release that has nothing running (all was down) is not woken for the time until the new one serves.
    lives = operation.kind != "up" or any(
        m.release == old and m.state is MemberState.WANTED for m in heal.members.values()
    )
    kept = old if old and lives and names[-1:] != ["retire"] else None
    order = (new, kept) if serving == operation.release else (kept, new)
    return tuple(r for r in order if r is not None)


def begin(
    kind: str, release_id: str, request: str, memory: ReleaseMemory, sight: Sight
) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Start the operation `kind` (`up`, `deploy`, `rollback`) for a release, at its first step."""
    now = sight.snapshot.taken_at
    operation = Operation(
        id=f"{kind}-{release_id}-{request}",
        kind=kind,
        release=release_id,
        request=request,
        started_at=now,
        steps=tuple(Step(name) for name in STEPS[kind]),
        subjects=(f"release/{release_id}",),
    )
    verb = {"up": "start", "deploy": "ship", "rollback": "go back to"}[kind]
    beside = f"; {memory.serving} serves meanwhile" if memory.serving and kind != "up" else ""
    return replace(memory, operation=operation), (
        say(f"release/{release_id}", f"asked to {verb} {release_id}{beside}"),
    )


def advance(memory: ReleaseMemory, sight: Sight) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Move on through as many steps as are done already."""
    decisions: list[Decision] = []
    operation = memory.operation
    assert operation is not None
    if operation.undoing:
        return _undo(memory, operation, sight)
    while (step := operation.step) is not None:
        now = sight.snapshot.taken_at
        if step.state is StepState.WAITING:
            step = replace(step, state=StepState.RUNNING, started_at=now)
            memory, made = _enter(step.name, memory, operation, sight)
            decisions += made
        elif step.started_at is not None and step.started_at > now:
            # The clock was set back: what happens from now on still happens after the step began.
            step = replace(step, started_at=now)
        progress = HANDLERS[step.name](operation, step, memory, sight)
        step = replace(step, note=progress.note, state=progress.state)
        subject = f"release/{operation.release}"
        if progress.effects:
            decisions.append(
                Decision("", "release", subject, progress.effects, f"{operation.release}: {progress.note}")
            )
        if progress.state is not StepState.RUNNING:
            step = replace(step, ended_at=now)
        operation = replace(operation, steps=tuple(step if s.name == step.name else s for s in operation.steps))
        memory = replace(memory, operation=operation)
        if progress.state is StepState.RUNNING:
            return watch_traffic(memory, sight), tuple(decisions)
        if progress.state is StepState.FAILED:
            why = f"{operation.release} failed at {step.name}: {progress.note}"
            undoing = replace(operation, undoing=True, why=why)
            decisions.append(say(subject, f"{why}; it is undone"))
            return replace(shift_back(memory), operation=undoing), tuple(decisions)
    return _finish(memory, operation, sight, decisions)


def _enter(
    name: str, memory: ReleaseMemory, operation: Operation, sight: Sight
) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """What changes in memory when a step begins."""
    new, old, subject = operation.release, memory.serving, f"release/{operation.release}"
    if name == "start":
        beside = f" beside {old}" if old else ""
        return memory, (say(subject, f"{new}: its instances start{beside}"),)
    if name == "shift":
        served = (*(r for r in memory.served if r not in (old, new)), old) if old else memory.served
        memory = replace(
            memory,
            serving=new,
            served=served,
            watched_at=sight.snapshot.taken_at,
            watched_requests=0.0,
            watched_errors=0.0,
            watched_well_s=0.0,
            watched_ailing_s=0.0,
        )
        moved = f" from {old}" if old else ""
        return memory, (say(subject, f"{new} is ready: traffic moves to it{moved}"),)
    if name == "watch" and memory.served:
        kept = f"{memory.served[-1]} is kept ready meanwhile"
        return memory, (say(subject, f"{new} serves and is watched for {sight.model.rollout.watch_s:.0f} s; {kept}"),)
    if name == "retire" and memory.served:
        return memory, (say(subject, f"{new} serves and is well: {memory.served[-1]} is let go"),)
    return memory, ()


def _finish(
    memory: ReleaseMemory, operation: Operation, sight: Sight, decisions: list[Decision]
) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    took_s = sight.snapshot.taken_at - operation.started_at
    text = (
        f"{operation.release} serves ({took_s:.1f} s)"
        if took_s < 10
        else f"{operation.release} serves ({took_s:.0f} s)"
    )
    old = {*memory.served[-KEPT_RELEASES:], memory.serving}
    stale = tuple(
        RemoveRelease(r)
        for r in sight.snapshot.releases
        if r not in old
        and r in sight.model.releases
        and sight.model.releases[r].number < sight.model.releases[operation.release].number
    )
    if stale:
        decisions.append(
            Decision("", "release", "releases", stale, f"the last {KEPT_RELEASES} releases are kept to go back to")
        )
    decisions.append(answer(operation.request, True, text, f"release/{operation.release}"))
    return replace(memory, operation=None), tuple(decisions)


def _undo(memory: ReleaseMemory, operation: Operation, sight: Sight) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Wait until the failed release's instances are gone, then answer."""
    if any(m.release == operation.release for m in sight.heal.members.values()):
        return memory, ()
    end = (
        f"{memory.serving} serves as before" if memory.serving else "nothing serves: mend it and run `tenfold up` again"
    )
    told = answer(operation.request, False, f"{operation.why}; {end}", f"release/{operation.release}")
    return replace(memory, operation=None), (told,)


def shift_back(memory: ReleaseMemory) -> ReleaseMemory:
    """Traffic returns to the release that served before the operation."""
    operation = memory.operation
    if operation is None or memory.serving != operation.release:
        return memory
    old = memory.served[-1] if memory.served else None
    return replace(memory, serving=old, served=memory.served[:-1], watched_at=None)


def say(subject: str, why: str) -> Decision:
    """A decision without effects: something that a person would ask about."""
    return Decision("", "release", subject, (), why)


def answer(request: str, ok: bool, text: str, subject: str) -> Decision:
    """The decision that tells whoever made `request` how it ended."""
    return Decision("", "release", subject, (AnswerRequest(request, ok, text),), text)
