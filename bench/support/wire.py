"""An object store in memory that counts requests and bytes: the parts of GCS and S3 that a reader needs.

The usual emulators answer more slowly than the reader asks, so that a ratio of times would measure them. This
store answers from one event loop, and can pause before each answer while other requests go on. The tests use
real emulators.
"""

import asyncio
import json
import mmap
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
GENERATION = "1"
LISTED = formatdate(0, usegmt=True)
S3_TIME = "1970-01-01T00:00:00.000Z"
GCS_OBJECT = re.compile(rf"(?:/download)?/storage/v1/b/{BUCKET}/o/(.+)")


@dataclass
class Wire:
    """Requests and bytes since the last reset."""

    pause: float = 0.0
    requests: int = 0
    body_bytes: int = 0
    ranges: list[tuple[str, int, int]] = field(default_factory=list)

    def reset(self, pause: float) -> None:
        """Set the counts to zero, and the pause of each request to `pause` seconds."""
        self.pause, self.requests, self.body_bytes, self.ranges = pause, 0, 0, []

    def twice(self) -> int:
        """Return the number of bytes that were fetched more than once."""
        again = 0
        reached: dict[str, int] = {}
        for path, start, end in sorted(self.ranges):
            known = reached.get(path, 0)
            again += max(0, min(end, known) - start)
            reached[path] = max(known, end)
        return again


class Objects:
    """The files of a source by their object names."""

    def __init__(self, source: Path) -> None:
        files = [source] if source.is_file() else sorted(source.glob("*.parquet"))
        root = source.parent
        self.data: dict[str, memoryview] = {}
        for file in files:
            with file.open("rb") as opened:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            self.data[file.relative_to(root).as_posix()] = memoryview(mapped)

    def gcs(self, name: str) -> dict[str, str]:
        """Return the metadata of an object as GCS does."""
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "generation": GENERATION,
            "size": str(len(self.data[name])),
            "updated": S3_TIME,
            "timeCreated": S3_TIME,
        }

    def s3_listing(self, prefix: str) -> bytes:
        """Return a listing as S3 does."""
        found = "".join(
            f"<Contents><Key>{name}</Key><LastModified>{S3_TIME}</LastModified><ETag>&quot;1&quot;</ETag>"
            f"<Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for name, data in self.data.items()
            if name.startswith(prefix)
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>{found}"
            "</ListBucketResult>"
        ).encode()


@dataclass(frozen=True)
class _Answer:
    status: HTTPStatus
    body: bytes | memoryview = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


class _Connection(asyncio.Protocol):
    """One connection, whose requests have no body."""

    def __init__(self, objects: Objects, wire: Wire) -> None:
        self._objects = objects
        self._wire = wire
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request after the pause."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            asyncio.get_running_loop().call_later(self._wire.pause, self._reply, head.decode("latin-1"))

    def _reply(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = self._answer(method, target, headers.get("range", ""))
        self._wire.requests += 1
        length = len(answer.body) if answer.length is None else answer.length
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if method != "HEAD":
            self._wire.body_bytes += len(answer.body)
            self._transport.write(answer.body)

    def _answer(self, method: str, target: str, asked: str) -> _Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if found := GCS_OBJECT.fullmatch(url.path):
            name = unquote(found[1])
            if name in self._objects.data and query.get("alt") != "media":
                return _json(self._objects.gcs(name))
            return self._object(method, name, asked)
        if url.path == f"/storage/v1/b/{BUCKET}/o":
            names = [name for name in self._objects.data if name.startswith(query.get("prefix", ""))]
            return _json({"items": [self._objects.gcs(name) for name in names]})
        if "list-type" in query:
            body = self._objects.s3_listing(query.get("prefix", ""))
            return _Answer(HTTPStatus.OK, body, (("Content-Type", "application/xml"),))
        return self._object(method, unquote(url.path).removeprefix(f"/{BUCKET}/"), asked)

    def _object(self, method: str, name: str, asked: str) -> _Answer:
        data = self._objects.data.get(name)
        if data is None:
            return _Answer(HTTPStatus.NOT_FOUND)
        headers = (("ETag", '"1"'), ("Last-Modified", LISTED), ("Content-Type", "application/octet-stream"))
        if method == "HEAD":
            return _Answer(HTTPStatus.OK, b"", headers, len(data))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if not wanted:
            return _Answer(HTTPStatus.OK, data, headers)
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        self._wire.ranges.append((name, start, end))
        part = ("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        return _Answer(HTTPStatus.PARTIAL_CONTENT, data[start:end], (*headers, part))


def _json(body: object) -> _Answer:
    return _Answer(HTTPStatus.OK, json.dumps(body).encode(), (("Content-Type", "application/json"),))


@contextmanager
def served(source: Path, wire: Wire) -> Iterator[dict[str, tuple[str, dict[str, str]]]]:
    """Serve a file or folder; yield the URI and the environment of each store."""
    objects, loop = Objects(source), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await loop.create_server(lambda: _Connection(objects, wire), "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    folder = "" if source.is_file() else "/"
    try:
        yield {
            "GCS": (f"gs://{BUCKET}/{source.name}{folder}", {"GCS_ENDPOINT_URL": url}),
            "S3": (f"s3://{BUCKET}/{source.name}{folder}", {"S3_ENDPOINT_URL": url, **KEYS}),
        }
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
