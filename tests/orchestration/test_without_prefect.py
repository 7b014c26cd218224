"""Without a Prefect API, a run starts no server and writes no files of Prefect."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.ledger.database import Database
from examples.mock_slack import MockSlack
from tests.cli.calling import ROOT, started
from tests.service import COUNTS, MONTH, variables, write_source

WATCHED = """
import json, runpy, sys
from pathlib import Path
events, out = [], Path(sys.argv.pop(1))
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.bind"}
sys.addaudithook(lambda event, _: events.append(event) if event in STARTS else None)
try:
    runpy.run_module("flows.monthly_risk_alerts", run_name="__main__", alter_sys=True)
finally:
    out.write_text(json.dumps({"events": events, "modules": list(sys.modules)}))
"""
"""A program that runs the batch job and records the processes, ports and modules that it used."""

NOT_NEEDED = {
    *("gcsfs", "s3fs", "aiobotocore", "botocore", "google.auth"),
    *("psycopg", "fastapi", "uvicorn", "jinja2", "prefect.server"),
}
"""Libraries that take long to import."""


@dataclass(frozen=True)
class Job:
    run: dict[str, Any]
    stderr: str
    events: list[str]
    modules: set[str]
    folder: Path


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return a batch job in a new home, whose ledger exists."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "home").mkdir()
    with MockSlack() as slack:
        environment = {
            "HOME": str(folder / "home"),
            "PREFECT_HOME": str(folder / "prefect"),
            **variables(slack.url, folder),
        }
        source = write_source(folder / "status.parquet")
        Database(environment["DATABASE_URL"]).close()
        command = ("-c", WATCHED, str(folder / "watched.json"), "--source-uri", source, "--month", MONTH)
        ended = started(*command, "--json", **environment)
    watched = json.loads((folder / "watched.json").read_text())
    return Job(json.loads(ended.stdout), ended.stderr, watched["events"], set(watched["modules"]), folder)


def test_run_without_prefect_is_complete(job: Job) -> None:
    assert (job.run["status"], job.run["counts"], job.run["flow_run_id"]) == ("succeeded", COUNTS, None)


def test_run_without_prefect_starts_no_process_or_port(job: Job) -> None:
    assert job.events == []


def test_run_without_prefect_leaves_no_trace_of_it(job: Job) -> None:
    assert [*(job.folder / "home").iterdir()] == []
    assert not (job.folder / "prefect").exists()
    assert "prefect" not in job.stderr.lower()


def test_batch_job_on_local_files_imports_no_more_than_it_needs(job: Job) -> None:
    assert "cli.run" in job.modules
    assert job.modules & NOT_NEEDED == set()


def test_prefect_sends_no_telemetry_from_a_run(tmp_path: Path) -> None:
    program = "import flows.checked_prefect, prefect.analytics as a; print(a.is_telemetry_enabled())"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        # Without the variables of a CI system, where Prefect sends nothing anyway.
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DO_NOT_TRACK": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert ended.stdout == "False\n"
