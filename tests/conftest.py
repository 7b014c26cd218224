"""A clean environment for every test, and one Prefect server for all tests that need one."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from core.ledger import Ledger
from core.runtime import CONFIG_FILE, Settings
from examples.mock_slack import MockSlack
from tests.postgresql import Server, server
from tests.prefect_homes import answered, locked, session_folder, shared_server
from tests.service import Service, process_restored, served, variables, write_source
from tests.tiers import Guard, tier_of

# Remove the developer's own settings. This happens at import, before any test module, because Prefect reads
# its settings from the environment when it is first imported.
_OURS = {name.upper() for name in Settings.model_fields} | {CONFIG_FILE}
_OF_TERMINALS = {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}
_OF_LIBRARIES = (
    "AWS_",
    "GCE_",
    "GCSFS_",
    "GOOGLE_",
    "FSSPEC_",
    "PG",
    "PREFECT_",
    "S3FS_",
    "STORAGE_",
    "UVICORN_",
    "WEB_CONCURRENCY",
)
# Every client needs about 30 ms to load certificates, and no test leaves this machine.
_OF_NETWORKS = ("SSL", "REQUESTS_CA", "CURL_CA", "HTTP_", "HTTPS_", "ALL_PROXY", "NO_PROXY")
# Options of the `make` that runs the tests, such as `-n`, are not those of a `make` that a test runs.
_OF_MAKE = ("MAKE", "MFLAGS")
for _name in [*os.environ]:
    if _name.upper() in _OURS | _OF_TERMINALS or _name.upper().startswith(
        _OF_LIBRARIES + _OF_NETWORKS + _OF_MAKE
    ):
        del os.environ[_name]
# The developer's profile may name a Prefect API.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)
# Servers and users that tests start must be able to read what tests write.
os.umask(0o022)
# With this variable, each of the many processes would compile our modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# On a busy machine an example may take long; `timeout` ends a test that hangs. The examples of a commit are
# the same in each run, so that no test depends on luck; `make nightly` draws others.
_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
hypothesis_settings.register_profile("commit", **_PATIENT, max_examples=25, derandomize=True)
hypothesis_settings.register_profile("nightly", **_PATIENT, max_examples=1000)
hypothesis_settings.load_profile("commit")

# Collection runs without garbage collection, because imported modules stay in memory anyway.
gc.disable()


def pytest_collection_finish() -> None:
    """Keep imported modules and collected tests out of garbage collection."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Make unit tests fail that start a server or a process."""
    config.pluginmanager.register(Guard())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier; run long modules first: no worker is left alone with one."""
    for item in items:
        item.add_marker(tier_of(item))
    long = {item.path for item in items if tier_of(item) == "faults" or _needs_prefect(item)}
    items.sort(key=lambda item: item.path not in long)


def _needs_prefect(item: pytest.Item) -> bool:
    return not {"prefect_api", "served"}.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def _process_restored() -> Iterator[None]:
    """Restore the process after each test, whatever part of the product the test called."""
    with process_restored():
        yield


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the API's URL of the Prefect server that all workers of the session share."""
    with shared_server(tmp_path_factory) as url:
        yield url


@pytest.fixture
def undeployed_prefect_api(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the shared server's API URL without our pool and deployment; only one test at a time has it."""
    with locked(session_folder(tmp_path_factory) / "deployment.lock"), httpx.Client(timeout=60) as client:
        path = f"{prefect_api}/deployments/name/monthly-risk-alerts/monthly"
        found = answered(lambda: client.get(path))
        if found.is_success:
            answered(lambda: client.delete(f"{prefect_api}/deployments/{found.json()['id']}"))
        answered(lambda: client.delete(f"{prefect_api}/work_pools/risk-alerts"))
        yield prefect_api


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture
def slack() -> Iterator[MockSlack]:
    with MockSlack() as mock:
        yield mock


@pytest.fixture
def source(tmp_path: Path) -> str:
    return write_source(tmp_path / "status.parquet")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a ledger; the file exists once a test uses `ledger`."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    # Imported here, because the import takes seconds, and most tests do not need it.
    from tests.delivery.world import new_ledger  # noqa: PLC0415

    with new_ledger(path) as opened:
        yield opened


Serve = Callable[..., Service]


@contextmanager
def services(slack: MockSlack, folder: Path, **common: str) -> Iterator[Serve]:
    """Yield a function that serves the API with the given settings, by default those that a run needs.

    No Prefect API is configured, unless `PREFECT_API_URL` is among the settings. A later service keeps the
    settings of an earlier one that it does not give again.
    """
    with ExitStack() as stack:

        def start(**settings: str) -> Service:
            return stack.enter_context(served(variables(slack.url, folder, **common | settings)))

        yield start


@pytest.fixture
def serve(slack: MockSlack, tmp_path: Path) -> Iterator[Serve]:
    with services(slack, tmp_path) as start:
        yield start


@pytest.fixture
def service(serve: Serve) -> Service:
    """Yield the API with all settings that a run needs."""
    return serve()
