"""Serve the API, and a Prefect server whose UI shows its runs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click
import httpx

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
START_SECONDS = 180
STOP_SECONDS = 30
"""Seconds that a server gets to end; for the API, the time for runs in progress."""


def serve_both(api_port: int, prefect_port: int) -> None:
    """Serve until stopped; then stop both, the API first.

    Raises `ClickException` when one of the two cannot be started or ends by itself.
    """
    # Handle SIGTERM like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _require_free(prefect_port, "Prefect", "PREFECT_PORT")
    _require_free(api_port, "the API", "API_PORT")
    prefect_url = f"http://{HOST}:{prefect_port}"
    api_url = f"http://{HOST}:{api_port}"
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        prefect = stack.enter_context(
            _uvicorn(
                ["--factory", "prefect.server.api.server:create_app", "--log-level", "warning"],
                prefect_port,
                # No telemetry.
                DO_NOT_TRACK="1",
                PREFECT_SERVER_ANALYTICS_ENABLED="false",
                # The UI in the browser calls this address.
                PREFECT_SERVER_UI_API_URL=f"{prefect_url}/api",
                # In files, so that a restarted server can free the slots of dead runs.
                PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem",
            )
        )
        click.echo("Prefect is starting …")
        _wait_until_up(prefect, f"{prefect_url}/api/health", "Prefect")
        # By name, because the command line must not import the API.
        api = stack.enter_context(_uvicorn(["api.app:app"], api_port, PREFECT_API_URL=f"{prefect_url}/api"))
        _wait_until_up(api, f"{api_url}/health", "the API")
        click.echo(f"API         {api_url}/docs")
        click.echo(f"Prefect UI  {prefect_url}")
        click.echo("Ctrl-C stops both.")
        while True:
            for process, name in ((prefect, "Prefect"), (api, "the API")):
                if process.poll() is not None:
                    raise click.ClickException(f"{name} has ended by itself (exit code {process.returncode})")
            time.sleep(0.5)


@contextmanager
def _uvicorn(app: list[str], port: int, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server for as long as the context lasts."""
    # A session of its own, so that Ctrl-C reaches only this process, which decides the order.
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments from this file
        [sys.executable, "-m", "uvicorn", *app, "--host", HOST, "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            # Too slow, or a second Ctrl-C: no server may outlive this program.
            process.kill()
            process.wait()


def _require_free(port: int, name: str, variable: str) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except (OSError, OverflowError) as error:
        raise click.ClickException(
            f"port {port} for {name} cannot be used ({error}); choose another by {variable}"
        ) from None


def _wait_until_up(process: "subprocess.Popen[bytes]", url: str, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        # Any answer will do, because an API that reports a problem is up.
        with suppress(httpx.HTTPError):
            httpx.get(url, timeout=5)
            return
        time.sleep(0.2)
    code = process.poll()
    why = f"no answer in {START_SECONDS} s" if code is None else f"exit code {code}"
    raise click.ClickException(f"{name} did not start ({why})")
