"""SIGTERM and Ctrl-C: requests in flight get their answer, and nothing new is claimed."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from core.ledger import open_ledger
from tests.service import MONTH
from tests.slack.hostile import HostileSlack, answer
from tests.stopping.world import ALERTS, ROOT, check, environment, source
from tests.waiting import until
from tests.warm import Program


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("fixture", ["", "prefect_api"], ids=["without Prefect", "with Prefect"])
def test_signal_ends_the_batch_job_in_order(
    number: signal.Signals, fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    prefect = {"PREFECT_API_URL": request.getfixturevalue(fixture)} if fixture else {}
    with HostileSlack() as slack:
        settings = environment(slack, tmp_path, prefect)
        month = ("--source-uri", source(tmp_path), "--month", MONTH, "--json")
        job = Program(tmp_path, *month, environment=settings)
        until(lambda: len(slack.requests) > 2)
        job.send_signal(number)
        ended = job.end()
        assert ended.code == 1
        assert "Traceback" not in ended.err
        check(json.loads(ended.out), slack)

        slack.script("/amer", answer(200, "ok"))
        again = Program(tmp_path, *month, environment=settings).end()
        counts = json.loads(again.out)["counts"]
        assert counts["alerts_sent"] + counts["skipped_replay"] == ALERTS
        texts = [request.message["text"] for request in slack.requests]
        assert len(set(texts)) == len(texts) == ALERTS


def test_signal_ends_a_wait_for_the_store(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, HostileSlack() as slack:
        store = {"GCS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "GCS_TOKEN": "anon"}
        # Without a reaction to the signal, the job would wait for the store for longer than the test.
        settings = environment(slack, tmp_path) | store | {"SOURCE_TIMEOUT_SECONDS": "3600"}
        month = ("--source-uri", "gs://bucket/status.parquet", "--month", MONTH, "--json")
        job = Program(tmp_path, *month, environment=settings)
        silent.settimeout(300)
        connection, _ = silent.accept()
        job.send_signal(signal.SIGTERM)
        ended = job.end()
        connection.close()
        assert ended.code == 1
        assert json.loads(ended.out)["error"]["code"] == "interrupted"


def test_signal_ends_the_api_in_order(tmp_path: Path) -> None:
    with HostileSlack() as slack:
        settings = environment(slack, tmp_path)
        log = (tmp_path / "api.log").open("w+")
        api = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0"],
            cwd=ROOT,
            env=settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

        def port() -> str:
            text = (tmp_path / "api.log").read_text()
            return text.partition("running on http://127.0.0.1:")[2].partition(" ")[0]

        until(port)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port()}", timeout=300)
        started = client.post(
            "/runs",
            json={"source_uri": source(tmp_path), "month": MONTH},
            headers={"Prefer": "respond-async"},
        )
        until(lambda: len(slack.requests) > 2)
        assert children_of(api.pid) == []
        run_id = started.json()["run_id"]
        api.send_signal(signal.SIGTERM)
        # After its shutdown, Uvicorn sends the signal to itself again.
        assert api.wait(300) in {0, -signal.SIGTERM}
        assert "Traceback" not in (tmp_path / "api.log").read_text()
        assert "Warning" not in (tmp_path / "api.log").read_text()

        run = open_ledger(settings["DATABASE_URL"]).history.run(run_id)
        check(run.model_dump(mode="json"), slack)
        log.close()
