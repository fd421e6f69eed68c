"""What holds for all tests."""

import gc

from hypothesis import settings

# How long an example takes is the machine's business, not a property of the code.
settings.register_profile("tenfold", deadline=None)
settings.load_profile("tenfold")


def pytest_collection_finish() -> None:
    """What was imported stays: no collection of garbage looks at it again. In a worker with all tests loaded one takes a second."""
    gc.collect()
    gc.freeze()
