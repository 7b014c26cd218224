"""A server that gives the same answer to every request, as a refusing cloud does."""

import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Refusing:
    """A server that answers with a status, headers and a body of a cloud or of its token endpoint.

    With `found`, every HEAD finds an object of `size` bytes, as S3 does before it refuses to send them.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.found = False
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        refusing = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                refusing.asked.append(f"{self.command} {self.path}")
                refusing.authorizations.add(self.headers.get("Authorization"))
                self.send_response(200 if self.command == "HEAD" and refusing.found else refusing.status)
                headers = {"ETag": '"e"', "Content-Length": str(len(refusing.body)), **refusing.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    # A client that has read the status may hang up.
                    with suppress(ConnectionError):
                        self.wfile.write(refusing.body)

            do_GET = do_HEAD = do_POST = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
