"""How `tenfold simulate` tells what came of it: a table, sentences, one decision whole, JSON. Stage: outcomes -> a person or a program."""

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from tenfold.cli.here import WrongCall
from tenfold.cli.tables import table
from tenfold.proof.report.compared import MEANT, Compared, cells, pool_rows, struck_text
from tenfold.proof.words import percent, percent_at_most, seconds
from tenfold.sim.tally import Made, Outcome


def view(compared: Compared) -> RenderableType:
    """The whole comparison as text."""
    shown = table("policy", *compared.heads, right=compared.heads)
    for outcome in compared.outcomes:
        shown.add_row(Text(outcome.policy, style="bold"), *cells(compared, outcome))
    parts: list[RenderableType] = [shown, Text(MEANT, style="dim")]
    for outcome in compared.outcomes:
        for struck in outcome.struck:
            parts.append(Text.assemble(f"{struck.name} under ", (outcome.policy, "bold"), f": {struck_text(struck)}"))
    if rows := pool_rows(compared):
        policies = tuple(outcome.policy for outcome in compared.outcomes)
        pools = table("instances of", *policies, right=policies)
        for key, *had in rows:
            pools.add_row(Text(key, style="bold"), *had)
        parts += [Text(), pools]
    parts += [Text.assemble(("  - ", "dim"), line) for line in _pools(compared)]
    parts.append(Text())
    parts += [Text(f"  {line}", style="dim") for line in compared.told]
    return Group(*parts)


def _pools(compared: Compared) -> Iterator[str]:
    """Of several pools, those that were short under the first policy."""
    outcome = compared.outcomes[0]
    if len(outcome.pools) < 2:
        return
    short = sorted((pool for pool in outcome.pools if pool.short_s > 0), key=lambda pool: (-pool.short_s, pool.key))
    for pool in short[:5]:
        yield f"under {outcome.policy} {pool.key} was short for {seconds(pool.short_s)} ({percent_at_most(pool.short_s / outcome.seconds)})"


def decision_view(compared: Compared, asked: str) -> RenderableType:
    """One decision whole, asked for as `d12` (of the first policy) or `hpa:d12`. Raises `WrongCall` when there is none."""
    name, colon, id_ = asked.rpartition(":")
    outcome = next((o for o in compared.outcomes if o.policy == name), None) if colon else compared.outcomes[0]
    if outcome is None:
        played = ", ".join(o.policy for o in compared.outcomes)
        raise WrongCall(f"--decision {asked}: {name} was not played; played were {played}")
    made = next((made for made in outcome.made if made.decision.id == id_), None)
    if made is None:
        about = [m.decision.id for m in outcome.made if m.decision.by == "scale"]
        known = (
            f"about numbers there are {', '.join(about[:12])}{' ...' if len(about) > 12 else ''}"
            if about
            else "none was about numbers"
        )
        raise WrongCall(f"--decision {asked}: {outcome.policy} made no decision {id_}; {known}")
    decision = made.decision
    doubt = " that it is needed" if decision.confidence_ratio < 1 else ""
    lines = [
        Text.assemble(
            (f"{outcome.policy} {decision.id}", "bold"),
            f"  {seconds(made.at_s)} in, by {decision.by}, about {decision.subject}",
        ),
        Text(f"  {decision.why}"),
        *(Text(f"  it saw     {fact}") for fact in decision.facts),
        *(Text(f"  bounded    {clamp}") for clamp in decision.clamps),
        Text(f"  sure       {percent(round(decision.confidence_ratio, 4))}{doubt}"),
        *(Text(f"  did        {effect.key}") for effect in decision.effects),
    ]
    return Group(*lines)


def as_data(compared: Compared) -> dict[str, object]:
    """For programs: times in seconds of the counted time, which began at `began_at` (seconds since the epoch)."""
    return {
        "name": compared.name,
        "environment": compared.environment,
        "began_at": compared.began_at,
        "told": list(compared.told),
        "command": compared.command,
        "policies": [_outcome(compared, outcome) for outcome in compared.outcomes],
    }


def _outcome(compared: Compared, outcome: Outcome) -> dict[str, object]:
    return {
        "policy": outcome.policy,
        "seconds": outcome.seconds,
        "currency": outcome.currency,
        "cost": outcome.cost,
        "cost_per_day": outcome.cost_per_day,
        "cost_per_month": outcome.cost_per_month,
        "cost_over_oracle": compared.over_oracle(outcome),
        "short_ratio": outcome.short_ratio,
        "offered": outcome.offered,
        "answered": outcome.answered,
        "failed": outcome.failed,
        "refused": outcome.refused,
        "lost_ratio": outcome.lost_ratio,
        "p50_ms": outcome.p50_ms,
        "p95_ms": outcome.p95_ms,
        "actions": outcome.actions,
        "actions_per_day": outcome.actions_per_day,
        "flaps": outcome.flaps,
        "instances_min": outcome.instances_min,
        "instances_mean": outcome.instances_mean,
        "instances_max": outcome.instances_max,
        "pools": [asdict(pool) for pool in outcome.pools],
        "faults": [asdict(struck) for struck in outcome.struck],
        "course": asdict(outcome.course),
        "decisions": [_made(made) for made in outcome.made],
    }


def _made(made: Made) -> dict[str, object]:
    decision = made.decision
    return {
        "at_s": made.at_s,
        "id": decision.id,
        "by": decision.by,
        "subject": decision.subject,
        "why": decision.why,
        "facts": list(decision.facts),
        "clamps": list(decision.clamps),
        "confidence_ratio": decision.confidence_ratio,
        "effects": [effect.key for effect in decision.effects],
    }
