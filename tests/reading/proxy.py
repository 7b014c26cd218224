"""A small HTTP proxy that records its requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy:
    """Forwards plain requests for any host to `upstream`, and refuses every `CONNECT`.

    A refused `CONNECT` proves that the client wanted a tunnel, and needs no trusted certificate.
    """

    def __init__(self, upstream: str) -> None:
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _note(self) -> None:
                proxy.asked.append(f"{self.command} {self.path}")
                proxy.authorizations.add(self.headers.get("Proxy-Authorization"))

            def do_CONNECT(self) -> None:
                self._note()
                self.send_error(403)

            def do_GET(self) -> None:
                self._note()
                target = urlsplit(self.path)
                connection = HTTPConnection(urlsplit(upstream).netloc)
                connection.request(self.command, f"{target.path}?{target.query}", headers=dict(self.headers))
                answer = connection.getresponse()
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop the proxy."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def proxy_to(upstream: str) -> Iterator[Proxy]:
    """Serve a proxy while the block runs."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
