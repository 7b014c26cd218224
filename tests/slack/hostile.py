"""A real HTTP server with scripted faults for each path, which records its requests.

    with HostileSlack() as slack:
        slack.script("/amer", answer(429, headers={"Retry-After": "1"}), answer(200, "ok"))
        ...
        assert [request.path for request in slack.requests] == ["/amer", "/amer"]

The last reply of a script repeats; a path without a script is answered `ok`.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from tests.waiting import HANG_SECONDS

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """A complete request: raw path, headers in lower case, body, and monotonic seconds."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def message(self) -> Any:
        return json.loads(self.body)


def answer(status: int, body: str = "", *, headers: dict[str, str] | None = None) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        data = body.encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()

    return reply


def slowly(seconds: float, then: Reply) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await then(writer)

    return reply


def held(released: Callable[[], bool], then: Reply) -> Reply:
    """Answer once the condition is true."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        while not released():  # noqa: ASYNC110  # another thread makes it true
            await asyncio.sleep(0.01)
        await then(writer)

    return reply


def after(act: Callable[[], object], then: Reply) -> Reply:
    """Call `act` in a thread, then answer."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(act)
        await then(writer)

    return reply


def raw(data: bytes) -> Reply:
    """Return a reply that writes these bytes and closes the connection."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return reply


def trickle(start: bytes, drop: bytes, every: float = 0.02) -> Reply:
    """Return a reply that writes `start`, then `drop` again and again, and never ends."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every)

    return reply


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection (RST) instead of closing it."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class HostileSlack:
    """The server, in its own thread, on a free port of the host.

    A `greeting` is applied to each connection instead of reading from it.
    """

    def __init__(self, greeting: Reply | None = None, host: str = "127.0.0.1") -> None:
        # Listens from the start, so that the address is known before the `with` block.
        self._socket = socket.create_server((host, 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self.requests: list[Received] = []
        self._scripts: dict[str, list[Reply]] = {}
        self._greeting = greeting
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._serve, sock=self._socket)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(HANG_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(HANG_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def script(self, path: str, *replies: Reply) -> None:
        """Set the replies to the next requests of a path; the last reply repeats."""
        self._scripts[path] = list(replies)

    def received(self, path: str) -> list[Received]:
        return [request for request in self.requests if request.path == path]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A client may disconnect at any time, and the end of the test cancels open connections.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self._greeting is not None:
                await self._greeting(writer)
            else:
                request = await _read(reader)
                self.requests.append(request)
                await self.reply_to(request)(writer)
        writer.close()

    def reply_to(self, request: Received) -> Reply:
        """Return the next reply of the script of the request's path."""
        replies = self._scripts.get(request.path) or [answer(200, "ok")]
        return replies.pop(0) if len(replies) > 1 else replies[0]


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(first.split(" ")[1], headers, body, time.monotonic())
