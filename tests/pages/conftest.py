"""The folder of the ledger that the pages of a module show."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the ledger."""
    return tmp_path_factory.mktemp("pages")
