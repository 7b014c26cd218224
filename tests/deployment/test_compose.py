"""compose.yaml: its schema, and the commands of our services as processes.

Without a Docker engine, the containers, networks, volumes and read-only file systems are not tested.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import prefect.settings
import pytest
import yaml
from dotenv import dotenv_values
from jsonschema import Draft202012Validator

from core.runtime import Settings
from tests.cli.calling import ROOT, run_python
from tests.deployment.processes import process
from tests.postgresql import Server
from tests.reading.servers import Refusing
from tests.service import closed_port, write_source
from tests.waiting import HANG_SECONDS, until

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOT_ENV = {
    name: value or ""
    for name, value in dotenv_values(ROOT / "examples/compose.env", interpolate=False).items()
}
OF_COMPOSE = {"COMPOSE_PROFILES", "POSTGRES_PASSWORD", "SOURCE_FOLDER", "SOURCE_URI"}
"""Variables of `.env` that are not settings of the service."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


def interpolated(value: Any) -> Any:
    """Return a value of compose.yaml with the variables of the example, as Compose interpolates it."""
    if isinstance(value, dict):
        return {name: interpolated(item) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item) for item in value]
    if not isinstance(value, str):
        return value

    def variable(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        default = found[4] if found[3] == "-" else None
        given = DOT_ENV.get(found[2]) or default
        assert given is not None, found[0]
        return given

    return _VARIABLE.sub(variable, value)


def test_compose_file_matches_its_schema() -> None:
    # check-jsonschema includes the schema of the Compose specification.
    schema = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    specification = Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert [error.message for error in specification.iter_errors(COMPOSE)] == []
    mistake = {**COMPOSE, "services": {**SERVICES, "api": {**SERVICES["api"], "port": ["8000"]}}}
    assert not specification.is_valid(mistake)


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_our_containers_gain_no_privileges() -> None:
    """The base image has programs such as su that run as root."""
    ours = [service for service in SERVICES.values() if service["image"] == "account-risk-alerts"]
    assert len(ours) == len(SERVICES) - 1
    assert all(service["cap_drop"] == ["ALL"] for service in ours)
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in ours)


def test_pages_of_other_sites_cannot_use_prefect() -> None:
    """A browser reaches its port, Prefect has no login, and a worker runs any command of a flow run."""
    found = SERVICES["prefect"]["environment"]
    [port] = SERVICES["prefect"]["ports"]
    own = f"http://localhost:{port.split(':')[1]}"
    assert found["PREFECT_SERVER_UI_API_URL"] == f"{own}/api"
    origins = found["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert origins == [own, own.replace("localhost", "127.0.0.1")]
    assert found["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"


@pytest.mark.parametrize("status", [200, 503])
def test_health_checks_see_the_status_without_a_proxy(status: int) -> None:
    """Docker gives its containers the proxy of its own configuration."""
    [of_image] = re.findall(r"^ +CMD (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in (json.loads(of_image), SERVICES["prefect"]["healthcheck"]["test"]):
        with Refusing() as server:
            server.status = status
            program = re.sub(r"http://[^/]+", server.url, command[-1])
            ended = run_python("-c", program, http_proxy=f"http://127.0.0.1:{closed_port()}")
            assert (ended.returncode == 0) is (status == 200), ended


def test_each_variable_is_read() -> None:
    assert DOT_ENV.keys() - OF_COMPOSE <= {name.upper() for name in Settings.model_fields}
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            known = name.lower() in Settings.model_fields or hasattr(prefect.settings, name)
            assert known or name.startswith("POSTGRES_"), name


def test_compose_file_has_no_secret() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert DOT_ENV["POSTGRES_PASSWORD"] not in text
    assert not re.search(r"(?i)(PASSWORD|TOKEN|WEBHOOK)\w*: (?!\$\{)", text)


def test_services_use_each_others_names() -> None:
    urls = [
        interpolated(SERVICES["api"]["environment"])[name] for name in ("DATABASE_URL", "PREFECT_API_URL")
    ]
    urls.append(DOT_ENV["SLACK_WEBHOOK_BASE_URL"])
    assert {urlsplit(url).hostname for url in urls} == {"postgres", "prefect", "slack"} <= SERVICES.keys()
    assert DOT_ENV["COMPOSE_PROFILES"] in SERVICES["slack"]["profiles"]
    assert (
        set(SERVICES["api"]["depends_on"]) == set(SERVICES["worker"]["depends_on"]) == {"postgres", "prefect"}
    )
    Settings(database_url=urls[0])


def test_each_service_with_runs_has_time_to_stop() -> None:
    """By default, Compose kills a container 10 s after SIGTERM, as long as a request to Slack may take."""
    assert SERVICES["api"]["stop_grace_period"] == SERVICES["worker"]["stop_grace_period"] == "60s"


@contextmanager
def running(name: str, folder: Path, here: dict[str, str]) -> Iterator[Path]:
    """Run a service's command in its environment, with the paths and hosts of `here`; yield its log."""

    def moved(value: str) -> str:
        # In one pass, so that a replacement is not replaced again.
        return re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], value)

    service = SERVICES[name]
    own = {**(DOT_ENV if "env_file" in service else {}), **interpolated(service.get("environment", {}))}
    environment = {
        "HOME": str(folder),
        # The environment of the image.
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT),
        **{variable: moved(value) for variable, value in own.items()},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    log = folder / f"{name}.log"
    with process([moved(word) for word in interpolated(service["command"])], environment, log):
        yield log


def test_worker_deploys_and_sends_a_month(
    tmp_path: Path, undeployed_prefect_api: str, postgresql: Server
) -> None:
    prefect_api = undeployed_prefect_api
    write_source(tmp_path / "source/monthly_account_status.parquet")
    (tmp_path / "tmp").mkdir()
    deployments = f"{prefect_api}/deployments"
    slack_port = closed_port()
    slack = f"http://127.0.0.1:{slack_port}"
    here = {
        interpolated(SERVICES["worker"]["environment"])["DATABASE_URL"]: postgresql.new_database(),
        "http://prefect:4200/api": prefect_api,
        "http://slack:9000": slack,
        "9000": str(slack_port),
        "0.0.0.0": "127.0.0.1",
        "/mock_slack.py": str(ROOT / "examples/mock_slack.py"),
        "/tmp/": f"{tmp_path}/tmp/",  # noqa: S108
        "/source/": f"{tmp_path}/source/",
    }
    with httpx.Client(timeout=HANG_SECONDS) as client:

        def content(response: httpx.Response) -> Any:
            # Other tests use the server too; it answers 503 while it is busy.
            return response.json() if response.is_success else None

        with running("slack", tmp_path, here), running("worker", tmp_path, here) as log:
            path = f"{deployments}/name/monthly-risk-alerts/monthly"
            deployment = until(lambda: content(client.get(path)), log.read_text)
            body = {"parameters": {"month": "2026-01-01"}, "state": {"type": "SCHEDULED"}}
            create = f"{deployments}/{deployment['id']}/create_flow_run"
            flow_run = until(lambda: content(client.post(create, json=body)), log.read_text)

            def finished() -> Any:
                run = content(client.get(f"{prefect_api}/flow_runs/{flow_run['id']}"))
                return run if run and run["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED"} else None

            assert until(finished, log.read_text)["state"]["type"] == "COMPLETED", log.read_text()
            posted = client.get(f"{slack}/messages").json()
    assert {message["channel"] for message in posted} == {"amer-risk-alerts", "emea-risk-alerts"}
