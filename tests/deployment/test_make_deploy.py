"""`make deploy`: the work pool and the monthly deployment on a real Prefect server."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.calling import ROOT, run_program
from tests.prefect_homes import answered
from tests.waiting import HANG_SECONDS

SOURCE = "gs://bucket/status.parquet"


def deploy(home: Path, *variables: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Deploy from another folder than the checkout, with the environment that is installed."""
    # Without `install` and its Python: a test must not change the environment in which it runs.
    # The relative path, because the path of the checkout may contain a blank.
    installed = os.path.relpath(Path(sys.executable).parent, ROOT)
    as_it_is = ["--old-file=install", "PYTHON=false", f"BIN={installed}"]
    command = ("make", "--no-print-directory", "-C", ROOT, *as_it_is, "deploy", *variables)
    used = {"PATH": os.environ["PATH"], "HOME": str(home), **environment}
    return run_program(*command, cwd=home, environment=used)


def test_deploy_makes_the_pool_and_the_deployment(undeployed_prefect_api: str, tmp_path: Path) -> None:
    """A proxy is not used for loopback."""
    prefect_api = undeployed_prefect_api
    proxy = "http://127.0.0.1:9"
    end = deploy(tmp_path, f"SOURCE_URI={SOURCE}", PREFECT_API_URL=prefect_api, http_proxy=proxy)
    assert end.returncode == 0, end
    pool = answered(lambda: httpx.get(f"{prefect_api}/work_pools/risk-alerts", timeout=HANG_SECONDS)).json()
    assert pool["type"] == "process"
    path = f"{prefect_api}/deployments/name/monthly-risk-alerts/monthly"
    found = answered(lambda: httpx.get(path, timeout=HANG_SECONDS)).json()
    assert found["parameters"] == {"source_uri": SOURCE, "dry_run": False}
    assert found["pull_steps"] == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    ]


def test_deploy_keeps_a_pool_that_exists(tmp_path: Path) -> None:
    """An operator may have edited it, for example its concurrency limit."""
    prefect = tmp_path / "prefect"
    prefect.write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/called\n', encoding="utf-8")
    prefect.chmod(0o755)
    assert deploy(tmp_path, f"PREFECT_CLI={prefect}").returncode == 0
    called = (tmp_path / "called").read_text(encoding="utf-8").splitlines()
    assert called == ["api POST", "work-pool inspect", "deploy --name"]


def test_deploy_needs_a_prefect_api(tmp_path: Path) -> None:
    """Prefect itself would start a server, deploy to it, and stop it."""
    end = deploy(tmp_path)
    assert end.returncode == 2
    assert (
        "make deploy: start the Prefect API (its first start takes up to a minute), or name another"
        in end.stderr
    )
    assert "Traceback" not in end.stderr
    assert not (tmp_path / ".prefect/prefect.db").exists()


@pytest.mark.parametrize("source", ["s3://user:canary@bucket/x", "gs://bucket/x?sig=canary"])
def test_source_with_a_secret_is_not_deployed(source: str, tmp_path: Path) -> None:
    end = deploy(tmp_path, f"SOURCE_URI={source}")
    assert (end.returncode, end.stdout) == (2, "")
    assert "SOURCE_URI must not hold @ or ?" in end.stderr
    assert "canary" not in end.stderr
