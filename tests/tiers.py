"""The tier of each test, and what keeps the unit tests free of servers and processes.

- `unit`: starts no server and no process. `make test-fast` runs these.
- `integration`: works with real servers and processes.
- `faults`: kills, stops, fills or cuts off what a run needs.
"""

import sys

import pytest

FAULTS = ("chaos/", "faults/", "stopping/", "delivery/test_killed.py")
"""Folders, files and tests of the tier `faults`."""
INTEGRATION = (
    "api/",
    "cli/test_check.py",
    "cli/test_command_line.py",
    "cli/test_commands.py",
    "cli/test_streams.py",
    "deployment/test_compose.py::test_health_checks",
    "deployment/test_make_deploy.py",
    "deployment/test_served_and_deployed.py",
    "ledger/test_database.py::test_ledger_that_cannot_be_created",
    "ledger/test_database.py::test_processes_create",
    "ledger/test_postgresql.py",
    "ledger/test_runs.py::test_ended_process",
    "orchestration/",
    "pages/",
    "reading/test_cost.py::test_arrow_uses_the_allocator",
    "reading/test_credentials.py",
    "reading/test_damaged.py",
    "reading/test_hostile_shapes.py::test_huge_names",
    "reading/test_proxies.py",
    "reading/test_quiet.py",
    "reading/test_refusals.py",
    "reading/test_storage.py",
    "slack/test_mock_slack.py",
    "slack/test_webhooks.py",
    "support/test_mail.py",
    "support/test_notified_once.py",
    "test_environment.py",
    "test_examples.py::test_demo_shows",
    "test_examples.py::test_example_is",
    "test_house.py::test_no_file",
    "test_observability.py",
)
"""Folders, files and tests of the tier `integration`, besides the tests that use one of `SERVERS`."""
SERVERS = {
    "gcs_server",
    "place",
    "postgresql",
    "prefect_api",
    "s3_server",
    "serve",
    "service",
    "slack",
}
"""Fixtures that run a server."""
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.bind"}
"""What Python's audit calls the start of a process or server."""


def tier_of(item: pytest.Item) -> str:
    place = item.nodeid.removeprefix("tests/")
    if place.startswith(FAULTS):
        return "faults"
    fixtures: list[str] = getattr(item, "fixturenames", [])
    # A test of the ledger runs once for each database.
    parameters: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    if parameters.get("backend") == "postgresql" or not SERVERS.isdisjoint(fixtures):
        return "integration"
    return "integration" if place.startswith(INTEGRATION) else "unit"


class Guard:
    """Fails a unit test that starts a server or a process."""

    def __init__(self) -> None:
        self._guards = False
        sys.addaudithook(self._audit)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._guards = tier_of(item) == "unit"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        # The last test of a process may end the servers of the session.
        self._guards = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        # Ctrl-C in a test leaves out its teardown.
        self._guards = False

    def _audit(self, event: str, _: object) -> None:
        if self._guards and event in STARTS:
            raise RuntimeError(f"a unit test starts a server or process ({event}): see tests/tiers.py")
