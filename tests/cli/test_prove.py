"""What `prove` says of a call that can't be, before it starts anything."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from tenfold.cli.app import cli
from tenfold.loop import FileLease

Place = Any

TARGETS = "targets: {throughput: 5/s, latency: {p95: 1s, websocket: 50ms}, recovery: 20s}"


@pytest.fixture
def prove(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Calls it in the folder, in this process: nothing gets as far as starting something."""
    monkeypatch.chdir(place.root)

    def call(*words: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
        ended = CliRunner().invoke(cli, [*before, "prove", *words])
        return ended.exit_code, ended.output

    return call


def test_a_blueprint_without_targets_is_told_what_to_write(place: Place, prove: Callable[..., Any]) -> None:
    """There is nothing to prove, and the targets that are suggested are ones that the blueprint takes."""
    place.blueprint()
    code, said = prove()
    assert (code, "names no targets" in said) == (2, True)
    place.blueprint(rest=said[said.index("targets:\n") :])
    code, said = prove("--only", "cache_hit")
    assert "it names concurrent_users, throughput, latency.p95, availability, error_rate, recovery" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--only", "speed"), "there is no target speed"),
        (("--only", "websockt"), "did you mean websocket?"),
        (("--only", "availability"), "the blueprint names no target availability"),
        (("--scenario", "office"), "there is no scenario office; there are: default"),
        (("--quick", "--minutes", "3"), "give one"),
        (("--users", "0"), "--users"),
        (("--json", "no/where.json"), "there is no folder"),
        (("--html", "."), "--html"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_a_wrong_call_is_told_before_anything_begins(
    place: Place, prove: Callable[..., Any], words: tuple[str, ...], sentence: str
) -> None:
    """Exit status 2 and one sentence, and nothing was made in the folder."""
    place.blueprint(rest=TARGETS)
    code, said = prove(*words)
    assert (code, sentence in said) == (2, True), said
    assert [path.name for path in place.root.iterdir()] == ["tenfold.yaml"]


@pytest.mark.parametrize("words", [(), ("--in-production",), ("--i-know",)])
def test_production_is_refused_unless_told_twice(
    place: Place, prove: Callable[..., Any], words: tuple[str, ...]
) -> None:
    """Neither load nor harm reach what people use by a slip."""
    place.blueprint(rest=f"{TARGETS}\nenvironments: {{production: {{}}}}")
    code, said = prove(*words, before=("-e", "production"))
    assert (code, "say --in-production --i-know" in said) == (2, True), said


def test_a_service_that_speaks_no_http_has_no_users(place: Place, prove: Callable[..., Any]) -> None:
    """A worker alone can't be proved by users, and that is said."""
    place.write("tenfold.yaml", f"name: shop\nservices:\n  worker: {{command: sleep 1000}}\n{TARGETS}\n")
    code, said = prove()
    assert (code, "speaks HTTP" in said) == (2, True), said


def test_a_second_proof_waits_its_turn(place: Place, prove: Callable[..., Any]) -> None:
    """While one is under way another one is refused, and starts nothing."""
    place.blueprint(rest=TARGETS)
    lease = FileLease(place.project.run / "proof")
    place.project.run.mkdir(parents=True)

    async def under_way() -> int | None:
        return await lease.acquire()

    assert asyncio.run(under_way()) is not None
    code, said = prove()
    asyncio.run(lease.release())
    assert (code, "another proof of this project is under way" in said) == (1, True), said
    place.nothing_runs()
