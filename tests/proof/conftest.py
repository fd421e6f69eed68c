"""What the tests of proof share: one server of every kind of trouble, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.proof.load import Target


@pytest.fixture(scope="session")
def strange() -> Iterator[Target]:
    """The strange server (see strange_server.py); it ends when its standard input is closed, so also with us."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("strange_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        yield Target("127.0.0.1", int(process.stdout.readline()))
        process.stdin.close()
        process.wait(timeout=10)
