"""Without a Prefect API, a run starts no server and writes no files of Prefect."""

import json
import os
import sys
from pathlib import Path

from examples.mock_slack import MockSlack
from tests.cli.calling import run_program
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
    used = {"events": events, "modules": list(sys.modules)}
    from prefect.analytics import is_telemetry_enabled
    out.write_text(json.dumps({**used, "telemetry": is_telemetry_enabled()}))
"""
"""A program that runs the batch job and records the processes, ports and modules that it used."""

NOT_NEEDED = {
    *("gcsfs", "s3fs", "aiobotocore", "botocore", "google.auth"),
    *("psycopg", "fastapi", "uvicorn", "jinja2", "prefect.server"),
}
"""Libraries that take long to import."""


def test_run_without_prefect_starts_no_process_or_port(slack: MockSlack, source: str, tmp_path: Path) -> None:
    """It also leaves no file of Prefect, sends no telemetry, and imports nothing that it does not need."""
    home, watched = tmp_path / "home", tmp_path / "watched.json"
    home.mkdir()
    # Without the variables of a CI system, where Prefect sends no telemetry anyway.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "DO_NOT_TRACK": "",
        **variables(slack.url, tmp_path),
    }
    command = (sys.executable, "-c", WATCHED, watched, "--source-uri", source, "--month", MONTH, "--json")
    ended = run_program(*command, environment=environment)
    assert ended.returncode == 0, ended.stderr
    run, used = json.loads(ended.stdout), json.loads(watched.read_text())
    assert (run["status"], run["counts"], run["flow_run_id"]) == ("succeeded", COUNTS, None)
    assert (used["events"], used["telemetry"]) == ([], False)
    assert [*home.iterdir()] == []
    assert not (tmp_path / "prefect").exists()
    assert "prefect" not in ended.stderr.replace(str(tmp_path), "").lower()
    assert "cli.run" in used["modules"]
    assert NOT_NEEDED.isdisjoint(used["modules"])
