"""The libraries of the object stores write nothing to stderr."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.cli.calling import ROOT, run_program
from tests.reading.servers import Refusing
from tests.service import closed_port

PROGRAM = """
import sys
from core.domain import RiskAlertsError
from core.runtime import configure_logs
from core.runtime import load_settings
from core.sources import open_uri

settings = load_settings()
configure_logs(settings)
for uri in sys.argv[1:]:
    try:
        source = open_uri(uri, settings)
        source.read(source.files[0], [(0, 1), (1, 2), (2, 3)])
    except RiskAlertsError as error:
        print(error.code, error)
"""
BOTH = ("gs://bucket/p", "s3://bucket/p")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def refusals(*uris: str, home: Path, timeout: float = 300, **environment: str) -> list[str]:
    """Open the sources in a process; return the refusal of each: one line, with nothing on stderr."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    defaults = {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "default"}
    used = {**kept, **defaults, "PYTHONPATH": str(ROOT), **environment}
    found = run_program(sys.executable, "-c", PROGRAM, *uris, environment=used, timeout=timeout)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert len(lines) == len(uris)
    return lines


def test_unreachable_store_is_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    stores = {"GCS_ENDPOINT_URL": url, "S3_ENDPOINT_URL": url}
    for said in refusals(*BOTH, home=tmp_path, **stores, **KEYS, SOURCE_TIMEOUT_SECONDS="1"):
        assert said.startswith("source_unreachable ")


@pytest.mark.parametrize("status", [403, 405])
def test_refusal_is_one_line(store: Refusing, status: int, tmp_path: Path) -> None:
    """Gcsfs logs unknown errors with a traceback."""
    store.status = status
    refusals(*BOTH, home=tmp_path, GCS_ENDPOINT_URL=store.url, S3_ENDPOINT_URL=store.url, **KEYS)


def test_missing_token_file_is_one_line(tmp_path: Path) -> None:
    role = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token"}
    [said] = refusals("s3://bucket/p", home=tmp_path, **role)
    assert "/no/token" in said


def test_silent_token_endpoint_does_not_delay_the_exit(google_key: dict[str, str], tmp_path: Path) -> None:
    """Google's library waits for two minutes in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        token = {"GCS_TOKEN": json.dumps(google_key | {"token_uri": url}), "SOURCE_TIMEOUT_SECONDS": "1"}
        [said] = refusals("gs://bucket/p", home=tmp_path, timeout=60, **token)
    assert said.startswith("source_unreachable ")


def test_user_google_credentials_cause_no_warning(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    # The client ID of gcloud, for which Google's library logs a warning.
    client = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
    key = {"type": "authorized_user", "client_id": client, "client_secret": "s", "refresh_token": "r"}
    (folder / "application_default_credentials.json").write_text(json.dumps(key))
    proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{closed_port()}", "GCS_TOKEN": "google_default"}
    [said] = refusals("gs://bucket/p", home=tmp_path, **proxy, SOURCE_TIMEOUT_SECONDS="1")
    assert said.startswith("source_unreachable ")
