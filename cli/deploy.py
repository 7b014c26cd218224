"""The monthly schedule on a Prefect API: its work pool and its deployment."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import httpx

import flows.checked_prefect  # noqa: F401  # isort: skip  # before anything else imports Prefect
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from core.domain import OrchestratorUnreachable, SettingsError
from core.runtime import host_of, load_settings, redact
from core.sources import check_source
from flows.prefect_engine import configured_api, describe_fault, probe

ROOT = Path(__file__).parents[1]
POOL = "risk-alerts"
DEPLOY_SECONDS = 120
"""The longest that Prefect may take for the work pool, and again for the deployment."""


def deploy_monthly(source_uri: str | None) -> None:
    """Create the work pool if it is missing, and deploy `monthly` of prefect.yaml."""
    if source_uri:
        check_source(source_uri, load_settings())
    url = configured_api()
    if not url:
        raise SettingsError("PREFECT_API_URL: is not set; name the Prefect API, such as http://host:4200/api")
    probe(url)
    try:
        created = asyncio.run(_create_pool_if_missing())
        click.echo(f"Work pool   {POOL}: {'created' if created else 'exists'}")
        _deploy(source_uri)
    except PrefectHTTPStatusError as error:
        raise click.ClickException(
            f"The Prefect API (host {host_of(url)}) refused the work pool {POOL} with HTTP"
            f" {error.response.status_code}: check PREFECT_API_KEY and what its account may do."
        ) from None
    except (TimeoutError, subprocess.TimeoutExpired, httpx.HTTPError) as error:
        fault = None if isinstance(error, subprocess.TimeoutExpired) else error
        raise OrchestratorUnreachable(
            f"The Prefect API did not finish the deployment (host {host_of(url)}):"
            f" {describe_fault(fault, DEPLOY_SECONDS)}; deploy again when it answers"
        ) from None
    click.echo(f"Deployment  monthly-risk-alerts/monthly: deployed from {ROOT}")
    click.echo(f"Next        start a worker there: prefect worker start --pool {POOL}")


async def _create_pool_if_missing() -> bool:
    async with asyncio.timeout(DEPLOY_SECONDS), get_client() as client:
        try:
            await client.read_work_pool(POOL)
        except ObjectNotFound:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            return True
    return False


def _deploy(source_uri: str | None) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--name", "monthly"]
    if source_uri:
        command += ["--params", json.dumps({"source_uri": source_uri})]
    done = subprocess.run(  # noqa: S603  # our own interpreter
        command,
        cwd=ROOT,
        # prefect.yaml names the folder of the code by PWD.
        env={**os.environ, "PWD": str(ROOT), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEPLOY_SECONDS,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise click.ClickException(
            f"Prefect did not deploy `monthly` of {ROOT / 'prefect.yaml'}. It printed:\n{redact(done.stdout)}"
        )
