"""compose.yaml: held against the Compose specification, and its commands run as processes.

There is no Docker engine here. Not run: the containers, their networks, volumes and read-only file systems.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
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

from core.settings import Settings
from tests.postgresql import server as postgresql
from tests.prefect_homes import NewHome
from tests.service import closed_port, write_source

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOT_ENV = {
    name: value or ""
    for name, value in dotenv_values(ROOT / "examples/compose.env", interpolate=False).items()
}
OF_COMPOSE = {"COMPOSE_PROFILES", "POSTGRES_PASSWORD", "SOURCE_FOLDER", "SOURCE_URI"}
"""The variables of `.env` that are not settings of the service."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


def interpolated(value: Any) -> Any:
    """Return a value of compose.yaml as Compose makes it with the variables of the example."""
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


@pytest.fixture(scope="module")
def specification() -> Draft202012Validator:
    """Return the Compose specification's own schema, which check-jsonschema carries."""
    schema = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    return Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))


def test_file_fits_the_compose_specification(specification: Draft202012Validator) -> None:
    assert [error.message for error in specification.iter_errors(COMPOSE)] == []


@pytest.mark.parametrize("wrong", [{"port": ["8000"]}, {"command": 5}, {"restart": ["always"]}])
def test_specification_refuses_a_mistake(specification: Draft202012Validator, wrong: dict[str, Any]) -> None:
    services = {**SERVICES, "api": {**SERVICES["api"], **wrong}}
    assert list(specification.iter_errors({**COMPOSE, "services": services}))


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_variable_is_one_that_is_read() -> None:
    assert DOT_ENV.keys() - OF_COMPOSE <= {name.upper() for name in Settings.model_fields}
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            known = name.lower() in Settings.model_fields or hasattr(prefect.settings, name)
            assert known or name.startswith("POSTGRES_"), name


def test_no_secret_stands_in_the_file() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert DOT_ENV["POSTGRES_PASSWORD"] not in text
    assert not re.search(r"(?i)(PASSWORD|TOKEN|WEBHOOK)\w*: (?!\$\{)", text)


def test_services_name_each_other_as_they_are_called() -> None:
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


class Stack:
    """The services as processes: what lies in containers lies in a folder, and each has a port of its own."""

    def __init__(self, folder: Path, database: str, prefect_home: Path) -> None:
        self.folder = folder
        self.api, self.prefect, self.slack = (f"http://127.0.0.1:{closed_port()}" for _ in range(3))
        prefect_port, slack_port = (str(urlsplit(url).port) for url in (self.prefect, self.slack))
        self._outside = {
            interpolated(SERVICES["api"]["environment"])["DATABASE_URL"]: database,
            "http://prefect:4200": self.prefect,
            "http://localhost:4200": self.prefect,
            "http://127.0.0.1:4200": self.prefect,
            "http://slack:9000": self.slack,
            "4200": prefect_port,
            "9000": slack_port,
            "8000": str(urlsplit(self.api).port),
            "0.0.0.0": "127.0.0.1",
            "/mock_slack.py": str(ROOT / "examples/mock_slack.py"),
            "/data/prefect": str(prefect_home),
            "/tmp/": f"{folder}/tmp/",  # noqa: S108
            "/source/": f"{folder}/source/",
        }

    def _here(self, value: Any) -> Any:
        """Return a value with what exists only in containers replaced by what stands for it here."""
        if isinstance(value, dict):
            return {name: self._here(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._here(item) for item in value]
        # In one pass: what was put in is not looked at again.
        return re.sub("|".join(map(re.escape, self._outside)), lambda found: self._outside[found[0]], value)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service."""
        service = SERVICES[name]
        own = {**(DOT_ENV if "env_file" in service else {}), **interpolated(service.get("environment", {}))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"HOME": str(self.folder), "DO_NOT_TRACK": "1", **self._here(own), "PATH": path}

    @contextmanager
    def running(self, name: str) -> Iterator[Path]:
        """Run a service's command until the context ends; yield its log."""
        command = SERVICES[name].get("command") or image_command()
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self._here(interpolated(command)),
                cwd=ROOT,
                env=self.environment(name),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            yield log
        finally:
            # A worker has children, and how fast it ends is Prefect's affair.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def is_healthy(self, name: str) -> bool:
        """Run the health check of a service."""
        _, *command = self._here(interpolated(SERVICES[name]["healthcheck"]["test"]))
        done = subprocess.run(command, env=self.environment(name), capture_output=True, check=False)
        return done.returncode == 0


def image_command() -> list[str]:
    """Return what a container of the image runs when nothing else is said."""
    found = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    command: list[str] = json.loads(found[-1])
    return command


def wait_for(what: Any, log: Path, seconds: float = 90) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := what():
                return answer
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8", errors="replace")
        time.sleep(0.2)


def test_commands_run_a_month_together(tmp_path: Path, new_prefect_home: NewHome) -> None:
    """The worker sends a month, and the API finds it in the same ledger and replays it."""
    for folder in ("source", "tmp"):
        (tmp_path / folder).mkdir()
    write_source(tmp_path / "source/monthly_account_status.parquet")
    with postgresql() as database:
        stack = Stack(tmp_path, database.new_database(), new_prefect_home())
        with stack.running("slack"), stack.running("prefect") as prefect_log:
            wait_for(lambda: stack.is_healthy("prefect"), prefect_log)
            with stack.running("worker") as worker_log, stack.running("api") as api_log:
                deployments = f"{stack.prefect}/api/deployments"
                path = f"{deployments}/name/monthly-risk-alerts/monthly"
                wait_for(lambda: httpx.get(path).is_success, worker_log)
                deployment = httpx.get(path).json()
                started = httpx.post(
                    f"{deployments}/{deployment['id']}/create_flow_run",
                    json={"parameters": {"month": "2026-01-01"}, "state": {"type": "SCHEDULED"}},
                )
                wait_for(lambda: httpx.get(f"{stack.api}/health").is_success, api_log)
                wait_for(lambda: finished_runs(stack.api), worker_log)
                (run,) = finished_runs(stack.api)
                assert run["flow_run_id"] == started.json()["id"]
                assert run["source_uri"] == deployment["parameters"]["source_uri"]
                body = {"source_uri": run["source_uri"], "month": "2026-01-01"}
                answer = httpx.post(f"{stack.api}/runs", json=body, timeout=60)
                replay = httpx.get(f"{stack.api}/runs/{answer.json()['run_id']}").json()
                posted = httpx.get(f"{stack.slack}/messages").json()
    assert run["counts"]["alerts_sent"] == replay["counts"]["skipped_replay"] == len(posted) > 0


def finished_runs(api: str) -> list[dict[str, Any]]:
    """Return the runs of the ledger that are over."""
    runs = httpx.get(f"{api}/runs").json()["runs"]
    return [run for run in runs if run["finished_at"]]
