"""A real HTTP server that does to a client whatever a test asks: scripted by path, and it remembers.

    with HostileSlack() as slack:
        slack.script("/amer", answer(429, headers={"Retry-After": "1"}), answer(200, "ok"))
        ...
        assert [request.path for request in slack.requests] == ["/amer", "/amer"]

The last reply of a script goes on for ever; a path without one is answered `ok`.
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
from types import TracebackType
from typing import Any, Self

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came in whole: raw path, headers in lower case, body, and monotonic seconds."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def message(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def answer(status: int, body: str = "", *, headers: dict[str, str] | None = None) -> Reply:
    """Answer properly."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        data = body.encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()

    return reply


def slowly(seconds: float, then: Reply) -> Reply:
    """Answer after a while."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await then(writer)

    return reply


def raw(data: bytes) -> Reply:
    """Write these bytes, whatever they are, and hang up."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return reply


def trickle(start: bytes, drop: bytes, every: float = 0.02) -> Reply:
    """Write `start`, then a `drop` every so many seconds, and never end."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every)

    return reply


async def silence(writer: asyncio.StreamWriter) -> None:
    """Say nothing, for ever."""
    await asyncio.Event().wait()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection (RST), rather than closing it."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class HostileSlack:
    """The server, in a thread of its own, on a free port of 127.0.0.1.

    `greeting`, when given, is done to each connection instead of reading anything from it.
    """

    def __init__(self, greeting: Reply | None = None) -> None:
        self.requests: list[Received] = []
        self._scripts: dict[str, list[Reply]] = {}
        self._greeting = greeting
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(5)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop every connection, and free the port."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, path: str, *replies: Reply) -> None:
        """Set what the next requests of a path get, one after the other; the last one for ever."""
        self._scripts[path] = list(replies)

    def received(self, path: str) -> list[Received]:
        """Give the requests of one path, oldest first."""
        return [request for request in self.requests if request.path == path]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A client may go at any moment, and the end of the test cancels what is left.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self._greeting is not None:
                await self._greeting(writer)
            else:
                request = await _read(reader)
                self.requests.append(request)
                await self._next_reply(request.path)(writer)
        writer.close()

    def _next_reply(self, path: str) -> Reply:
        replies = self._scripts.get(path) or [answer(200, "ok")]
        return replies.pop(0) if len(replies) > 1 else replies[0]


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(first.split(" ")[1], headers, body, time.monotonic())
