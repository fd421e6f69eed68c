"""The deploy as an operation: build, release hook, start beside the old, shift, watch, retire. And what people ask
for: up, down, rollback.

    deploy/up   build -> hook -> start -> shift -> watch -> retire
    rollback                     start -> shift          -> retire
    any step fails: traffic back to the old release, the new one's instances let go, the reason told to who asked

The table is `STEPS`; each step has one function that says how far it is.
The operation is memory, so a restart goes on where it was.
"""

from collections.abc import Mapping

from tenfold.deciders.memory import HealMemory, Intent, ReleaseMemory, RouteMemory
from tenfold.deciders.release.asked import answer_up, go_down, take_up
from tenfold.deciders.release.operation import advance, running
from tenfold.deciders.release.steps import Sight, learn_error_ratio, way_to
from tenfold.effects import Decision
from tenfold.facts import Snapshot
from tenfold.model import Model

__all__ = ["answer_up", "release", "running", "way_to"]


def release(
    model: Model,
    snapshot: Snapshot,
    memory: ReleaseMemory,
    heal: HealMemory,
    routes: RouteMemory,
    wanted: Mapping[str, int],
    waiting_for: str,
) -> tuple[ReleaseMemory, tuple[Decision, ...]]:
    """Take up requests and move the operation on.

    `wanted` is the number of instances by pool; `waiting_for` names stores that are not ready.
    """
    sight = Sight(model, snapshot, heal, routes, wanted, waiting_for)
    decisions: list[Decision] = []
    for request in sorted(snapshot.requests.values(), key=lambda r: (r.made_at, r.id)):
        memory, made = take_up(request, memory, sight)
        decisions += made
    if memory.intent is Intent.DOWN:
        memory, made = go_down(memory, sight)
        return memory, (*decisions, *made)
    if memory.operation is not None:
        memory, made = advance(memory, sight)
        decisions += made
    else:
        memory = learn_error_ratio(memory, sight)
    return memory, tuple(decisions)
