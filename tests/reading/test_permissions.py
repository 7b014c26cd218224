"""The reader's requests, from the logs of the emulators, compared with the permissions of the recipes."""

import io
import json
import logging
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from gcsfs.core import GCSFileSystem

from core.domain import SourceNotFound
from core.runtime import Settings
from core.sources import open_uri

POLICY = Path(__file__).parents[2] / "deploy" / "ecs-task-role-policy.json"
KEY = "monthly_account_status.parquet"
PATHS = (KEY, f"{KEY}/", f"{KEY}/month=2026-01-01/")
"""A file, a folder, and a missing object."""


@pytest.fixture
def requests() -> Iterator[io.StringIO]:
    """Return the request lines that both emulators log."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    names = ("werkzeug", "gcp_storage_emulator.server")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    yield log
    for name in names:
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(before[name])


def asked(log: io.StringIO) -> list[tuple[str, str, dict[str, list[str]]]]:
    """Return method, path and query of each request, and clear the list."""
    found = [
        (method, unquote(urlsplit(target).path), parse_qs(urlsplit(target).query))
        for method, target in re.findall(r'"?(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP', log.getvalue())
    ]
    log.truncate(0)
    log.seek(0)
    return found


def read(scheme: str, settings: Settings) -> None:
    """Read each kind of source."""
    for path in PATHS:
        try:
            source = open_uri(f"{scheme}://bucket/{path}", settings)
        except SourceNotFound:
            continue
        for file in source.files:
            source.read(file, [(0, 2)])
        source.verify_unchanged()


def test_task_role_permits_exactly_the_s3_requests(
    s3_server: str, aws_keys: None, requests: io.StringIO
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.put_object(Bucket="bucket", Key=KEY, Body=b"data")
    client.put_object(Bucket="bucket", Key=f"{KEY}/a.parquet", Body=b"data")
    asked(requests)
    read("s3", Settings(s3_endpoint_url=s3_server))
    statements = {found["Action"]: found for found in json.loads(POLICY.read_text())["Statement"]}
    used = set()
    for method, path, query in asked(requests):
        assert method in {"GET", "HEAD"}
        bucket, _, key = path.strip("/").partition("/")
        action = "s3:GetObject" if key else "s3:ListBucket"
        used.add(action)
        allowed = statements[action]
        resource = f"arn:aws:s3:::{bucket}/{key}".rstrip("/").replace("bucket", "BUCKET", 1)
        assert fnmatchcase(resource, allowed["Resource"]), resource
        if not key:
            [prefix] = query["prefix"]
            assert fnmatchcase(prefix, allowed["Condition"]["StringLike"]["s3:prefix"]), prefix
    assert used == set(statements)


def test_object_viewer_permits_the_gcs_requests(gcs_server: str, requests: io.StringIO) -> None:
    """The role has `storage.objects.get` and `storage.objects.list`, and no permission on buckets."""
    emulator = GCSFileSystem(token="anon", endpoint_url=gcs_server, skip_instance_cache=True)
    emulator.pipe_file(f"bucket/{KEY}", b"data")
    emulator.pipe_file(f"bucket/{KEY}/a.parquet", b"data")
    asked(requests)
    read("gs", Settings(gcs_endpoint_url=gcs_server))
    used = set()
    for method, path, _ in asked(requests):
        found = re.fullmatch(r"(?:/download)?/storage/v1/b/bucket/o(/.+)?", path)
        assert method == "GET"
        assert found, path
        used.add("storage.objects.get" if found[1] else "storage.objects.list")
    assert used == {"storage.objects.get", "storage.objects.list"}
