"""Generate docs/pictures/prefect_*.png: a real run in the Prefect UI.

    python examples/make_prefect_pictures.py [--out FOLDER]

Serves the API and Prefect on free ports, and runs the sample against a mock Slack where one channel is
archived.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from examples.devtools import browser, find_chromium  # noqa: E402  # found on the path from here
from examples.make_sample import write_sample  # noqa: E402
from examples.mock_slack import MockSlack  # noqa: E402

REGIONS = {"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts", "APAC": "apac-risk-alerts"}
WIDTH, HEIGHT = 1280, 860
START_SECONDS = 180
SETTLE_SECONDS = 6
"""Seconds to wait for the UI, which does not report when it has finished drawing."""


def main() -> None:
    """Write the pictures; exit with an error if there is no Chromium."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MockSlack() as slack:
        slack.fail("apac-risk-alerts", 410)
        source = Path(folder) / "monthly_account_status.parquet"
        write_sample(source)
        with served(Path(folder), slack.url) as (api, prefect):
            answer = httpx.post(
                f"{api}/runs", json={"source_uri": source.as_uri(), "month": "2026-01-01"}, timeout=120
            )
            run = httpx.get(f"{api}/runs/{answer.json()['run_id']}").json()
            time.sleep(2)  # Task runs reach Prefect as events, some time after the run.
            found = httpx.post(f"{prefect}/api/artifacts/filter", json={}).json()
            report = next(artifact["id"] for artifact in found if artifact["key"] == "risk-alerts-report")
            pages = {
                "prefect_run": f"{prefect}/runs/flow-run/{run['flow_run_id']}",
                "prefect_report": f"{prefect}/artifacts/artifact/{report}",
            }
            with browser(find_chromium()) as tab:
                tab.size(WIDTH, HEIGHT)
                for name, address in pages.items():
                    tab.open(address)
                    time.sleep(SETTLE_SECONDS)
                    (options.out / f"{name}.png").write_bytes(tab.picture())
                    print(options.out / f"{name}.png")


@contextmanager
def served(folder: Path, slack: str) -> Iterator[tuple[str, str]]:
    """Serve both as `make serve` does; yield the URLs of the API and of Prefect."""
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
            [sys.executable, "-m", "cli", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            _wait_for(f"{prefect}/api/health")
            _wait_for(f"{api}/health")
            yield api, prefect
        finally:
            server.terminate()
            server.wait()


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
