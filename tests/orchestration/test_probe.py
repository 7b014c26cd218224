"""A missing Prefect API is noticed in bounded time, whatever answers at its address."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.domain import OrchestratorUnreachable
from flows.prefect_engine import describe_fault, probe


class Answers(BaseHTTPRequestHandler):
    """Answers `/<status>/health` with that status, and `/trickle/health` with a byte now and then."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        body = b"true" if kind == "prefect" else b'"something else"'
        self.send_response(int(kind) if kind.isdigit() else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # The client may have closed the connection.
        with contextlib.suppress(ConnectionError):
            while kind == "trickle":
                self.wfile.write(b" ")
                time.sleep(0.1)
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_prefect_api_is_accepted(web: str) -> None:
    probe(f"{web}/prefect")


@pytest.mark.parametrize("path", ["500", "503", "404", "200", "302", "trickle"])
def test_other_servers_are_refused_in_bounded_time(web: str, path: str) -> None:
    with pytest.raises(OrchestratorUnreachable, match="No Prefect API answers at"):
        probe(f"{web}/{path}", seconds=0.5)


@pytest.mark.parametrize(
    ("error", "words"),
    [(TimeoutError(), "no answer in 2 s"), (None, "no answer in 2 s"), (OSError(), "no reason given")],
)
def test_error_without_text_is_described_in_words(error: Exception | None, words: str) -> None:
    assert describe_fault(error, 2) == words


def test_closed_port_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OrchestratorUnreachable, match="correct PREFECT_API_URL"):
        probe(f"http://127.0.0.1:{port}/api")


def test_silent_server_is_refused_in_bounded_time() -> None:
    refused = pytest.raises(OrchestratorUnreachable, match=r"no answer in 0\.5 s|timed out")
    with socket.create_server(("127.0.0.1", 0)) as listener, refused:
        probe(f"http://127.0.0.1:{listener.getsockname()[1]}/api", seconds=0.5)


@pytest.mark.parametrize("url", ["not a url", "ftp://127.0.0.1/api", "http://127.0.0.1:99999/api"])
def test_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(OrchestratorUnreachable):
        probe(url)


def test_credentials_in_the_address_are_hidden() -> None:
    with pytest.raises(OrchestratorUnreachable) as caught:
        probe("http://someone:hunter2@127.0.0.1:9/api")
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message
