"""GCS and S3 emulators behind a proxy that counts requests, bytes and ranges, and can add a pause to each.

The emulators and the proxy share one process beside the reader's, and are its bottleneck for large sources.
"""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from gcp_storage_emulator.server import create_server
from gcsfs.core import GCSFileSystem
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "bucket"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}


@dataclass
class Wire:
    """What went over it since it was last reset."""

    pause: float = 0.0
    requests: int = 0
    body_bytes: int = 0
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, pause: float) -> None:
        """Begin anew, with so many seconds added to each request."""
        with self.lock:
            self.pause, self.requests, self.body_bytes, self.ranges = pause, 0, 0, []

    def twice(self) -> int:
        """Count the bytes that were fetched again."""
        again, reached = 0, {"": 0}
        for path, start, end in sorted(self.ranges):
            known = reached.get(path, 0)
            again += max(0, min(end, known) - start)
            reached[path] = max(known, end)
        return again


@contextmanager
def proxied(target: str, wire: Wire) -> Iterator[str]:
    """Pass everything on to `target` (host:port) and count it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(wire.pause)
            connection = HTTPConnection(target)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
            with wire.lock:
                wire.requests += 1
                wire.body_bytes += len(data)
                if asked:
                    wire.ranges.append((self.path.split("?")[0], int(asked[1]), int(asked[2]) + 1))
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = _pass_on  # noqa: N815  # names of the standard library

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def gcs(source: Path, wire: Wire) -> Iterator[tuple[str, dict[str, str]]]:
    """Serve the file from an emulator of GCS; gives its URI and the environment that leads there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    file_system = GCSFileSystem(token="anon", endpoint_url=f"http://127.0.0.1:{port}")  # noqa: S106
    file_system.pipe_file(f"{BUCKET}/{source.name}", source.read_bytes())
    with proxied(f"127.0.0.1:{port}", wire) as url:
        yield f"gs://{BUCKET}/{source.name}", {"GCS_ENDPOINT_URL": url}
    server.stop()


@contextmanager
def s3(source: Path, wire: Wire) -> Iterator[tuple[str, dict[str, str]]]:
    """Serve the file from an emulator of S3; gives its URI and the environment that leads there."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key=source.name, Body=source.read_bytes())
    with proxied(f"{host}:{port}", wire) as url:
        yield f"s3://{BUCKET}/{source.name}", {"S3_ENDPOINT_URL": url} | KEYS
    server.stop()
