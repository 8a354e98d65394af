"""What tests of the whole firmware in one process share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def thaw() -> Iterator[None]:
    """Undo what the rig (``app_rig``) does to the garbage collection."""
    yield
    gc.unfreeze()
