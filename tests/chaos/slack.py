"""A Slack that answers at random, and records its requests and answers."""

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from core.domain import AlertKey

DELIVERED, REFUSED, NO_ANSWER = "delivered", "refused", "no answer"
"""The fate of a request: posted; certainly not posted; unknown to the client."""

ACCOUNT = re.compile(r"/accounts/(\S+)\Z")
TYPES = {"🚩 At Risk": "at_risk", "✅ Recovered": "recovered"}
"""The alert type of a message by the beginning of its first line."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One complete request."""

    month: str
    key: AlertKey
    fate: str


class ChaosSlack:
    """The server, in threads, on a free port; `kind` makes it well-behaved."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self.kind = False
        self.seen: list[Seen] = []
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) == length:  # A run may be killed in the middle of a request.
                    slack._answer(self, json.loads(body)["text"])

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fates(self, month: str) -> dict[AlertKey, Counter[str]]:
        """Return the fates of each alert's requests in the world of a month."""
        with self._lock:
            found: dict[AlertKey, Counter[str]] = {}
            for item in self.seen:
                if item.month == month:
                    found.setdefault(item.key, Counter())[item.fate] += 1
            return found

    def _answer(self, request: BaseHTTPRequestHandler, text: str) -> None:
        found = ACCOUNT.search(text)
        if found is None:
            raise ValueError(f"a message without its details link: {text}")
        account_id = found[1]
        key = AlertKey(account_id, TYPES[text.partition(":")[0]])
        with self._lock:
            # The choice depends on alert and attempt, because the order of requests is not repeatable.
            nth = sum(item.key == key for item in self.seen)
            chance = random.Random(f"{self._seed}/{account_id}/{nth}")  # noqa: S311
            choice, pause = (0.0, 0.0) if self.kind else (chance.random(), chance.random() * 0.15)
            fate = DELIVERED if choice < 0.80 else REFUSED if choice < 0.94 else NO_ANSWER
            # Record the request before answering it: it is posted even if the client dies meanwhile.
            self.seen.append(Seen(account_id.rsplit("-", 1)[0], key, fate))
        time.sleep(pause)
        try:
            if fate == DELIVERED:
                self._say(request, 200, "ok")
            elif fate == NO_ANSWER:
                linger = struct.pack("ii", 1, 0)
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                request.connection.close()
            elif choice < 0.87:
                self._say(request, 500, "rollup_error")
            elif choice < 0.92:
                self._say(request, 429, "rate_limited", {"Retry-After": "1"})
            else:
                self._say(request, 400, "invalid_payload")
        except OSError:
            pass  # The client was killed meanwhile.

    @staticmethod
    def _say(
        request: BaseHTTPRequestHandler, status: int, word: str, headers: dict[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(word)))
        request.end_headers()
        request.wfile.write(word.encode())
