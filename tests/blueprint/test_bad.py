"""Bad blueprints and the exact problems they must give: all at once, each with line, path, what was found and what to do."""

from pathlib import Path

import pytest

from tenfold.blueprint import BlueprintError, load

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    """Each bad file gives exactly the problems beside it."""
    with pytest.raises(BlueprintError) as caught:
        load(path.read_bytes(), name=path.name, default_name="shop")
    assert str(caught.value) == path.with_suffix(".problems").read_text(encoding="utf-8").strip()


def test_form() -> None:
    """A problem reads as file, line, path, what was expected, what was found, and something right to try."""
    text = "services: {web: {command: run}}\nregions:\n  europe-west1: {capacity: lots}\n"
    with pytest.raises(BlueprintError) as caught:
        load(text, default_name="shop")
    assert [str(problem) for problem in caught.value.problems] == [
        'tenfold.yaml:3 regions.europe-west1.capacity: expected a whole number of users, found "lots"; try 3000'
    ]


@pytest.mark.parametrize("stem", ["secret-values", "secret-mapping"])
def test_secrets_are_not_repeated(stem: str) -> None:
    """A value that someone wrote where only a secret's name belongs is never printed."""
    problems = (Path(__file__).parent / "bad" / f"{stem}.problems").read_text(encoding="utf-8")
    assert "hunter2" not in problems
    assert "secrets" in problems
