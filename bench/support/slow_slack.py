"""A Slack that accepts every message after the same pause. It is a process of its own, with its own GIL.

    python bench/support/slow_slack.py [--pause 0.05]

Prints its port. `GET /` returns the number of messages since the last `GET /`. Ends with its standard input,
so that it never outlives its parent.
"""

import argparse
import asyncio
import contextlib
import sys

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"


class SlowSlack(asyncio.Protocol):
    """One connection, with one request after the other, as httpx sends them."""

    posted = 0

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101  # asyncio's promise about TCP
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request: after the pause, or with the count."""
        self._received += data
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received.clear()
        if head.startswith(b"GET"):
            count = str(SlowSlack.posted).encode()
            SlowSlack.posted = 0
            self._answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(count), count))
            return
        SlowSlack.posted += 1
        asyncio.get_running_loop().call_later(self._pause, self._answer, OK)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(pause: float) -> None:
    """Serve on a free loopback port until standard input ends."""
    server = await asyncio.get_running_loop().create_server(lambda: SlowSlack(pause), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Slack that takes every message, each after a pause.")
    parser.add_argument("--pause", type=float, default=0.05, metavar="SECONDS")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().pause))
