"""What all tests share: one thread a worker, no network, the same examples every time; where the real data is."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Before anything imports torch or the hub's client.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

# No deadlines: a busy machine is no failure. The same examples in every run: a failure can be repeated.
settings.register_profile("unfreeze", deadline=None, derandomize=True)
settings.load_profile("unfreeze")


def data_folder(name: str) -> Path:
    """The folder of one real data set; skips the test, with the reason, where it is absent."""
    root = Path(os.environ.get("UNFREEZE_DATA", Path.home() / ".cache" / "unfreeze" / "data"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"real data set {name!r} is not here: unpack it or set UNFREEZE_DATA")
    return folder


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo the logging that a command line set up: the tests after it read messages as they were written."""
    logger = logging.getLogger("unfreeze")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before
