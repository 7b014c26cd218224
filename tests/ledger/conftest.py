"""What each test of the ledger starts from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.ledger import Ledger
from tests.delivery.world import new_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Give a new ledger."""
    with new_ledger(path) as opened:
        yield opened
