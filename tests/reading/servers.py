"""Small HTTP servers: a refusing cloud, a Cloud Storage with object generations, and a proxy."""

import json
import re
import ssl
import sys
import threading
from abc import ABC, abstractmethod
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from core.runtime import Settings


class Request(BaseHTTPRequestHandler):
    """A request that a `Server` answers."""

    protocol_version = "HTTP/1.1"

    def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Answer the request; without the body if it is a HEAD."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def ignore_disconnects(server: BaseServer) -> None:
    """Suppress the traceback that the server prints when a client disconnects."""
    report = server.handle_error

    def report_others(request: Any, address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            report(request, address)

    server.handle_error = report_others  # type: ignore[method-assign]


class Server(ABC):
    """A server in a thread, which records its requests."""

    authorization = "Authorization"
    """The header that is recorded."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        self.connected: set[object] = set()
        server = self

        class Handler(Request):
            def setup(self) -> None:
                super().setup()
                server.connected.add(self.client_address)

            def finish(self) -> None:
                super().finish()
                server.connected.remove(self.client_address)

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.asked.append(f"{self.command} {self.path}")
                server.authorizations.add(self.headers.get(server.authorization))
                server.answer(self)

            do_HEAD = do_POST = do_CONNECT = do_GET  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        ignore_disconnects(self._server)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def settings(self, **values: Any) -> Settings:
        """Return settings that take the server for both clouds."""
        return Settings(gcs_endpoint_url=self.url, s3_endpoint_url=self.url, **values)

    @abstractmethod
    def answer(self, request: Request) -> None:
        """Answer a request."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Refusing(Server):
    """A server that gives the same answer to every request, as a cloud or its token endpoint does.

    With `found`, every HEAD finds an object, as S3 does before it refuses to send it.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.found = False

    def answer(self, request: Request) -> None:
        status = 200 if request.command == "HEAD" and self.found else self.status
        request.send(status, self.body, {"ETag": '"e"', **self.headers})


class CloudStorage(Server):
    """One bucket in memory, which the emulator in the dev tools has without generations.

    Without `versioning`, which is the default, a replaced object is gone.
    """

    def __init__(self, *, versioning: bool = False) -> None:
        super().__init__()
        self._versioning = versioning
        self._objects: dict[str, dict[int, bytes]] = {}
        self._generation = 1_700_000_000_000_000

    def put(self, name: str, data: bytes) -> str:
        """Write a new generation of the object and return it."""
        kept = self._objects.get(name, {}) if self._versioning else {}
        self._generation += 1
        self._objects[name] = {**kept, self._generation: data}
        return str(self._generation)

    def answer(self, request: Request) -> None:
        """Answer with a listing, the metadata of an object, or a range of a generation."""
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        found = re.fullmatch(r"(?:/download)?/storage/v1/b/bucket/o(?:/([^/]+))?", url.path)
        if found and not found[1]:
            names = sorted(name for name in self._objects if name.startswith(query.get("prefix", "")))
            request.send(200, json.dumps({"items": list(map(self._resource, names))}).encode())
            return
        name = unquote(found[1]) if found else ""
        generations = self._objects.get(name, {})
        data = generations.get(int(query.get("generation", max(generations, default=0))))
        if data is None:
            error = {"code": 404, "message": f"No such object: bucket/{name}"}
            request.send(404, json.dumps({"error": error}).encode())
        elif query.get("alt") != "media":
            request.send(200, json.dumps(self._resource(name)).encode())
        else:
            first, last = request.headers["Range"].removeprefix("bytes=").split("-")
            request.send(206, data[int(first) : int(last) + 1])

    def _resource(self, name: str) -> dict[str, Any]:
        generation = max(self._objects[name])
        size = str(len(self._objects[name][generation]))
        return {"kind": "storage#object", "name": name, "generation": str(generation), "size": size}


class Proxy(Server):
    """Forwards plain requests for any host to `upstream`, and refuses every `CONNECT`.

    A refused `CONNECT` proves that the client wanted a tunnel, and needs no trusted certificate.
    """

    authorization = "Proxy-Authorization"

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = urlsplit(upstream).netloc

    def answer(self, request: Request) -> None:
        if request.command == "CONNECT":
            request.send_error(403)
            return
        target = urlsplit(request.path)
        connection = HTTPConnection(self._upstream)
        connection.request(request.command, f"{target.path}?{target.query}", headers=dict(request.headers))
        answer = connection.getresponse()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in {"transfer-encoding", "connection"}
        }
        request.send(answer.status, answer.read(), headers)
