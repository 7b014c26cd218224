"""Prefect's local server comes up on any home, says nothing, and never outlives the process that needs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.local_server import MIGRATED_DATABASE, begin_with_migrated_database
from tests.orchestration.conftest import ROOT, is_gone, start_probe


@pytest.fixture(scope="module")
def two_first_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple["subprocess.Popen[str]", str, str]]:
    home = tmp_path_factory.mktemp("new-home")
    runs = [start_probe(home, "one_run") for _ in range(2)]
    return [(run, *run.communicate(timeout=110)) for run in runs]


def test_two_processes_at_once_on_a_new_home_both_run_their_flow(
    two_first_runs: list[tuple["subprocess.Popen[str]", str, str]],
) -> None:
    for process, out, err in two_first_runs:
        assert (process.returncode, json.loads(out)["result"]) == (0, "7"), err


def test_nothing_of_prefects_reaches_the_terminal(
    two_first_runs: list[tuple["subprocess.Popen[str]", str, str]],
) -> None:
    for _, out, err in two_first_runs:
        assert len(out.splitlines()) == 1
        assert err == ""


def test_the_server_has_ended_when_its_process_has(
    two_first_runs: list[tuple["subprocess.Popen[str]", str, str]],
) -> None:
    for _, out, _ in two_first_runs:
        assert is_gone(json.loads(out)["server"], seconds=0.1)


ENDS = ("SIGTERM", "SIGINT", "SIGKILL")

# In a shell's background, where CI may run, SIGINT is ignored until somebody handles it.
HOLD = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.local_server import LocalServer
print(LocalServer.start()._process.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def holders(prefect_home: Path) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """One process for each way to be killed, all started side by side, each with its server."""
    environment = {**os.environ, "PREFECT_HOME": str(prefect_home)}
    processes = {
        end: subprocess.Popen(
            [sys.executable, "-c", HOLD],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for end in ENDS
    }
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("end", ENDS)
def test_the_server_ends_with_its_process_however_that_is_killed(
    holders: dict[str, "subprocess.Popen[str]"], end: str
) -> None:
    process = holders[end]
    assert process.stdout
    server = int(process.stdout.readline())
    assert not is_gone(server, seconds=0.1)
    process.send_signal(signal.Signals[end])
    process.wait(timeout=15)
    assert is_gone(server)


def test_a_home_that_cannot_be_written_costs_the_history_and_not_the_run(tmp_path: Path) -> None:
    run = start_probe("/dev/null/home", "one_run", TMPDIR=str(tmp_path))
    out, err = run.communicate(timeout=110)
    assert (run.returncode, json.loads(out)["result"]) == (0, "7"), err
    assert "no history" in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_new_home_begins_with_the_migrated_database_that_the_image_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated, home = tmp_path / "migrated.db", tmp_path / "home"
    migrated.write_bytes(b"of the image")
    home.mkdir()
    monkeypatch.setenv(MIGRATED_DATABASE, str(migrated))
    begin_with_migrated_database(home / "prefect.db")
    assert (home / "prefect.db").read_bytes() == b"of the image"
    migrated.write_bytes(b"of a newer image")
    begin_with_migrated_database(home / "prefect.db")
    assert (home / "prefect.db").read_bytes() == b"of the image"
    monkeypatch.setenv(MIGRATED_DATABASE, str(tmp_path / "none.db"))
    begin_with_migrated_database(home / "other.db")
    assert [file.name for file in home.iterdir()] == ["prefect.db"]
