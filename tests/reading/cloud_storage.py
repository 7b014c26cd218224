"""A small Cloud Storage server with object generations, which the emulator in the dev tools lacks.

It serves metadata of an object, a listing, and ranges of a generation.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class CloudStorage:
    """One bucket in memory; without `versioning`, which is the default, a replaced object is gone."""

    def __init__(self, *, versioning: bool = False) -> None:
        self._versioning = versioning
        self._objects: dict[str, dict[int, bytes]] = {}
        self._generation = 1_700_000_000_000_000
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                status, body = storage._answer(url.path, query, self.headers.get("Range"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def put(self, name: str, data: bytes) -> str:
        """Write a new generation of the object and return it."""
        kept = self._objects.get(name, {}) if self._versioning else {}
        self._generation += 1
        self._objects[name] = {**kept, self._generation: data}
        return str(self._generation)

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, query: dict[str, str], span: str | None) -> tuple[int, bytes]:
        found = re.fullmatch(r"(/download)?/storage/v1/b/bucket/o(?:/([^/]+))?", path)
        if found and not found[2]:
            names = sorted(name for name in self._objects if name.startswith(query.get("prefix", "")))
            return 200, json.dumps({"items": [self._resource(name) for name in names]}).encode()
        name = unquote(found[2]) if found else ""
        generations = self._objects.get(name, {})
        generation = int(query.get("generation", max(generations, default=0)))
        if generation not in generations:
            return 404, json.dumps(
                {"error": {"code": 404, "message": f"No such object: bucket/{name}"}}
            ).encode()
        if query.get("alt") != "media":
            return 200, json.dumps(self._resource(name)).encode()
        data = generations[generation]
        if span is None:
            return 200, data
        first, last = span.removeprefix("bytes=").split("-")
        return 206, data[int(first) : int(last) + 1]

    def _resource(self, name: str) -> dict[str, Any]:
        generation = max(self._objects[name])
        size = str(len(self._objects[name][generation]))
        return {"kind": "storage#object", "name": name, "generation": str(generation), "size": size}
