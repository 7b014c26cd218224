"""Without a Prefect API, a run starts no server and writes no files of Prefect."""

import json
import os
import subprocess
import sys
from pathlib import Path

from core.ledger.database import Database
from examples.mock_slack import MockSlack
from tests.cli.calling import ROOT, started
from tests.service import COUNTS, MONTH, variables

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


def test_run_without_prefect_starts_no_process_or_port(slack: MockSlack, source: str, tmp_path: Path) -> None:
    """It also leaves no file of Prefect, and imports no library that it does not need."""
    home, watched = tmp_path / "home", tmp_path / "watched.json"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        **variables(slack.url, tmp_path),
    }
    Database(environment["DATABASE_URL"]).close()
    month = ("--source-uri", source, "--month", MONTH, "--json")
    ended = started("-c", WATCHED, str(watched), *month, **environment)
    run, used = json.loads(ended.stdout), json.loads(watched.read_text())
    assert (run["status"], run["counts"], run["flow_run_id"]) == ("succeeded", COUNTS, None)
    assert used["events"] == []
    assert [*home.iterdir()] == []
    assert not (tmp_path / "prefect").exists()
    assert "prefect" not in ended.stderr.replace(str(tmp_path), "").lower()
    assert "cli.run" in used["modules"]
    assert NOT_NEEDED.isdisjoint(used["modules"])


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
