"""SIGTERM, Ctrl-C and a closed terminal: requests in flight get their answer, and nothing new is claimed."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from core.ledger import open_ledger
from tests.deployment.processes import uvicorn
from tests.service import MONTH
from tests.slack.hostile import HostileSlack, answer, slowly
from tests.stopping.world import ALERTS, check, environment, source
from tests.waiting import until
from tests.warm import Program


def children_of(pid: int) -> list[int]:
    found = []
    # Without /proc, on macOS, none is found.
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in children.read_text().split()]
    return found


@pytest.mark.parametrize(
    ("number", "fixture"),
    [(signal.SIGTERM, ""), (signal.SIGINT, ""), (signal.SIGHUP, ""), (signal.SIGTERM, "prefect_api")],
)
def test_signal_ends_the_batch_job_in_order(
    number: signal.Signals, fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    prefect = {"PREFECT_API_URL": request.getfixturevalue(fixture)} if fixture else {}
    with HostileSlack() as slack:
        settings = environment(slack, tmp_path, **prefect)
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
        settings = environment(slack, tmp_path, **store, SOURCE_TIMEOUT_SECONDS="3600")
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
        body = {"source_uri": source(tmp_path), "month": MONTH}
        with uvicorn(tmp_path, **settings) as (api, url, first_lines):
            accepted = httpx.post(f"{url}/runs", json=body, headers={"Prefer": "respond-async"}, timeout=300)
            until(lambda: len(slack.requests) > 2)
            assert children_of(api.pid) == []
            api.send_signal(signal.SIGTERM)
            out, err = api.communicate(timeout=300)
        # After its shutdown, Uvicorn sends the signal to itself again.
        assert (out, api.returncode in {0, -signal.SIGTERM}) == ("", True)
        log = [json.loads(line) for line in [*first_lines, *err.splitlines()]]
        assert all({"level", "message", "run_id"} <= set(line) for line in log)
        assert any("POST /runs" in line["message"] for line in log)
        assert not any(word in err for word in ("Traceback", "Warning"))

        run = open_ledger(settings["DATABASE_URL"]).history.run(accepted.json()["run_id"])
        check(run.model_dump(mode="json"), slack)


def test_second_ctrl_c_breaks_off_nothing(tmp_path: Path) -> None:
    """Uvicorn would end without waiting for the run, whose answers then cannot be recorded."""
    with HostileSlack() as slack, ThreadPoolExecutor() as clients:
        settings = environment(slack, tmp_path)
        slack.script("/amer", slowly(3, answer(200, "ok")))
        body = {"source_uri": source(tmp_path), "month": MONTH}
        with uvicorn(tmp_path, **settings) as (api, url, _):
            # Uvicorn waits for the answer to this request.
            clients.submit(httpx.post, f"{url}/runs", json=body, timeout=300)
            until(lambda: slack.requests)
            api.send_signal(signal.SIGINT)
            time.sleep(1)
            api.send_signal(signal.SIGINT)
            _, log = api.communicate(timeout=300)
        assert "Traceback" not in log
        history = open_ledger(settings["DATABASE_URL"]).history
        [run] = history.runs().runs
        check(history.run(run.run_id).model_dump(mode="json"), slack)
