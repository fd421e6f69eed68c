"""What holds for all tests."""

import gc

import pytest
from hypothesis import settings

LONG = ("examples/", "tests/cli/", "tests/conformance/", "tests/drivers/", "tests/proof/", "tests/sim/")
"""Where files take longest, most of them waiting for engines."""

# How long an example takes is the machine's business, not a property of the code.
settings.register_profile("tenfold", deadline=None)
settings.load_profile("tenfold")

with pytest.MonkeyPatch.context() as _patch:
    # As in `drivers.envoy.protos`, and before any test imports it: processes that engines' tests fork would die of it now and then.
    _patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
    import grpc  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that at the end no long file keeps all others waiting."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_collection_finish() -> None:
    """What was imported stays: no collection of garbage looks at it again. In a worker with all tests loaded one takes a second."""
    gc.collect()
    gc.freeze()
