"""`risk-alerts deploy`: the work pool and the monthly deployment on a real Prefect server."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

import cli.deploy
from core.domain import OrchestratorUnreachable
from flows.prefect_engine import probe, temporary_settings
from tests.faults.proxy import Proxy
from tests.prefect_homes import answered
from tests.service import closed_port
from tests.warm import Program

ROOT = Path(__file__).parents[2]
SOURCE = "gs://bucket/status.parquet"


def deploy(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Deploy from another folder than the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "cli", "deploy", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_deploy_can_be_repeated(undeployed_prefect_api: str, tmp_path: Path) -> None:
    prefect_api = undeployed_prefect_api
    pool = f"{prefect_api}/work_pools/risk-alerts"
    first = deploy(tmp_path, "--source-uri", SOURCE, PREFECT_API_URL=prefect_api)
    assert (first.returncode, first.stderr) == (0, "")
    assert "risk-alerts: created" in first.stdout
    assert answered(lambda: httpx.get(pool)).json()["type"] == "process"
    path = f"{prefect_api}/deployments/name/monthly-risk-alerts/monthly"
    found = answered(lambda: httpx.get(path)).json()
    assert found["parameters"]["source_uri"] == SOURCE
    assert found["pull_steps"] == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    ]
    again = deploy(tmp_path, "--source-uri", SOURCE, PREFECT_API_URL=prefect_api)
    assert again.returncode == 0
    assert "risk-alerts: exists" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "url", "code", "said"),
    [
        ([], "", 2, "error: settings_invalid: PREFECT_API_URL: is not set"),
        ([], "http://127.0.0.1:{port}/api", 1, "error: orchestrator_unreachable: No Prefect API"),
        (["--source-uri", "s3://user:canary@bucket/x"], "", 2, "error: invalid_request: "),
        (["--source-uri", "ftp://x"], "", 1, "error: source_scheme_unsupported: "),
    ],
)
def test_failed_deployment_is_explained_in_one_line(
    arguments: list[str], url: str, code: int, said: str, tmp_path: Path
) -> None:
    environment = {"PREFECT_API_URL": url.format(port=closed_port())} if url else {}
    ended = Program(tmp_path, "deploy", *arguments, module="cli", environment=os.environ | environment).end()
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(said)
    assert ended.err.count("\n") == 1
    assert "canary" not in ended.err


def test_refusal_of_the_api_names_the_key(prefect_refusal: str, tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_API_URL": prefect_refusal}
    ended = Program(tmp_path, "deploy", module="cli", environment=environment).end()
    assert (ended.code, ended.out) == (1, "")
    assert "HTTP 401: check PREFECT_API_KEY" in ended.err


@pytest.mark.parametrize("step", ["probe", "_create_pool_if_missing", "_deploy"])
def test_silent_api_is_reported_in_bounded_time(
    undeployed_prefect_api: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = getattr(cli.deploy, step)
    with Proxy(undeployed_prefect_api) as proxy:

        def work_with_silent_api(*arguments: object) -> object:
            proxy.hang()
            return work(*arguments)

        monkeypatch.setattr(cli.deploy, step, work_with_silent_api)
        monkeypatch.setattr(cli.deploy, "DEPLOY_SECONDS", 5)
        monkeypatch.setenv("PREFECT_API_URL", proxy.url)
        silent = pytest.raises(OrchestratorUnreachable, match=r"\(host 127.0.0.1.*\): no answer in [58] s")
        with temporary_settings({"api.url": proxy.url}), silent:
            cli.deploy.deploy_monthly(None)


def test_api_that_dies_is_explained(undeployed_prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(undeployed_prefect_api) as proxy:

        def die_after_answer(url: str) -> None:
            probe(url)
            proxy.die()

        monkeypatch.setattr(cli.deploy, "probe", die_after_answer)
        dead = pytest.raises(OrchestratorUnreachable, match="did not finish the deployment")
        with temporary_settings({"api.url": proxy.url, "client.max_retries": 0}), dead:
            cli.deploy.deploy_monthly(None)


@pytest.fixture
def prefect_refusal() -> Iterator[str]:
    """Serve a Prefect API that is healthy and refuses every request."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthy = self.path.endswith("/health")
            body = b"true" if healthy else b"{}"
            self.send_response(200 if healthy else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()
