"""Take the pictures of the Prefect UI, docs/pictures/prefect_*.png, of a real run that `make serve` shows.

    python examples/make_prefect_pictures.py [--out FOLDER] [--chromium PROGRAM]

Serves the API and Prefect on free ports, runs the sample against a mock Slack where one channel is archived,
and looks at the flow run with Chromium through its DevTools.
"""

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from examples.make_sample import write_sample  # noqa: E402  # found on the path from here
from examples.mock_slack import MockSlack  # noqa: E402

REGIONS = {"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts", "APAC": "apac-risk-alerts"}
WIDTH, HEIGHT = 1280, 860
START_SECONDS = 180
SETTLE_SECONDS = 6
"""What the UI takes to draw: it tells nobody when it has."""


def main() -> None:
    """Write the pictures; ends with an error where there is no Chromium."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    if options.chromium is None:
        sys.exit("Chromium was not found: install it, or name it with --chromium")
    with tempfile.TemporaryDirectory() as folder, MockSlack() as slack:
        slack.fail("apac-risk-alerts", 410)
        source = Path(folder) / "monthly_account_status.parquet"
        write_sample(source)
        with served(Path(folder), slack.url) as (api, prefect):
            answer = httpx.post(
                f"{api}/runs", json={"source_uri": source.as_uri(), "month": "2026-01-01"}, timeout=120
            )
            run = httpx.get(f"{api}/runs/{answer.json()['run_id']}").json()
            time.sleep(2)  # Task runs reach Prefect as events, a moment later.
            found = httpx.post(f"{prefect}/api/artifacts/filter", json={}).json()
            report = next(artifact["id"] for artifact in found if artifact["key"] == "risk-alerts-report")
            pages = {
                "prefect_run": f"{prefect}/runs/flow-run/{run['flow_run_id']}",
                "prefect_report": f"{prefect}/artifacts/artifact/{report}",
            }
            photograph(options.chromium, Path(folder), pages, options.out)


@contextmanager
def served(folder: Path, slack: str) -> Iterator[tuple[str, str]]:
    """Serve both as `make serve` does; gives where the API and Prefect are."""
    ports = [_free_port(), _free_port()]
    environment = {
        **os.environ,
        "API_PORT": str(ports[0]),
        "PREFECT_PORT": str(ports[1]),
        "PREFECT_HOME": str(folder / "prefect"),
        "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "SLACK_WEBHOOK_BASE_URL": slack,
        "SLACK_CHANNEL_RATE": "0",
        "REGIONS": json.dumps(REGIONS),
    }
    api, prefect = (f"http://127.0.0.1:{port}" for port in ports)
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            _wait_for(f"{api}/health")
            yield api, prefect
        finally:
            server.terminate()
            server.wait()


def photograph(chromium: str, folder: Path, pages: dict[str, str], out: Path) -> None:
    """Write `{name}.png` of each page, by its address."""
    browser = subprocess.Popen(  # noqa: S603  # the browser that was asked for
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},{HEIGHT}",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        told = folder / "profile" / "DevToolsActivePort"
        while not told.exists():
            time.sleep(0.1)
        port = told.read_text(encoding="ascii").split()[0]
        target = httpx.put(f"http://127.0.0.1:{port}/json/new?about:blank").json()
        with connect(target["webSocketDebuggerUrl"], max_size=None) as page:
            for name, address in pages.items():
                _call(page, "Page.navigate", url=address)
                time.sleep(SETTLE_SECONDS)
                shot = _call(page, "Page.captureScreenshot", format="png")
                (out / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
                print(out / f"{name}.png")
    finally:
        browser.terminate()
        browser.wait()


def _call(page: Any, method: str, **parameters: Any) -> dict[str, Any]:
    page.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while "id" not in (answer := json.loads(page.recv())):
        pass
    result: dict[str, Any] = answer["result"]
    return result


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"{url} did not answer in {START_SECONDS} s")


if __name__ == "__main__":
    main()
