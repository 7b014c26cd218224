"""A mock of Slack's incoming webhooks, which shows the messages and fails on demand.

    python examples/mock_slack.py --port 9000
    SLACK_WEBHOOK_BASE_URL=http://127.0.0.1:9000 …

`POST /{channel}` accepts a message and answers `ok`, as Slack does; any other path does the same, also that
of a single webhook. `GET /messages` returns the accepted messages as JSON, `DELETE /messages` deletes them.
`--fail CHANNEL=STATUS` answers a channel with that status, `--fail CHANNEL=STATUS:TIMES` only that many
times, which shows the retries.
"""

import argparse
import json
import re
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import TextIOWrapper
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

BODY_MAX = 1024 * 1024
BLOCKS_MAX, HEADER_MAX, SECTION_MAX, FIELDS_MAX, FIELD_MAX = 50, 150, 3_000, 10, 2_000

WORDS = {
    400: "invalid_payload",
    403: "action_prohibited",
    404: "channel_not_found",
    410: "channel_is_archived",
}
"""The body that Slack sends with a status of refusal."""


class MockSlack:
    """A mock Slack that serves while its `with` block lasts (port 0: any free port)."""

    def __init__(
        self, port: int = 0, *, host: str = "127.0.0.1", quiet: bool = True, pause: float = 0
    ) -> None:
        self.quiet = quiet
        self.pause = pause
        self._messages: list[dict[str, Any]] = []
        self._failures: dict[str, tuple[int, int | None]] = {}
        self._lock = threading.Lock()
        self._server = _Server((host, port), _Handler)
        self._server.slack = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        """Start the server."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Return the base URL, for `SLACK_WEBHOOK_BASE_URL`."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Return the accepted messages, oldest first: `channel`, `received_at` (ISO 8601), `message`."""
        with self._lock:
            return list(self._messages)

    def clear(self) -> None:
        """Delete the accepted messages."""
        with self._lock:
            self._messages.clear()

    def fail(self, channel: str, status: int, times: int | None = None) -> None:
        """Answer the next `times` messages of a channel (None: all) with `status`."""
        with self._lock:
            self._failures[channel] = (status, times)

    def take(self, channel: str, message: dict[str, Any]) -> int:
        """Store a message, unless the channel is to fail; return the status of the answer."""
        with self._lock:
            status, times = self._failures.get(channel, (200, None))
            if times is not None:
                self._failures[channel] = (status, times - 1) if times > 1 else (200, None)
            if status == HTTPStatus.OK:
                received_at = datetime.now(UTC).isoformat(timespec="milliseconds")
                self._messages.append({"channel": channel, "received_at": received_at, "message": message})
            self._show(channel, message, status)
        return status

    def _show(self, channel: str, message: dict[str, Any], status: int) -> None:
        if self.quiet:
            return
        note = "" if status == HTTPStatus.OK else f"  (answered {status})"
        lines = str(message.get("text") or "(blocks only)").splitlines()
        shown = "\n".join([f"#{channel.removeprefix('#')}{note}", *(f"    {line}" for line in lines)])
        # The reader of a pipe may have ended; Slack would answer all the same.
        with suppress(OSError):
            print(shown, flush=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    slack: MockSlack


class _Handler(BaseHTTPRequestHandler):
    """One request; `http.server` requires the names of the methods."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def do_POST(self) -> None:
        """Accept a message, or refuse it as Slack would."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_MAX:
            self.close_connection = True
            self._answer(HTTPStatus.BAD_REQUEST, "invalid_payload")
            return
        body = self.rfile.read(int(length))
        channel = unquote(urlsplit(self.path).path.removeprefix("/"))
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        refusal = _refusal(message) if channel else "channel_not_found"
        if refusal is not None:
            self._answer(HTTPStatus.BAD_REQUEST if channel else HTTPStatus.NOT_FOUND, refusal)
            return
        status = self.server.slack.take(channel, message)
        time.sleep(self.server.slack.pause)
        self._answer(status, "ok" if status == HTTPStatus.OK else WORDS.get(status, "mock_failure"))

    def do_GET(self) -> None:
        """Return the accepted messages."""
        if self.path != "/messages":
            self._answer(HTTPStatus.NOT_FOUND, "not_found")
            return
        messages = json.dumps(self.server.slack.messages, ensure_ascii=False, indent=2)
        self._answer(HTTPStatus.OK, messages, "application/json")

    def do_DELETE(self) -> None:
        """Delete the accepted messages."""
        if self.path != "/messages":
            self._answer(HTTPStatus.NOT_FOUND, "not_found")
            return
        self.server.slack.clear()
        self._answer(HTTPStatus.OK, "ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write no access log; each message is printed when it is accepted."""

    def _answer(self, status: int, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", "1")
        self.end_headers()
        # The client may have closed the connection.
        with suppress(ConnectionError):
            self.wfile.write(body)


def _refusal(message: Any) -> str | None:
    """Return Slack's error code for a payload, or None; about as strict as Slack."""
    if not isinstance(message, dict):
        return "invalid_payload"
    text, blocks = message.get("text"), message.get("blocks")
    if not (text or blocks) or not isinstance(text, str | None):
        return "invalid_payload"
    if blocks is None:
        return None
    fits = isinstance(blocks, list) and len(blocks) <= BLOCKS_MAX and all(_block_fits(b) for b in blocks)
    return None if fits else "invalid_blocks"


def _block_fits(block: Any) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        return False
    limit = HEADER_MAX if block["type"] == "header" else SECTION_MAX
    fields = block.get("fields", [])
    return (
        ("text" not in block or _text_fits(block["text"], limit))
        and isinstance(fields, list)
        and len(fields) <= FIELDS_MAX
        and all(_text_fits(field, FIELD_MAX) for field in fields)
    )


def _text_fits(text: Any, limit: int) -> bool:
    return isinstance(text, dict) and isinstance(text.get("text"), str) and 0 < len(text["text"]) <= limit


def _failure(value: str) -> tuple[str, int, int | None]:
    """Parse `CHANNEL=STATUS[:TIMES]`."""
    found = re.fullmatch(r"(.+)=([45][0-9]{2})(?::([1-9][0-9]*))?", value)
    if not found:
        raise argparse.ArgumentTypeError("must be CHANNEL=STATUS[:TIMES] with a STATUS from 400 to 599")
    channel, status, times = found.groups()
    return channel, int(status), int(times) if times else None


def main() -> int:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A mock of Slack's incoming webhooks.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="0 = any free one (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="do not print the messages")
    parser.add_argument(
        "--fail",
        type=_failure,
        action="append",
        default=[],
        metavar="CHANNEL=STATUS[:TIMES]",
        help="answer a channel with a status, always or only TIMES times; can be repeated",
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=0,
        metavar="SECONDS",
        help="wait before each answer (default: %(default)s)",
    )
    arguments = parser.parse_args()
    # A locale may have no emoji.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")

    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    try:
        slack = MockSlack(arguments.port, host=arguments.host, quiet=arguments.quiet, pause=arguments.pause)
    except OSError as error:
        print(f"Cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    for channel, status, times in arguments.fail:
        slack.fail(channel, status, times)
    with slack:
        print(f"Mock Slack on {slack.url}", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
