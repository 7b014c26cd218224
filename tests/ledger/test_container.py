"""The start warns of a ledger that is lost with its container."""

import pytest

from core.ledger import container_warning, sqlite
from tests.machine import needs_proc


@pytest.fixture(autouse=True)
def _no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the container that the tests may run in."""
    monkeypatch.setattr(sqlite, "_ENGINE_FILES", ())
    for name in sqlite._ENGINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@needs_proc
@pytest.mark.parametrize(
    ("database_url", "lost"),
    [
        ("sqlite:////no/such/ledger.db", True),
        ("sqlite:////proc/no/such/ledger.db", False),  # it is a mount, as a volume is
        ("sqlite:///ledger.db", False),  # in the working directory, which is a mount
        ("postgresql://ledger.test/db", False),
    ],
)
def test_only_a_mount_outlives_its_container(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.chdir("/proc")
    warning = container_warning(database_url)
    assert (warning is not None) is lost
    words = "The ledger /no/such/ledger.db is on this container's own disk and will be lost with it; "
    assert not warning or warning.startswith(words)


def test_file_of_an_engine_shows_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert container_warning("sqlite:////no/such/ledger.db") is None
    monkeypatch.setattr(sqlite, "_ENGINE_FILES", ("/etc",))
    assert container_warning("sqlite:////no/such/ledger.db")
