"""Builders for snapshots: a test says what differs from a quiet, healthy project."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from tenfold.deciders import Decided, Memory, decide
from tenfold.facts import (
    EngineSeen,
    EngineState,
    GatewaySeen,
    InstanceSeen,
    InstanceState,
    PoolSeen,
    ReleaseSeen,
    Snapshot,
    UpRequest,
)
from tenfold.model import Health, Model, Region, Release, Scaling, Service, Trigger

START = 1_750_000_000.0


def service(name: str = "web", low: int = 2, high: int = 8, **changes: object) -> Service:
    """An HTTP service with a concurrency and a cpu trigger, cooldown 60 s."""
    triggers = (Trigger("concurrency", 60, 30, 60), Trigger("cpu", 0.8, 0.4, 60))
    base = Service(
        name,
        f"serve {name} {{port}}",
        paths=("/",),
        health=Health("/health"),
        scaling=Scaling(low, high, triggers),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def release(id_: str = "r1", *services: Service) -> Release:
    """A release of these services (one `web` when none are named)."""
    return Release(id_, {s.name: s for s in services or (service(),)}, f"digest of {id_}", START)


@dataclass
class Story:
    """A project over time: `tick` decides on what is now, and remembers."""

    model: Model
    now: float = START
    memory: Memory = field(default_factory=Memory)
    instances: dict[str, InstanceSeen] = field(default_factory=dict)
    pools: dict[str, PoolSeen] = field(default_factory=dict)
    engines: dict[str, EngineSeen] = field(default_factory=dict)
    gateways: dict[str, GatewaySeen] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def snapshot(self) -> Snapshot:
        """What is now."""
        fresh = dict.fromkeys(("process", "gateway", "postgres", "valkey", "metrics"), self.now)
        observed = {s: at - 60.0 if s in self.stale else at for s, at in fresh.items()}
        releases = {r: ReleaseSeen(r, self.now) for r in self.model.releases}
        parts: dict[str, object] = {
            "observed": observed,
            "instances": {id_: replace(i, seen_at=observed["process"]) for id_, i in self.instances.items()},
            "pools": dict(self.pools),
            "engines": dict(self.engines),
            "gateways": dict(self.gateways),
            "releases": releases,
            **self.extra,
        }
        return Snapshot(taken_at=self.now, epoch=1, **parts)  # type: ignore[arg-type]

    def tick(self, seconds: float = 1.0) -> Decided:
        """Let `seconds` pass, then decide; the gateway takes up what is published."""
        self.now += seconds
        decided = decide(self.model, self.snapshot(), self.memory)
        self.memory = decided.memory
        for decision in decided.decisions:
            for effect in decision.effects:
                if effect.key.startswith("publish:"):
                    digest = effect.table_digest  # type: ignore[union-attr]
                    self.gateways["local"] = GatewaySeen("local", digest, self.now)
        return decided

    def ready(self, *ids: str, release: str = "r1", **changes: object) -> None:
        """These instances are ready, and have been for a minute."""
        for id_ in ids:
            name = id_.rpartition("-")[0]
            seen = InstanceSeen(
                id=id_,
                service=name,
                region="local",
                release=release,
                state=InstanceState.READY,
                since=self.now - 60,
                started_at=self.now - 62,
                seen_at=self.now,
                pid=100,
                host="127.0.0.1",
                port=20_000 + len(self.instances),
                cpu_cores=0.1,
                memory_bytes=50_000_000,
            )
            self.instances[id_] = replace(seen, **changes)  # type: ignore[arg-type]

    def traffic(self, in_flight: float, per_s: float = 100.0, **changes: object) -> None:
        """The gateway's figures of `web` now."""
        pool = PoolSeen(
            "web", "local", self.now + 1.0, requests_per_s=per_s, in_flight=in_flight, response_ms_mean=20.0
        )
        self.pools["web@local"] = replace(pool, **changes)  # type: ignore[arg-type]


@pytest.fixture
def new_story() -> Callable[..., Story]:
    """A story with these releases at hand, its gateway ready."""

    def make(*releases: Release, regions: tuple[str, ...] = ("local",)) -> Story:
        made = releases or (release(),)
        model = Model(
            "demo",
            made[0].services,
            {name: Region(name) for name in regions},
            releases={r.id: r for r in made},
        )
        story = Story(model)
        gateway = EngineSeen("gateway", "local", EngineState.READY, START, START, address="127.0.0.1:8080", pid=7)
        story.engines["gateway/local"] = gateway
        return story

    return make


@pytest.fixture
def serving(new_story: Callable[..., Story]) -> Story:
    """Release r1 serves on web-1 and web-2, and has for a while."""
    story = new_story()
    story.extra["requests"] = {"up": UpRequest("up", START, story.model.releases["r1"])}
    story.tick()
    story.ready("web-1", "web-2")
    for _ in range(3):
        story.tick()
    story.extra.pop("requests")
    assert story.memory.release.serving == "r1", "the story's own beginning went wrong"
    for _ in range(70):
        story.traffic(in_flight=80.0)
        story.tick()
    return story
