"""A missing Prefect API is noticed in bounded time, whatever answers at its address."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.domain import OrchestratorUnreachable
from flows import prefect_engine
from flows.prefect_engine import describe_fault, probe
from tests.service import closed_port


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


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("{web}/500", "HTTP 500"),
        ("{web}/404", "HTTP 404"),
        ("{web}/302", "HTTP 302"),
        ("{web}/200", "does not come from Prefect"),
        ("{web}/trickle", r"no answer in 0\.5 s|timed out"),
        ("{silent}/api", r"no answer in 0\.5 s|timed out"),
        ("{closed}/api", "correct PREFECT_API_URL"),
        ("http://someone:hunter2@127.0.0.1:9/api", "host 127.0.0.1"),
        ("not a url", "correct PREFECT_API_URL"),
        ("ftp://127.0.0.1/api", "correct PREFECT_API_URL"),
        ("http://127.0.0.1:99999/api", "correct PREFECT_API_URL"),
    ],
)
def test_anything_else_is_refused_in_bounded_time(
    web: str, monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    monkeypatch.setattr(prefect_engine, "PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = {
            "web": web,
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "closed": f"http://127.0.0.1:{closed_port()}",
        }
        with pytest.raises(OrchestratorUnreachable, match=why) as caught:
            probe(url.format(**places))
    assert caught.value.message.startswith("No Prefect API answers at PREFECT_API_URL")
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("error", "words"),
    [(TimeoutError(), "no answer in 2 s"), (None, "no answer in 2 s"), (OSError(), "no reason given")],
)
def test_error_without_text_is_described_in_words(error: Exception | None, words: str) -> None:
    assert describe_fault(error, 2) == words
