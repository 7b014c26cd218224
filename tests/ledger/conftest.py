"""Fixtures of the ledger's tests."""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest

from core.ledger import Ledger
from core.ledger.database import Database
from tests.delivery.world import new_ledger
from tests.postgresql import Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use a ledger, and not its file, on both databases."""
    asked = signature(metafunc.function).parameters
    if "ledger" in asked and "path" not in asked:
        metafunc.parametrize("backend", ["sqlite", "postgresql"])


@pytest.fixture
def backend() -> str:
    """Return which database holds the ledger."""
    return "sqlite"


@pytest.fixture
def postgresql_url(postgresql: Server) -> str:
    """Return a new, empty database on a real server."""
    return postgresql.new_database()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a new ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, backend: str, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Yield a new ledger."""
    if backend == "sqlite":
        with new_ledger(path) as opened:
            yield opened
        return
    opened = Ledger(Database(request.getfixturevalue("postgresql_url")))
    yield opened
    opened.close()
