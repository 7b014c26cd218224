"""Serve the API, and a Prefect server whose UI shows its runs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

HOST = "127.0.0.1"
STOP_SECONDS = 30
"""How long a server may take to stop before it is killed."""


def serve_both(api_port: int, prefect_port: int) -> None:
    """Serve until stopped, then stop both servers; raise `ClickException` if one of them ends by itself."""
    # Handle SIGTERM like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prefect_url = f"http://{HOST}:{prefect_port}"
    with (
        suppress(KeyboardInterrupt),
        _uvicorn(
            ["--factory", "prefect.server.api.server:create_app", "--log-level", "warning"],
            prefect_port,
            # No telemetry.
            DO_NOT_TRACK="1",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            # The UI in the browser calls this address.
            PREFECT_SERVER_UI_API_URL=f"{prefect_url}/api",
            # Keep the concurrency slots in files, so that a restarted server can free those of dead runs.
            PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem",
        ) as prefect,
        # The API is given by its name, because the command line must not import it.
        _uvicorn(["api.app:app"], api_port, PREFECT_API_URL=f"{prefect_url}/api") as api,
    ):
        click.echo(f"API         http://{HOST}:{api_port}/docs")
        click.echo(f"Prefect UI  {prefect_url}")
        click.echo("For some seconds, until Prefect answers, runs are refused with 503. Ctrl-C stops both.")
        while prefect.poll() is None and api.poll() is None:
            time.sleep(0.5)
        name, code = ("Prefect", prefect.poll()) if api.poll() is None else ("the API", api.poll())
        raise click.ClickException(f"{name} has ended by itself (exit code {code})")


@contextmanager
def _uvicorn(app: list[str], port: int, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server for as long as the context lasts."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        # Python's own text repeats the address.
        why = f"port {port} cannot be used: {os.strerror(error.errno or 0)}; set API_PORT or PREFECT_PORT"
        raise click.ClickException(why) from None
    # A session of its own, so that Ctrl-C reaches only this process, which stops the API before Prefect.
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments from this file
        [sys.executable, "-m", "uvicorn", *app, "--host", HOST, "--port", str(port)],
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        # A server that is too slow is killed, also after a second Ctrl-C: none may outlive this program.
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()
