"""The control plane is killed again and again at random moments, deploys included: nothing that runs may notice."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field
from random import Random

import psutil
import psycopg

from bench.shop import Ended, Shop, Tell, crewboard
from bench.table import Figure, Unmeasured, holds, none_of, told
from bench.traffic import browsing, failures, resent, sign_in, steady, writes_kept, writing
from tenfold.effects import StopEngine, StopInstance

KILLS = 20
SEED = 2026
WATCH = "3s"
"""How long a release is watched here; a minute is the default, and would make this row an hour long."""
CHANGES = {
    "rollout": {"watch": WATCH},
    # Each run writes a row with the name of its instance: here that of the run itself, which holds the minute it was due for.
    "services": {
        "reports": {"schedule": "* * * * *", "command": 'TENFOLD_INSTANCE="$TENFOLD_ID" python -m crewboard.nightly'}
    },
}
WORDS = f"the blueprint here has `rollout: {{watch: {WATCH}}}` and a schedule for every minute"


@dataclass(slots=True)
class Story:
    """What 20 deaths did: names of what was lost, changed or doubled, and how the deploys under way ended."""

    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    deploys: list[Ended] = field(default_factory=list)
    adopted: int = 0
    in_deploys: int = 0
    longest_up_s: float = 0.0


async def control_plane_kill(tell: Tell) -> list[Figure]:
    """Kill -9 the control plane 20 times under load, every other time with a deploy under way, and start it again each time."""
    random, story = Random(SEED), Story()
    async with crewboard(tell, CHANGES) as shop:
        target = await shop.target()
        cookie = await sign_in(target)
        async with writing(target, cookie) as writes, steady(target, browsing(cookie), tell) as load:
            deploying: asyncio.Task[Ended] | None = None
            for number in range(KILLS):
                if number % 2 == 1 and deploying is None:
                    deploying = await _begin_deploy(shop, number, random)
                await asyncio.sleep(random.uniform(0.0, 6.0 if deploying else 2.0))
                story.in_deploys += deploying is not None and not deploying.done()
                tell(f"kill {number + 1} of {KILLS}{', a deploy is under way' if deploying else ''}")
                await _kill(shop, random, story)
                if deploying is not None and deploying.done():
                    story.deploys.append(deploying.result())
                    deploying = None
            if deploying is not None:
                story.deploys.append(await deploying)
            await shop.until(lambda: shop.latest().memory.release.operation is None, "the last deploy ends", 60.0)
            await asyncio.sleep(3.0)
            orphans = _orphans(shop)
            result = await load.end()
        runs = await _runs(shop)
    return [
        failures("requests failed", result),
        *writes_kept(writes),
        none_of("instances and engines lost", len(story.lost), f"{story.adopted} adopted", story.lost),
        none_of("adopted under another pid", len(story.changed), f"{story.adopted}", story.changed),
        none_of("doubled", len(story.doubled), f"{story.adopted}", story.doubled),
        none_of("orphaned at the end", len(orphans), "", orphans),
        _deploys(story),
        *runs,
        told("longest `tenfold up --detach` after a kill", f"{story.longest_up_s:.1f} s", story.longest_up_s),
        resent(result),
        told("seed, and what is not as in examples/", f"{SEED}; {WORDS}"),
    ]


async def _begin_deploy(shop: Shop, number: int, random: Random) -> asyncio.Task[Ended]:
    """`tenfold deploy` of a changed folder, going on by itself; returns once it is under way, or is about to be."""
    (shop.root / "VERSION").write_text(f"{number}\n")
    process = await shop.begin("deploy")
    await asyncio.sleep(random.uniform(0.5, 1.5))
    return asyncio.create_task(shop.ended(process, "deploy"))


async def _kill(shop: Shop, random: Random, story: Story) -> None:
    """One death of the control plane, its return, and what became of what ran."""
    before = {**shop.leaders("instance"), **_engines(shop)}
    operation = shop.latest().memory.release.operation
    step = (
        f"{operation.release} at step {operation.step.name}" if operation and operation.step else "nothing is shipped"
    )
    shop.tell(f"{len(before)} instances and engines run, {step}")
    killed_at = time.time()
    os.kill(shop.control_plane(), signal.SIGKILL)
    await asyncio.sleep(random.uniform(0.0, 1.5))
    story.longest_up_s = max(story.longest_up_s, (await shop.up()).took_s)
    after = {**shop.leaders("instance"), **_engines(shop)}
    stopped = _stopped(shop, killed_at - 30.0)
    for name, sessions in before.items():
        if name not in after:
            if name not in stopped:
                story.lost.append(name)
        elif after[name] != sessions:
            story.changed.append(name)
        else:
            story.adopted += 1
    story.doubled += [name for name, sessions in after.items() if len(sessions) > 1]


def _engines(shop: Shop) -> dict[str, set[int]]:
    """By key, the engines' processes that live. PostgreSQL writes over its environment, so their pids are those that the journal has."""
    seen = shop.latest().snapshot.engines.values()
    return {e.key: {e.pid} for e in seen if e.pid is not None and psutil.pid_exists(e.pid)}


def _stopped(shop: Shop, since: float) -> set[str]:
    """What was stopped by decision, since then: those may be gone."""
    effects = [e for row in shop.decisions(since) for e in row.decision.effects]
    instances = {e.instance for e in effects if isinstance(e, StopInstance)}
    return instances | {f"{e.kind}/{e.region}" for e in effects if isinstance(e, StopEngine)}


def _orphans(shop: Shop) -> list[str]:
    """Instances that run and are not known, or are known and do not run."""
    return sorted(shop.leaders("instance").keys() ^ shop.latest().snapshot.instances.keys())


def _deploys(story: Story) -> Figure:
    """A deploy goes on where it was: each one under way when the control plane died must end well."""
    bad = [e.last_line for e in story.deploys if e.code != 0]
    text = f"{len(story.deploys) - len(bad)} of {len(story.deploys)} ({story.in_deploys} kills in the middle of one)"
    return holds("deploys cut by kills that ended well", not bad, text + "".join(f"; {b}" for b in bad[:3]), "all")


async def _runs(shop: Shop) -> list[Figure]:
    """What the scheduled job itself left in the database: a row for each time it ran, with the name it ran under."""
    url = (await shop.do("run", "echo $DATABASE_URL")).output.strip().splitlines()[-1]
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (await connection.execute("SELECT instance FROM nightly_runs ORDER BY started_at")).fetchall()
    started = sorted(path.stem for path in shop.project.tasks.glob("reports-*.started"))
    if not rows:
        raise Unmeasured("the scheduled job never ran, so nothing is known about running twice")
    names = [name for (name,) in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [
        none_of("runs of a schedule that happened twice", len(rows) - len(set(names)), f"{len(rows)} runs", twice),
        told("runs of it that were started", f"{len(started)}: {', '.join(started)}", len(started)),
    ]
