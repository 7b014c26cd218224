"""Fixtures of the delivery tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.ledger import Ledger
from tests.delivery.world import new_ledger
from tests.slack.hostile import HostileSlack


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no proxy, whatever this machine has."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack() -> Iterator[HostileSlack]:
    """Yield a Slack with scripted answers."""
    with HostileSlack() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a new ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Yield a new ledger."""
    with new_ledger(path) as opened:
        yield opened
