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
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
LISTING = f"/storage/v1/b/{BUCKET}/o"
GCS_OBJECT = re.compile(rf"(?:/download)?{LISTING}/(.+)")
RANGE = re.compile(r"^range: *bytes=(\d+)-(\d+)", re.IGNORECASE | re.MULTILINE)
TIME = "1970-01-01T00:00:00.000Z"


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes | memoryview
    kind: str = "application/octet-stream"
    header: str = 'ETag: "1"'


class Wire:
    """The objects of the store, and the requests and bytes since the last reset."""

    def __init__(self, bucket: Path, files: list[Path]) -> None:
        self._objects: dict[str, memoryview] = {}
        for file in files:
            with file.open("rb") as opened:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            self._objects[file.relative_to(bucket).as_posix()] = memoryview(mapped)
        self.reset(0)

    def reset(self, pause: float) -> None:
        """Set the counts to zero, and the pause before each answer to `pause` seconds."""
        self.pause, self.requests, self.sent_bytes = pause, 0, 0
        self._ranges: list[tuple[str, int, int]] = []

    def twice(self) -> int:
        """Return the number of bytes that were fetched more than once."""
        again = 0
        reached: dict[str, int] = {}
        for name, start, end in sorted(self._ranges):
            known = reached.get(name, 0)
            again += max(0, min(end, known) - start)
            reached[name] = max(known, end)
        return again

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until the client closes it."""
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await asyncio.sleep(self.pause)
                method, target, _ = head.split(" ", 2)
                answer = self._answer(target, RANGE.search(head))
                self.requests += 1
                lines = (
                    f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
                    f"Content-Length: {len(answer.body)}",
                    f"Content-Type: {answer.kind}",
                    "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
                    answer.header,
                )
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
                if method != "HEAD":
                    self.sent_bytes += len(answer.body)
                    writer.write(answer.body)
                await writer.drain()

    def _answer(self, target: str, asked: re.Match[str] | None) -> _Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        names = [name for name in self._objects if name.startswith(query.get("prefix", ""))]
        if url.path == LISTING:
            return _json({"items": [self._gcs(name) for name in names]})
        if "list-type" in query:
            return _Answer(HTTPStatus.OK, self._s3_listing(names), "application/xml")
        gcs = GCS_OBJECT.fullmatch(url.path)
        name = unquote(gcs[1] if gcs else url.path.removeprefix(f"/{BUCKET}/"))
        if name not in self._objects:
            return _Answer(HTTPStatus.NOT_FOUND, b"")
        if gcs and query.get("alt") != "media":
            return _json(self._gcs(name))
        data = self._objects[name]
        if not asked:
            return _Answer(HTTPStatus.OK, data)
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
        self._ranges.append((name, start, end))
        part = f"Content-Range: bytes {start}-{end - 1}/{len(data)}"
        return _Answer(HTTPStatus.PARTIAL_CONTENT, data[start:end], header=f'ETag: "1"\r\n{part}')

    def _gcs(self, name: str) -> dict[str, str]:
        size = str(len(self._objects[name]))
        times = {"updated": TIME, "timeCreated": TIME}
        return {"name": name, "bucket": BUCKET, "generation": "1", "size": size, **times}

    def _s3_listing(self, names: list[str]) -> bytes:
        found = "".join(
            f"<Contents><Key>{name}</Key><LastModified>{TIME}</LastModified><ETag>&quot;1&quot;</ETag>"
            f"<Size>{len(self._objects[name])}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for name in names
        )
        return (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        ).encode()


def _json(body: object) -> _Answer:
    return _Answer(HTTPStatus.OK, json.dumps(body).encode(), "application/json")


@contextmanager
def served(wire: Wire) -> Iterator[dict[str, tuple[str, dict[str, str]]]]:
    """Serve the objects; yield the URI of the bucket and the environment of each store."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(wire.connection, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield {
            "GCS": (f"gs://{BUCKET}", {"GCS_ENDPOINT_URL": url}),
            "S3": (f"s3://{BUCKET}", {"S3_ENDPOINT_URL": url, **KEYS}),
        }
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
