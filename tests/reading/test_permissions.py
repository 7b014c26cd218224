"""The reader's requests to the emulators, compared with the permissions of the recipes."""

import json
import re
from fnmatch import fnmatchcase
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
from gcsfs.core import GCSFileSystem

from core.domain import SourceNotFound
from core.sources import open_uri
from tests.cli.calling import ROOT
from tests.reading.servers import Proxy

POLICY = ROOT / "deploy" / "ecs-task-role-policy.json"
KEY = "monthly_account_status.parquet"
PATHS = (KEY, f"{KEY}/", f"{KEY}/month=2026-01-01/")
"""A file, a folder, and a missing object."""


def requests(scheme: str, emulator: str) -> list[tuple[str, str, dict[str, list[str]]]]:
    """Read each kind of source; return method, path and query of each request."""
    with Proxy(emulator) as proxy:
        settings = proxy.settings()
        for path in PATHS:
            try:
                source = open_uri(f"{scheme}://bucket/{path}", settings)
            except SourceNotFound:
                continue
            for file in source.files:
                source.read(file, [(0, 2)])
            source.verify_unchanged()
    found = []
    for method, target in map(str.split, proxy.asked):
        url = urlsplit(target)
        found.append((method, unquote(url.path), parse_qs(url.query)))
    return found


def test_task_role_permits_exactly_the_s3_requests(s3_server: str, aws_keys: None) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for key in (KEY, f"{KEY}/a.parquet"):
        client.put_object(Bucket="bucket", Key=key, Body=b"data")
    policy = json.loads(POLICY.read_text())["Statement"]
    assert all("BUCKET" in found["Resource"] for found in policy)
    statements = {found["Action"]: found for found in policy}
    used = set()
    for method, path, query in requests("s3", s3_server):
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


def test_object_viewer_permits_the_gcs_requests(gcs_server: str) -> None:
    """The role has no permission on buckets."""
    emulator = GCSFileSystem(token="anon", endpoint_url=gcs_server, skip_instance_cache=True)
    for key in (KEY, f"{KEY}/a.parquet"):
        emulator.pipe_file(f"bucket/{key}", b"data")
    used = set()
    for method, path, _ in requests("gs", gcs_server):
        found = re.fullmatch(r"(?:/download)?/storage/v1/b/bucket/o(/.+)?", path)
        assert method == "GET"
        assert found, path
        used.add("storage.objects.get" if found[1] else "storage.objects.list")
    assert used == {"storage.objects.get", "storage.objects.list"}
