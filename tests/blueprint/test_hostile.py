"""Files that nobody means well by: whatever they hold, the answer is a sentence, and it comes soon."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blueprint import BlueprintError, load, tree

EXAMPLE = (Path(__file__).parents[2] / "docs" / "blueprint.yaml").read_text(encoding="utf-8")
WELL = "services: {web: {command: run}}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
)
MANY = {
    "services": "services:\n" + "".join(f"  s{i}: {{command: run}}\n" for i in range(6_000)),
    "overrides": WELL + "environments:\n" + "".join(f"  e{i}: {{}}\n" for i in range(6_000)),
    "list": WELL + f"keep: [{', '.join(f'a{i}' for i in range(15_000))}]\nenvironments: {{a: {{}}, b: {{}}}}\n",
    "metrics": "services: {web: {command: run, scaling: {triggers: {"
    + ", ".join(f"concurrency{i}: 1" for i in range(9_000))
    + "}}}}\n",
    "keys": "".join(f"service{i}: 1\n" for i in range(9_000)),
    "repeats": "name: shop\n" * 9_000,
}
HOSTILE = {
    "10 MB": b"a" * 10_000_000,
    "1 MB scalar": "name: " + "x" * 990_000,
    "1 MB of blanks": WELL.replace("run", '"' + " " * 990_000 + '"'),
    "long key": "x" * 990_000 + ": 1",
    "deep lists": "[" * 900_000,
    "deep mappings": "{a: " * 200_000,
    "deep dashes": "- " * 400_000,
    "deep keys": "? " * 400_000,
    "deep indentation": "\n".join(" " * i + "a:" for i in range(1_200)),
    "billion laughs": BOMB,
    "binary": bytes(range(256)) * 100,
    "png": b"\x89PNG\r\n\x1a\n\0\0",
    "utf-16": WELL.encode("utf-16"),
    "latin-1": "name: café".encode("latin-1"),
    "lone surrogate": "name: \ud800",
    "control": "name: \x07",
    "directive": "%YAML 9.9\n---\n" + WELL,
    "digits": WELL + "edge: {port: " + "9" * 9_000 + "}",
    "merge of merges": "a: &a {<<: *a}\n",
}


@pytest.mark.parametrize("text", [*HOSTILE.values(), *MANY.values()], ids=[*HOSTILE, *MANY])
@pytest.mark.timeout(20)
def test_refused_soon(text: str | bytes) -> None:
    """Too large, too deep, too many, no text at all: each is refused in bounded time and memory, or read if it is right."""
    try:
        assert load(text, default_name="shop").services
    except BlueprintError as error:
        assert 1 <= len(error.problems) <= 501
        assert all(len(str(problem)) < 1_000 for problem in error.problems)


def test_too_large_says_how_large() -> None:
    """A file of 10 MB is told its size, and what the most is."""
    with pytest.raises(BlueprintError, match=r"is 10\.0 MB; a blueprint is at most 1 MB"):
        load(b"a" * 10_000_000, default_name="shop")


@given(st.one_of(st.text(), st.binary()))
def test_any_text(text: str | bytes) -> None:
    """Any text or bytes end in a model or in problems, never in another error."""
    with pytest.raises(BlueprintError):
        load(text, default_name="shop")


words = st.one_of(
    st.sampled_from(
        ["web", "5s", "80%", "{port}", "on", "~", "0 3 * * *", "&a", "*a", "<<", "!!str x", "a: b", "- c", "\t"]
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
)
keys = st.one_of(
    st.sampled_from(re.findall(r"^ *#?[ ]*([a-z_]+):", EXAMPLE, re.MULTILINE)),
    st.text(max_size=5),
)
trees = st.recursive(
    words, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5)), max_leaves=40
)


@given(st.dictionaries(keys, trees, max_size=6))
def test_any_tree(given_tree: dict[str, object]) -> None:
    """Known keys with anything in them, nested anyhow: a model or problems, never another error."""
    try:
        load(yaml.safe_dump(given_tree, allow_unicode=True), default_name="shop")
    except BlueprintError as error:
        assert error.problems


@given(
    st.lists(
        st.sampled_from(
            ["a: ", "- ", "{", "}", "[", "]", "&x ", "*x", "\n", "  ", "? ", ": ", "|", "'", '"', "#", "<<: ", "!t "]
        )
    )
)
def test_any_punctuation(parts: list[str]) -> None:
    """YAML's own punctuation in any order is read or refused, by either of PyYAML's parsers alike."""
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tree, "_LOADER", loader)
            with pytest.raises(BlueprintError):
                load("".join(parts), default_name="shop")


def test_aliases_within_bounds() -> None:
    """Plain YAML anchors, aliases and merges work, and a problem in a copy is told where its text stands."""
    text = (
        "services:\n"
        "  web: &web {command: run, health: &health {path: /up}}\n"
        "  api: {<<: *web, paths: [/api]}\n"
        "  admin: {command: run, paths: [/admin], health: *health, <<: [*web]}\n"
    )
    model = load(text, default_name="shop")
    assert [service.health.path for service in model.services.values()] == ["/up"] * 3
    assert model.services["api"].paths == ("/api",)
    with pytest.raises(BlueprintError) as caught:
        load(text.replace("/up", "up"), default_name="shop")
    assert {(problem.line, problem.path) for problem in caught.value.problems} == {
        (2, f"services.{name}.health.path") for name in ("web", "api", "admin")
    }
