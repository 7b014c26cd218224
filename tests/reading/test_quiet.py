"""The libraries of the object stores write nothing to stderr."""

import json
import os
import socket
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.reading.servers import Refusing

PROGRAM = """
import sys
from core.domain import RiskAlertsError
from core.runtime import configure_logs
from core.runtime import load_settings
from core.sources import open_uri

settings = load_settings()
configure_logs(settings)
try:
    source = open_uri(sys.argv[1], settings)
    source.read(source.files[0], [(0, 1), (1, 2), (2, 3)])
except RiskAlertsError as error:
    print(error.code, error)
"""
ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def run(uri: str, folder: Path, timeout: float | None = None, **environment: str) -> str:
    """Return the code and message of the refusal; check that it is one line and that stderr is empty."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    defaults = {"HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "default"}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, uri],
        env={**kept, **defaults, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=timeout,
    )
    assert found.stderr == ""
    assert found.stdout.count("\n") == 1
    return found.stdout


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_unreachable_store_is_one_line(scheme: str, tmp_path: Path) -> None:
    nowhere = {"GCS_ENDPOINT_URL": "http://127.0.0.1:1", "S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    said = run(f"{scheme}://bucket/p", tmp_path, **nowhere, **KEYS, SOURCE_TIMEOUT_SECONDS="2")
    assert said.startswith("source_unreachable ")


def test_missing_token_file_is_one_line(tmp_path: Path) -> None:
    role = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token"}
    assert "/no/token" in run("s3://bucket/p", tmp_path, **role)


@pytest.mark.parametrize("status", [HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.FORBIDDEN])
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_refusal_is_one_line(store: Refusing, scheme: str, status: int, tmp_path: Path) -> None:
    """Gcsfs logs unknown errors with a traceback."""
    store.status = status
    run(f"{scheme}://bucket/p", tmp_path, GCS_ENDPOINT_URL=store.url, S3_ENDPOINT_URL=store.url, **KEYS)


def test_silent_token_endpoint_does_not_delay_the_exit(private_key: str, tmp_path: Path) -> None:
    """Google's library waits for two minutes in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        key = {"type": "service_account", "client_email": "us@example.test", "private_key": private_key}
        token = json.dumps({**key, "token_uri": url})
        said = run("gs://bucket/p", tmp_path, GCS_TOKEN=token, SOURCE_TIMEOUT_SECONDS="1", timeout=60)
    assert said.startswith("source_unreachable ")


def test_user_google_credentials_cause_no_warning(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    # The client ID of gcloud, for which Google's library logs a warning.
    client = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
    key = {"type": "authorized_user", "client_id": client, "client_secret": "s", "refresh_token": "r"}
    (folder / "application_default_credentials.json").write_text(json.dumps(key))
    proxy = {"HTTPS_PROXY": "http://127.0.0.1:1", "GCS_TOKEN": "google_default"}
    said = run("gs://bucket/p", tmp_path, **proxy, SOURCE_TIMEOUT_SECONDS="2")
    assert said.startswith("source_unreachable ")
