"""The command `uvicorn api.app:app`."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def start(folder: Path, *options: str, **settings: str) -> "subprocess.Popen[str]":
    """Start uvicorn on a port that it chooses."""
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0", *options],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{folder}/ledger.db", "LOG_FORMAT": "json", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_up(process: "subprocess.Popen[str]", lines: list[str] | None = None) -> str:
    """Return the address of the API; add the log lines until then to `lines`."""
    lines = [] if lines is None else lines
    assert process.stderr is not None
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", lines[-1] if lines else "")):
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    return found.group()


def test_uvicorn_serves_until_it_is_stopped(tmp_path: Path) -> None:
    process = start(tmp_path)
    lines: list[str] = []
    try:
        answer = httpx.get(f"{wait_until_up(process, lines)}/health")
        assert (answer.status_code, answer.json()["ledger"]) == (503, "ok")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    lines += err.splitlines()
    assert out == ""
    objects = [json.loads(line) for line in lines]
    assert all({"level", "message", "run_id"} <= set(line) for line in objects)
    assert any("GET /health" in line["message"] for line in objects)
    assert not any("Traceback" in line for line in lines)


def test_bad_setting_is_one_line_and_no_start(tmp_path: Path) -> None:
    process = start(tmp_path, SLACK_MAX_ATTEMPTS="many-canary")
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "SLACK_MAX_ATTEMPTS" in err
    assert "Traceback" not in err
    assert "canary" not in out + err
