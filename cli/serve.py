"""Serve the API in this process, and a Prefect server whose UI shows its runs."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import uvicorn

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
STOP_SECONDS = 30
"""How long the Prefect server may take to stop before it is killed."""


def serve_both(api_port: int, prefect_port: int) -> None:
    """Serve until stopped, then stop the API before Prefect; raise `ClickException` for a taken port."""
    # Handle SIGTERM like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for port in (api_port, prefect_port):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            # Python's own text repeats the address.
            why = f"port {port} cannot be used: {os.strerror(error.errno or 0)}; set API_PORT or PREFECT_PORT"
            raise click.ClickException(why) from None
    prefect_url = f"http://{HOST}:{prefect_port}"
    with suppress(KeyboardInterrupt), _prefect_server(prefect_port, prefect_url):
        click.echo(f"API         http://{HOST}:{api_port}/docs")
        click.echo(f"Prefect UI  {prefect_url} (up within a minute; until then, runs are refused)")
        os.environ["PREFECT_API_URL"] = f"{prefect_url}/api"
        # The API is given by its name, because the command line must not import it.
        uvicorn.run("api.app:app", host=HOST, port=api_port, workers=1)


@contextmanager
def _prefect_server(port: int, url: str) -> Iterator[None]:
    """Run a Prefect server for as long as the context lasts."""
    environment = {
        # No telemetry.
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Version 2 of the UI calls amplitude.com even so.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # The UI in the browser calls this address.
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        # Keep the concurrency slots in files, so that a restarted server can free those of dead runs.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    app = ["--factory", "cli.prefect_server:create_app", "--app-dir", str(ROOT)]
    options = ["--host", HOST, "--port", str(port), "--log-level", "warning", "--workers", "1"]
    # A session of its own, so that Ctrl-C does not stop Prefect before the API.
    server = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments from this file
        [sys.executable, "-P", "-m", "uvicorn", *app, *options],
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield
    finally:
        server.terminate()
        # A server that is too slow is killed, also after a second Ctrl-C: it must not outlive this program.
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            server.wait(STOP_SECONDS)
        server.kill()
        server.wait()
