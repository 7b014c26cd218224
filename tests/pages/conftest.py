"""The folder of the ledger that the pages of a module show, and their services."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.mock_slack import MockSlack
from tests.conftest import Serve, services


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Serve]:
    """Yield a function that serves the API on the module's ledger."""
    with MockSlack() as slack, services(slack, folder) as start:
        yield start
