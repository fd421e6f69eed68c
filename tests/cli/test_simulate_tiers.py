"""`tenfold simulate` where tiers have pools of their own: each gets its part of the demand, under every policy and in every region."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.cli.app import cli
from tenfold.cli.simulatedemand import Demand, of_trace, of_users
from tenfold.estimators.portions import portions, shared_out
from tenfold.estimators.users import Question
from tenfold.facts import Window
from tenfold.model import Action, Model, Region, Scaling, Scenario, Service, Step, Tier
from tenfold.sim.policies import POLICIES

BLUEPRINT = """
name: shop
services:
  web:
    command: serve {port}
    scaling:
      instances: {min: 1, max: 20}
      tiers: {gold: {}, silver: {}}
tiers:
  gold: {tenants: [acme], share: 40%}
  silver: {tenants: [globex]}
regions:
  east: {at: [35.7, 139.7], capacity: 1000}
  west: {at: [41.3, -95.9], capacity: 3000}
"""
POOLS = [f"{service}@{region}" for region in ("east", "west") for service in ("web", "web-gold", "web-silver")]
SCENARIO = Scenario("office", (Action("look", 1.0, (Step("GET", "/"), Step("GET", "/api"))),))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the trace of an hour and a half that rises in its last 40 minutes, from 150 to 500 requests/s."""
    rows = [f"2026-01-05T{9 + i // 60:02}:{i % 60:02},{9000 + 525 * max(0, i - 50)}" for i in range(90)]
    (tmp_path / "day.csv").write_text("timestamp,requests\n" + "\n".join(rows) + "\n")
    (tmp_path / "tenfold.yaml").write_text(BLUEPRINT)
    return tmp_path


def call(place: Path, *words: str) -> str:
    """What the command says of the trace's last 40 minutes."""
    hour = ("--trace", str(place / "day.csv"), "--from", "2026-01-05T09:50", "--start-time", "20s", "--step", "30s")
    ended = CliRunner().invoke(cli, ["-C", str(place), "simulate", *hour, *words])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def played(place: Path, *words: str) -> dict[str, dict[str, Any]]:
    """By policy, then by pool, its figures."""
    data = json.loads(call(place, *words, "--json", "-"))
    return {of["policy"]: {pool["key"]: pool for pool in of["pools"]} for of in data["policies"]}


def test_every_policy_scales_every_pool(place: Path) -> None:
    """In the larger region gold alone is asked for 150 requests/s at the end: all add instances of its own, and none where nobody asks."""
    for policy, pools in played(place, "--policy", ",".join(POLICIES)).items():
        assert sorted(pools) == sorted(POOLS), policy
        # One that counts requests at hand is too late for this app, as it is told, and may go to any length.
        most = {key: pool["instances_max"] for key, pool in pools.items()}
        assert most["web-silver@east"] == most["web-silver@west"] == 1, policy
        if policy != "kpa":
            assert 4 <= most["web-gold@west"] <= 6 <= most["web@west"] <= 9, policy
            assert 1 <= most["web-gold@east"] <= 3, policy
        assert pools["web-gold@west"]["actions"] > 0, policy


def test_each_pool_is_told(place: Path) -> None:
    """A table of the pools, whose part is how large and why, and that nobody says how many are in silver."""
    text = call(place, "--policy", "oracle")
    lines = text.splitlines()
    heads = next(n for n, line in enumerate(lines) if line.startswith("instances of"))
    assert [line.split()[0] for line in lines[heads + 1 : heads + 7]] == POOLS
    assert "web-gold: 40% of those to web, as tiers.gold.share says" in text
    assert "60% of those to web, what its tiers leave" in text
    assert (
        "web-silver: tiers.silver.share does not say how many users are in it, so it keeps its least and the pool of all gets all"
        in text
    )
    assert text.count("one instance of") == 1


def test_without_tiers_no_pool_is_told_apart(place: Path) -> None:
    """The output is as it always was."""
    plain = BLUEPRINT.replace("      tiers: {gold: {}, silver: {}}\n", "")
    (place / "tenfold.yaml").write_text(plain)
    assert "instances of" not in call(place, "--policy", "oracle")


def split(shares: list[float], regions: str) -> Question:
    """A shop with two services, of which web has a tier with a pool for each of `shares`."""
    web, api = Service("web", "serve", paths=("/",)), Service("api", "serve", paths=("/api",))
    names = [f"t{place}" for place in range(len(shares))]
    services = {each.name: each for each in (web, api, *(web.of_tier(name, Scaling()) for name in names))}
    tiers = {name: Tier(name, tenants=(name,), share_ratio=share) for name, share in zip(names, shares, strict=True)}
    model = Model(
        "shop", services, {name: Region(name, (0.0, 50.0 * n)) for n, name in enumerate(regions)}, tiers=tiers
    )
    parts = portions(model, Window(0.0, 60.0, {}))
    return Question(model, SCENARIO, shared_out({"web": 0.5, "api": 0.5}, model, parts), {}, portions=parts)


@settings(max_examples=8, deadline=None)
@given(
    parts=st.lists(st.floats(0.0, 1.0), max_size=4), regions=st.sampled_from(("a", "ab")), users=st.integers(1, 10**6)
)
def test_the_demand_is_the_same_however_it_splits(
    tmp_path_factory: pytest.TempPathFactory, parts: list[float], regions: str, users: int
) -> None:
    """Minute by minute all pools together are asked for what they would be without tiers, of a trace and of users."""
    whole = max(1.0, sum(parts))
    file = tmp_path_factory.mktemp("trace") / "day.csv"
    file.write_text("timestamp,requests\n" + "".join(f"2026-01-05T10:{n:02},{n * 7919 % 600}\n" for n in range(20)))

    def demands(question: Question) -> tuple[Demand, Demand]:
        return of_trace(file, None, None, question, 1.0, None), of_users(question, users, seed=1)

    tiered, plain = demands(split([part / whole for part in parts], regions)), demands(split([], regions))
    for mine, one in zip(tiered, plain, strict=True):
        assert mine.whole() == pytest.approx(one.whole(), rel=1e-9)
        assert {key for key in mine.by_pool if key.startswith("api")} == {f"api@{region}" for region in regions}
