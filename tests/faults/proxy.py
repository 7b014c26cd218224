"""A TCP proxy in front of an HTTP server that drops, delays or fails requests on demand."""

import contextlib
import math
import socket
import threading
import time
from typing import Self
from urllib.parse import urlsplit

FULL = '{"exception_message": "Internal Server Error", "detail": "database or disk is full"}'
"""An answer like that of Prefect when its database cannot be written."""


class Proxy:
    """Forwards everything by default; listens while its `with` block runs."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._path = parts.path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = {self._listener}
        self._dead = False
        self._lock = threading.Lock()
        self._delay = 0.0
        self._failure = 0
        self._failures = 0.0
        self._back = threading.Event()
        self._back.set()

    @property
    def url(self) -> str:
        """Return the URL of the target through this proxy."""
        return f"http://127.0.0.1:{self._port}{self._path}"

    def __enter__(self) -> Self:
        self._port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._back.set()
        self.die()

    def die(self) -> None:
        """Close every connection, and refuse new ones permanently."""
        with self._lock:
            self._dead = True
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            # Closing alone would not end the thread that reads from the connection.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def hang(self) -> None:
        """Accept connections and requests, and answer nothing."""
        self._back.clear()

    def go_on(self) -> None:
        """Answer again, also the waiting requests."""
        self._back.set()

    def delay(self, seconds: float) -> None:
        self._delay = seconds

    def fail(self, status: int, times: float = math.inf) -> None:
        """Answer the next `times` requests with this status."""
        self._failure, self._failures = status, times

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            with self._lock:
                if self._dead:
                    return
                self._sockets |= {client, server}
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
            while data := client.recv(65536):
                self._back.wait()
                time.sleep(self._delay)
                if self._failures > 0:
                    self._failures -= 1
                    head = f"HTTP/1.1 {self._failure} Out of order\r\nContent-Length: {len(FULL)}\r\n"
                    kind = "Content-Type: application/json\r\nConnection: close\r\n\r\n"
                    client.sendall(f"{head}{kind}{FULL}".encode())
                    return
                server.sendall(data)

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
