"""Deploys, rollbacks and broken releases under load, with open WebSockets: nobody may notice, and a broken one says why."""

import asyncio
from dataclasses import dataclass, field

from bench.shop import Blueprint, Ended, Shop, Tell, crewboard
from bench.table import Figure, at_most, holds, none_of, told
from bench.traffic import browsing, failures, resent, sign_in, steady, writes_kept, writing
from tenfold.proof.load import Sockets, SocketsResult

DEPLOYS = 10
ROLLBACKS = 2
CLIENTS = 50
GAP_MS = 1000.0
WATCH = "4s"
SERVE = "uvicorn --ws websockets-sansio --ws-per-message-deflate false --host {host} --port {port} crewboard:app"


@dataclass(frozen=True, slots=True)
class Broken:
    """A kind of broken release: what makes it so, and a word that its reason must hold."""

    name: str
    web: Blueprint
    word: str


BROKEN = (
    Broken("the build fails", {"build": "echo no compiler here; exit 7"}, "exit code 7"),
    Broken("the release hook fails", {"release": "echo the column is taken; exit 3"}, "exit code 3"),
    Broken("it exits at start", {"command": "echo no such setting; exit 4"}, "exit code 4"),
    Broken("it never gets healthy", {"command": "python -m http.server --bind {host} {port}"}, "not ready within 5 s"),
    Broken("it dies within its watch", {"command": f"timeout --signal KILL 3.5 {SERVE}"}, "stay well"),
)
CHANGES: Blueprint = {"rollout": {"watch": WATCH}, "services": {"web": {"health": {"starts_within": "5s"}}}}


@dataclass(slots=True)
class Story:
    """How each command ended, and what went wrong with the broken ones."""

    good: list[Ended] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


async def deploys(tell: Tell) -> list[Figure]:
    """10 deploys with 2 rollbacks among them, then five broken releases."""
    story = Story()
    async with crewboard(tell, CHANGES) as shop:
        target = await shop.target()
        cookie = await sign_in(target)
        whole = shop.blueprint
        async with (
            writing(target, cookie) as writes,
            steady(target, browsing(cookie), tell) as load,
            Sockets(target, "/feed", CLIENTS, headers={"cookie": cookie}) as sockets,
        ):
            for number in range(1, DEPLOYS + 1):
                tell(f"deploy {number} of {DEPLOYS}")
                (shop.root / "VERSION").write_text(f"{number}\n")
                await _must_work(shop, story, "deploy")
                if number in (5, DEPLOYS):
                    tell("rollback")
                    await _must_work(shop, story, "rollback")
            for broken in BROKEN:
                tell(f"a release of which {broken.name}")
                await _ship_broken(shop, story, broken)
                shop.write_blueprint(whole)
            # What the last one left is let go before the books are closed.
            await shop.until(lambda: shop.latest().memory.release.operation is None, "the last deploy is undone", 60.0)
            await asyncio.sleep(2.0)
            result, held = await load.end(), sockets.result()
    times_s = sorted(e.took_s for e in story.good)
    return [
        failures("requests failed", result),
        *writes_kept(writes),
        holds(
            f"{DEPLOYS} deploys and {ROLLBACKS} rollbacks that worked",
            not story.bad,
            f"{len(story.good)}{''.join(f'; {text}' for text in story.bad[:3])}",
            str(DEPLOYS + ROLLBACKS),
        ),
        *_sockets(held),
        none_of(
            "broken releases that got through, or did not say why", len(story.wrong), f"{len(BROKEN)}", story.wrong
        ),
        *(told(f"  {broken.name}", reason) for broken, reason in zip(BROKEN, story.reasons, strict=True)),
        told(
            "one deploy",
            f"{times_s[len(times_s) // 2]:.1f} s in the middle, {times_s[-1]:.1f} s at the most, {WATCH} of it its watch"
            if times_s
            else "none worked",
        ),
        resent(result),
    ]


async def _must_work(shop: Shop, story: Story, command: str) -> None:
    ended = await shop.tenfold(command)
    if ended.code == 0:
        story.good.append(ended)
    else:
        story.bad.append(f"{command}: {ended.last_line}")


async def _ship_broken(shop: Shop, story: Story, broken: Broken) -> None:
    """Ship it; the old release must serve on, and the command must end with 1 and a reason."""
    before = (await shop.status())["serving"]
    shop.change({"services": {"web": broken.web}})
    ended = await shop.tenfold("deploy")
    serving = (await shop.status())["serving"]
    story.reasons.append(ended.last_line.removeprefix("Error: "))
    if ended.code != 1 or broken.word not in ended.last_line:
        story.wrong.append(f"{broken.name}: ended with {ended.code}, {ended.last_line}")
    if serving != before:
        story.wrong.append(f"{broken.name}: {serving} serves instead of {before}")


def _sockets(held: SocketsResult) -> tuple[Figure, ...]:
    gaps_ms = sorted(r.gap_ms for r in held.reconnects)
    half = f"within {gaps_ms[len(gaps_ms) // 2]:.0f} ms" if gaps_ms else "never"
    codes = ", ".join(f"{count} with {code}" for code, count in sorted(held.close_codes.items()))
    return (
        at_most(
            f"longest time that one of {CLIENTS} WebSocket clients was without", held.gap_max_ms or 0.0, GAP_MS, "ms"
        ),
        none_of("WebSocket clients left without one", held.down, f"{held.clients}"),
        told(
            "WebSockets closed and opened again",
            f"{len(held.reconnects)} ({codes}), half of them {half}",
            len(held.reconnects),
        ),
    )
