"""`make deploy`: the work pool and the monthly deployment on a real Prefect server."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.prefect_homes import answered

ROOT = Path(__file__).parents[2]
SOURCE = "gs://bucket/status.parquet"


def deploy(home: Path, *variables: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Deploy from another folder than the checkout, with the environment that is installed."""
    # Without `install` and its Python: a test must not change the environment in which it runs.
    as_it_is = ["--old-file=install", "PYTHON=false", f"BIN={Path(sys.executable).parent}"]
    return subprocess.run(
        ["make", "--no-print-directory", "-C", ROOT, *as_it_is, "deploy", *variables],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_deploy_can_be_repeated(undeployed_prefect_api: str, tmp_path: Path) -> None:
    prefect_api = undeployed_prefect_api
    pool = f"{prefect_api}/work_pools/risk-alerts"
    first = deploy(tmp_path, f"SOURCE_URI={SOURCE}", PREFECT_API_URL=prefect_api)
    assert first.returncode == 0, first
    assert answered(lambda: httpx.get(pool)).json()["type"] == "process"
    path = f"{prefect_api}/deployments/name/monthly-risk-alerts/monthly"
    found = answered(lambda: httpx.get(path)).json()
    assert found["parameters"] == {"source_uri": SOURCE, "dry_run": False}
    assert found["pull_steps"] == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    ]
    answered(lambda: httpx.patch(pool, json={"description": "edited", "concurrency_limit": 3}))
    again = deploy(tmp_path, f"SOURCE_URI={SOURCE}", PREFECT_API_URL=prefect_api)
    assert again.returncode == 0, again
    kept = answered(lambda: httpx.get(pool)).json()
    assert (kept["description"], kept["concurrency_limit"]) == ("edited", 3)


def test_deploy_needs_a_prefect_api(tmp_path: Path) -> None:
    """Prefect itself would start a server, deploy to it, and stop it."""
    end = deploy(tmp_path)
    assert end.returncode == 2
    assert "make deploy: start the Prefect API, or name another in PREFECT_API_URL" in end.stderr
    assert "Traceback" not in end.stderr
    assert not (tmp_path / ".prefect/prefect.db").exists()


@pytest.mark.parametrize("source", ["s3://user:canary@bucket/x", "gs://bucket/x?sig=canary"])
def test_source_with_a_secret_is_not_deployed(source: str, tmp_path: Path) -> None:
    end = deploy(tmp_path, f"SOURCE_URI={source}")
    assert (end.returncode, end.stdout) == (2, "")
    assert "SOURCE_URI must not hold @ or ?" in end.stderr
    assert "canary" not in end.stderr
