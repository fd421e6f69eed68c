"""`tenfold plan --users` where tiers have pools of their own: a row each, what they cost, what to paste."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tenfold.blueprint import load
from tenfold.cli.app import cli
from tests.cli.test_plan import lived

BLUEPRINT = """
name: shop
services:
  web:
    command: serve {port}
    scaling:
      instances: {min: 2, max: 60}
      tiers:
        enterprise: {instances: {min: 2, max: 6}}
        agency: {triggers: {concurrency: {up_above: 40, down_below: 20}, memory: {up_above: 80%, down_below: 40%}}}
        press: {}
tiers:
  enterprise: {tenants: [acme, globex], share: 20%}
  agency: {tenants: [initech], domains: [initech.shop.example], share: 2.5%}
  press: {tenants: [gazette]}
"""
GOLDEN = Path(__file__).parent / "golden" / "plan-tiers.txt"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project's folder in which nothing ever ran."""
    (tmp_path / "tenfold.yaml").write_text(BLUEPRINT)
    return tmp_path


def call(place: Path, *words: str) -> str:
    """What the command says."""
    ended = CliRunner().invoke(cli, ["-C", str(place), "plan", "--users", *words], env={"COLUMNS": "140"})
    assert ended.exit_code == 0, ended.output
    return ended.output


def told(place: Path, *words: str) -> Any:
    """The same for programs."""
    return json.loads(call(place, *words, "--json"))


def test_each_pool_has_a_row(place: Path) -> None:
    """What is asked about, whole: how many each pool takes by its share, or why it keeps its least, the money, and what breaks first."""
    text = call(place, "20000")
    phase = text[text.index("up to 20,000 users") : text.index("\nup to 50,000 users")]
    unknown = [line for line in text.splitlines() if line.startswith("not known")]
    piece = text[text.index("to paste into the blueprint") :]
    assert "\n".join([phase, *unknown, "", piece]) == GOLDEN.read_text(encoding="utf-8")


def test_pools_in_every_phase_for_programs(place: Path) -> None:
    """Each phase has the portion of each pool, and the instances' money tells what of it is a tier's."""
    for phase in told(place, "20000")["phases"]:
        needs = {need["service"]: need for need in phase["needs"]}
        ratios = {name: need["portion"]["ratio"] for name, need in needs.items()}
        assert ratios == {"web": 0.775, "web-enterprise": 0.2, "web-agency": 0.025, "web-press": None}
        asked = sum(need["requests_per_s"] for need in needs.values())
        assert needs["web-enterprise"]["requests_per_s"] == pytest.approx(0.2 * asked)
        each = phase["cost"]["instances"] / phase["instances"]
        of_tiers = {
            name.removeprefix("web-"): each * need["instances"] for name, need in needs.items() if name != "web"
        }
        assert phase["cost"]["tiers"] == pytest.approx(of_tiers)


def test_what_runs_tells_better(place: Path) -> None:
    """After a day of all pools the plan goes by what came to each, and says what the blueprint expected."""
    names = ("web", "web-enterprise", "web-agency", "web-press")
    lived(
        place, {f"{name}@local.requests_per_s": [per_s] * 1440 for name, per_s in zip(names, (5, 3, 0, 2), strict=True)}
    )
    needs = {need["service"]: need for need in told(place, "20000")["needs"]}
    assert {name: need["portion"]["ratio"] for name, need in needs.items()} == dict(
        zip(names, (0.5, 0.3, 0, 0.2), strict=True)
    )
    text = call(place, "20000")
    assert "30% of those to web, as 24 hours of the journal show (tiers.enterprise.share says 20%)" in text
    assert "no request comes to it, as 24 hours of the journal show (tiers.agency.share says 2.5%)" in text
    assert "20% of those to web, as 24 hours of the journal show)" in text


@pytest.mark.parametrize("share", ["20%", "100%"])
def test_what_is_to_be_pasted_has_the_tiers(place: Path, share: str) -> None:
    """It loads, with the pools' bounds below their service, who is in them, and how many; also where a tier has everybody."""
    text = BLUEPRINT.replace("share: 20%", f"share: {share}").replace("share: 2.5%", "share: 0%")
    (place / "tenfold.yaml").write_text(text)
    allocation = told(place, "20000")["allocation"]
    pasted, own = load(allocation["fragment"].encode(), default_name="shop"), load(text.encode(), default_name="shop")
    assert pasted.tiers == {"enterprise": own.tiers["enterprise"]}
    given = {each["service"]: each for each in allocation["services"]}
    assert set(given) == {"web-enterprise", *(["web"] if share == "20%" else [])}
    for name, each in given.items():
        scaling = pasted.services[name].scaling
        assert (scaling.instances_min, scaling.instances_max) == (each["instances_min"], each["instances_max"])
        assert pasted.services[name].command == own.services[name].command


def test_triggers_of_a_tier_stay_its_own(place: Path) -> None:
    """Where a tier's pool is scaled by triggers of its own, these are pasted with the concurrency that fits the instance."""
    pasted = load(told(place, "20000")["allocation"]["fragment"].encode(), default_name="shop")
    assert [trigger.metric for trigger in pasted.services["web-agency"].scaling.triggers] == ["concurrency", "memory"]
    assert pasted.services["web-enterprise"].scaling.triggers == pasted.services["web"].scaling.triggers
