"""Prefect's own server as a child process that starts in its own time and can't outlive its parent.

Prefect can start one by itself, but gives up after 20 s (a new `PREFECT_HOME` on a slow machine takes longer)
and leaves it running when the parent is killed. Here the parent holds the write end of the child's standard
input: however the parent ends, kill -9 included, the child reads the end of file and stops.

The first half of this module is the parent's and imports nothing of Prefect; the second is the child's.
"""

import contextlib
import fcntl
import logging
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

STARTUP_SECONDS = 180
"""The longest that a start may take; a child that dies is noticed at once."""

STOP_SECONDS = 6
"""The longest that the child may take to write down what it was told and end."""

ROOM_BYTES = 6 * 1024 * 1024
"""What a home must have room for: about a new database and its write-ahead log."""

MIGRATED_DATABASE = "MIGRATED_PREFECT_DATABASE"
"""The variable that may name a database that Prefect has migrated, as the image does: a new home begins
with a copy of it, as migrating a new one costs seconds that a container would pay at each start."""

_TEMPORARY_HOME = "--temporary-home"

_CHILD_ENVIRONMENT = {
    # Only the services that record runs: no scheduler, no late runs, no UI.
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    # A run needs no block types, and registering them costs a new database three seconds. Prefect would note
    # in its home that they are registered, and a real server on that home would then go without.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

log = logging.getLogger(__name__)


class LocalServerFailed(Exception):
    """The server did not come up; the message says why, in one line."""


class LocalServer:
    """A running Prefect server on a free loopback port, on this user's `PREFECT_HOME`."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    def start(cls) -> "LocalServer":
        """Start a server and wait until it answers; raises `LocalServerFailed`.

        A home that can't be used (read-only, full, left by a newer Prefect) costs this run its place in
        Prefect's history, not the run: the second try keeps its database in a temporary folder.
        """
        try:
            return cls._start()
        except LocalServerFailed as failure:
            log.warning("Prefect's home can't be used, so this run is in no history: %s", failure)
            return cls._start(_TEMPORARY_HOME)

    @classmethod
    def _start(cls, *options: str) -> "LocalServer":
        with tempfile.TemporaryFile() as errors:
            # -P: this folder must not come first on the child's path. A session of its own, so that Ctrl-C
            # reaches only the parent and the end of its run is still recorded.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
                [sys.executable, "-P", __file__, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **_CHILD_ENVIRONMENT},
                start_new_session=True,
            )
            try:
                url = _first_line(process, STARTUP_SECONDS)
            except BaseException:
                process.kill()
                _reap(process)
                raise
            if not url:
                process.kill()
                _reap(process)
                raise LocalServerFailed(_reason(errors) or "Prefect's local server did not start")
        return cls(process, url)

    @property
    def running(self) -> bool:
        """Whether the child is still there."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Let the child finish its records, and wait for its end."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        _reap(self._process)


def _first_line(process: "subprocess.Popen[bytes]", seconds: float) -> str:
    """Answer with the child's first line, or with nothing when it ended or took too long."""
    output = process.stdout
    if output is None:
        return ""
    ready, _, _ = select.select([output], [], [], seconds)
    return output.readline().decode().strip() if ready else ""


def _reason(errors: IO[bytes]) -> str:
    """Give the last line that names an error, else the last: uvicorn's closing words say nothing."""
    errors.seek(0)
    lines = [line.rstrip() for line in errors.read().decode(errors="replace").split("\n") if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines or [""])[-1].strip()


def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Leave neither a zombie nor an open pipe."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _serve(*, temporary_home: bool) -> None:
    """Be the child: serve until standard input ends, having said where on standard output."""
    # Whatever Prefect prints must not be taken for the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with _home(temporary=temporary_home) as home:
        os.environ["PREFECT_HOME"] = str(home)
        _run_server(home, answer)


@contextlib.contextmanager
def _home(*, temporary: bool) -> Iterator[Path]:
    if temporary:
        # Named by variable, a database or a path elsewhere would be as unusable as before.
        for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
            os.environ.pop(name, None)
        with tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True) as folder:
            _require_room(Path(folder))
            yield Path(folder)
    else:
        home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
        home.mkdir(parents=True, exist_ok=True)
        _require_room(home)
        yield home


def _require_room(home: Path) -> None:
    """Raise `OSError` for a full disk here and at once: Prefect takes many seconds to fail on it."""
    with tempfile.TemporaryFile(dir=home) as file:
        file.write(bytes(ROOM_BYTES))


def begin_with_migrated_database(database: Path) -> None:
    """Copy the migrated database, unless there is one; what can't be copied, Prefect makes."""
    migrated = os.environ.get(MIGRATED_DATABASE)
    if not migrated or database.exists():
        return
    unfinished = database.with_suffix(".unfinished")
    with contextlib.suppress(OSError):
        shutil.copyfile(migrated, unfinished)
        unfinished.rename(database)


def _run_server(home: Path, answer: IO[str]) -> None:
    # Imported by the child alone, and only once its home is known.
    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415

    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="error", lifespan="on", access_log=False))
    # Two servers that migrate one database at once spoil it for each other.
    lock = (home / ".account-risk-alerts.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    begin_with_migrated_database(home / "prefect.db")
    # Bound here rather than chosen by the parent, so no one can take the port in between.
    listener = socket.create_server(("127.0.0.1", 0))

    def announce() -> None:
        while not server.started:
            if server.should_exit:
                return
            time.sleep(0.02)
        lock.close()
        # From here on no one reads standard error.
        logging.disable(logging.CRITICAL)
        answer.write(f"http://127.0.0.1:{listener.getsockname()[1]}/api\n")
        answer.flush()

    def stop_with_parent() -> None:
        # Not through `sys.stdin`: held by a thread when Python ends, its lock is a fatal error, whose words
        # would hide why the server did not start.
        while os.read(0, 1024):
            pass
        server.should_exit = True
        # A client that holds its connection, or a stuck database, must not keep an orphan alive.
        time.sleep(STOP_SECONDS - 2)
        server.force_exit = True

    for watch in (announce, stop_with_parent):
        threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    _serve(temporary_home=_TEMPORARY_HOME in sys.argv)
