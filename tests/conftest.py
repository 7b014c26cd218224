"""A clean environment for every test, and one Prefect server for all that need one."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from core.runtime import CONFIG_FILE, Settings
from examples.mock_slack import MockSlack
from tests.prefect_homes import NewHome, new_homes, session_folder, shared_server
from tests.service import Service, served, write_source

# What a developer has set for themselves must decide nothing here. At import, which comes before any test
# module is read: Prefect takes its settings from the environment once, when it is first imported.
_OURS = {name.upper() for name in Settings.model_fields} | {CONFIG_FILE}
for _name in [*os.environ]:
    if _name.upper() in _OURS or _name.startswith("PREFECT_"):
        del os.environ[_name]
# A profile of theirs could name a Prefect API.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)
for _name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
    os.environ.pop(_name, None)
# Each of the many processes would compile our modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# An example on a busy machine may take long; `timeout` bounds a test that hangs.
hypothesis_settings.register_profile("without-deadline", deadline=None)
hypothesis_settings.load_profile("without-deadline")

LONG = ("deployment", "chaos", "orchestration", "faults", "stopping")
"""Folders whose tests mostly wait for processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones, so that no process is left with them alone at the end."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture(scope="session")
def new_prefect_home(tmp_path_factory: pytest.TempPathFactory) -> NewHome:
    """Return a function that makes a `PREFECT_HOME` with a migrated database."""
    return new_homes(tmp_path_factory)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory, new_prefect_home: NewHome) -> Iterator[str]:
    """Yield the API's URL of the Prefect server that all workers of the session share."""
    with shared_server(session_folder(tmp_path_factory), new_prefect_home) as url:
        yield url


@pytest.fixture
def slack() -> Iterator[MockSlack]:
    """Give a mock Slack of the test's own."""
    with MockSlack() as mock:
        yield mock


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Give the URI of the source that `tests.service` describes."""
    return write_source(tmp_path / "status.parquet")


Serve = Callable[..., Service]


@contextmanager
def services(slack: MockSlack, folder: Path, **common: str) -> Iterator[Serve]:
    """Give a function that serves the API with the settings given; by default all that a run needs is set.

    No Prefect API is configured, unless `PREFECT_API_URL` is among the settings.
    """
    with ExitStack() as stack:

        def start(**settings: str) -> Service:
            environment = {
                "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
                "SLACK_WEBHOOK_BASE_URL": slack.url,
                "SLACK_CHANNEL_RATE": "0",
                "SLACK_BACKOFF_SECONDS": "0",
                "REGIONS": '{"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}',
                **common,
                **settings,
            }
            return stack.enter_context(served(environment))

        yield start


@pytest.fixture
def serve(slack: MockSlack, tmp_path: Path) -> Iterator[Serve]:
    """Give what serves the API, on a ledger and a mock Slack of the test's own."""
    with services(slack, tmp_path) as start:
        yield start


@pytest.fixture
def service(serve: Serve) -> Service:
    """Give the API with all that a run needs."""
    return serve()
