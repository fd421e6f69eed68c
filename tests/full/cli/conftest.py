"""The same person at a terminal as in tests/cli, for stories that take long or need root."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLI = Path(__file__).parents[2] / "cli" / "conftest.py"


def _load(path: Path) -> ModuleType:
    """The module at `path`, which is no package's."""
    spec = importlib.util.spec_from_file_location("tenfold_tests_cli", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


person = _load(CLI)
place = person.place
make_place = person.make_place


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A folder on a disk of its own, of 48 MB."""
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", root], check=True)
    made = person.Place(root)
    yield made
    made.clean()
    subprocess.run(["umount", "--lazy", root], check=True)
