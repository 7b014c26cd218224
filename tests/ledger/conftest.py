"""Fixtures of the ledger's tests."""

from collections.abc import Iterator
from contextlib import closing
from inspect import signature
from pathlib import Path

import pytest

from core.ledger import Ledger
from core.ledger.database import Database
from tests.delivery.world import new_ledger
from tests.postgresql import Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use a ledger on both databases, unless they need the file or server of one."""
    asked = set(signature(metafunc.function).parameters)
    if "ledger" in asked and asked.isdisjoint({"path", "postgresql"}):
        metafunc.parametrize("backend", ["sqlite", "postgresql"])


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    return "postgresql" if "postgresql" in request.fixturenames else "sqlite"


@pytest.fixture
def url(postgresql: Server) -> str:
    """Return the URL of a new, empty database on a real server."""
    return postgresql.new_database()


@pytest.fixture
def ledger(path: Path, backend: str, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if backend == "sqlite":
        with new_ledger(path) as opened:
            yield opened
    else:
        with closing(Ledger(Database(request.getfixturevalue("url")))) as opened:
            yield opened
