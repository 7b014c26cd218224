"""Generate the pictures of docs/pictures from real runs of the sample: `make pictures`.

    python examples/make_pictures.py [--out FOLDER]

- `slack_message.png`: two messages of `preview.json` in this folder, drawn by Chromium in the style of Slack;
- `terminal.png`: the report of the batch job on a terminal of 80 columns;
- `run_page_*.png`, `prefect_*.png`: the page of a run of the API, and the same run in the Prefect UI.

The mock Slack has an archived channel, and gives two messages of another channel an answer that makes them
unconfirmed. Needs Chromium, and for the look of the text the Debian packages fonts-lato and
fonts-noto-color-emoji.
"""

import argparse
import html
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from examples.demo import MONTH, REGIONS, environment_without_settings  # noqa: E402  # found on the path from here
from examples.devtools import Tab, browser  # noqa: E402
from examples.make_sample import write_sample  # noqa: E402
from examples.mock_slack import MockSlack  # noqa: E402

COLUMNS = 80
SHOWN = ("ACC-90005", "ACC-90031")
START_SECONDS = 180
SETTLE_SECONDS = 6
"""Seconds to wait for Prefect's UI, which does not report when it has finished drawing."""

TERMINAL_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #0c0c0c; color: #d9d9d9; }}
pre {{ margin: 0; padding: 14px 16px; font: 14px/1.4 "DejaVu Sans Mono", "Noto Color Emoji", monospace; }}
{stylesheet}</style><pre>{code}</pre>"""
SLACK_STYLE = """
body { margin: 0; padding: 14px; background: #f3f3f5; display: flex; gap: 14px; align-items: flex-start;
  font: 15px/1.45 Lato, "Noto Sans", "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #1d1c1d; }
article { background: #fff; border: 1px solid #ddd; border-radius: 12px; padding: 12px 14px; flex: 1;
  min-width: 0; box-sizing: border-box; }
.from { display: flex; gap: 8px; align-items: center; margin-bottom: 4px; }
.from i { width: 32px; height: 32px; border-radius: 6px; background: #611f69; color: #fff; font-style: normal;
  display: grid; place-items: center; font-size: 17px; }
.from small { background: #e8e8e8; border-radius: 3px; padding: 0 4px; color: #616061; font-size: 10px; }
h2 { font-size: 18px; line-height: 1.3; margin: 6px 0 8px; }
p { margin: 6px 0; }
dl { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; margin: 8px 0; }
dl div, p { overflow-wrap: anywhere; }
a { color: #1264a3; text-decoration: none; }
footer { color: #616061; font-size: 12px; margin-top: 6px; }
"""


def main() -> None:
    """Write the pictures; exit with an error if there is no Chromium."""
    parser = argparse.ArgumentParser(description="Generate the pictures.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    out = parser.parse_args().out
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is needed (apt-get install chromium)")
    with tempfile.TemporaryDirectory() as name, MockSlack() as slack, browser(chromium) as tab:
        folder = Path(name)
        write_sample(folder / "status.parquet")
        slack.fail("apac-risk-alerts", 410)
        environment = {
            **environment_without_settings(),
            "PREFECT_HOME": str(folder / "prefect"),
            "SLACK_WEBHOOK_BASE_URL": slack.url,
            "SLACK_CHANNEL_RATE": "5",
            "REGIONS": REGIONS,
        }
        page = folder / "page.html"
        page.write_text(slack_page(), encoding="utf-8")
        save(tab, page.as_uri(), out / "slack_message.png", (920, 304))
        terminal, lines = terminal_page(folder, environment)
        page.write_text(terminal, encoding="utf-8")
        save(tab, page.as_uri(), out / "terminal.png", (760, int(19.6 * (lines + 1.5))))
        # A status that is neither success nor failure makes an alert unconfirmed.
        slack.fail("emea-risk-alerts", 101, times=2)
        with served(folder, environment) as (api, prefect):
            save_run(tab, folder, api, prefect, out)


def save(tab: Tab, url: str, path: Path, size: tuple[int, int], settle: float = 0) -> None:
    """Write a picture of a page; the size is in pixels."""
    tab.size(*size)
    tab.open(url)
    time.sleep(settle)
    path.write_bytes(tab.picture())
    print(path)


def slack_page() -> str:
    """Return a page with two messages side by side."""
    alerts = json.loads((ROOT / "examples" / "preview.json").read_text(encoding="utf-8"))["alerts"]
    articles = "".join(
        '<article><div class="from"><i>🚩</i><b>Account Risk Alerts</b><small>APP</small></div>'
        + "".join(map(_block, alert["message"]["blocks"]))
        + "</article>"
        for alert in alerts
        if alert["account_id"] in SHOWN
    )
    return f'<!doctype html><meta charset="utf-8"><style>{SLACK_STYLE}</style>{articles}'


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "header":
        return f"<h2>{_text(block['text'])}</h2>"
    if block["type"] == "context":
        return f"<footer>{' &nbsp; '.join(map(_text, block['elements']))}</footer>"
    fields = "".join(f"<div>{_text(field)}</div>" for field in block.get("fields", []))
    return f"<p>{_text(block['text'])}</p>" + (f"<dl>{fields}</dl>" if fields else "")


def _text(text: dict[str, Any]) -> str:
    """Return a text object as HTML; the three entities of Slack are valid in HTML too."""
    shown = html.escape(html.unescape(text["text"]), quote=False)
    if text["type"] == "mrkdwn":
        shown = re.sub(r"&lt;(https?://.+?)&gt;", r'<a href="\1">\1</a>', shown)
        shown = re.sub(r"\*([^*]+)\*", r"<b>\1</b>", shown)
    return shown


def terminal_page(folder: Path, environment: dict[str, str]) -> tuple[str, int]:
    """Run the sample on a pseudo terminal; return a page with its report, and the number of lines."""
    terminal, of_the_program = pty.openpty()
    source = (folder / "status.parquet").as_uri()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "run", "--month", MONTH, "--source-uri", source],
        cwd=ROOT,
        env={
            **environment,
            "DATABASE_URL": f"sqlite:///{folder}/terminal.db",
            "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS),
        },
        stdin=of_the_program,
        stdout=of_the_program,
        stderr=subprocess.DEVNULL,
    )
    os.close(of_the_program)
    report = b""
    with suppress(OSError):  # On Linux, reading from a closed terminal is an error.
        while some := os.read(terminal, 65536):
            report += some
    process.wait()
    os.close(terminal)
    prompt = f"$ risk-alerts run --month {MONTH} --source-uri file:///… 2> run.log"
    text = Text.from_ansi(f"{prompt}\n{report.decode()}".replace("\r\n", "\n"))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, emoji=False)
        console.print(text, highlight=False)
    page = console.export_html(code_format=TERMINAL_PAGE, inline_styles=True, theme=MONOKAI)
    return page, len(text.plain.splitlines())


@contextmanager
def served(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Serve both as `make serve` does; yield the URLs of the API and of Prefect."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [str(listener.getsockname()[1]) for listener in (one, other)]
    environment = {
        **environment,
        "API_PORT": ports[0],
        "PREFECT_PORT": ports[1],
        "DATABASE_URL": f"sqlite:///{folder}/served.db",
    }
    api, prefect = (f"http://127.0.0.1:{port}" for port in ports)
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            for url in (f"{prefect}/api/health", f"{api}/health"):
                _wait_for(url)
            yield api, prefect
        finally:
            server.terminate()
            server.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            httpx.get(url, timeout=5)
            return
        time.sleep(0.2)
    sys.exit(f"{url} did not answer in {START_SECONDS} s")


def save_run(tab: Tab, folder: Path, api: str, prefect: str, out: Path) -> None:
    """Run the sample with the API; write the pictures of its page and of Prefect's."""
    body = {"source_uri": (folder / "status.parquet").as_uri(), "month": MONTH}
    run_id = httpx.post(f"{api}/runs", json=body, timeout=120).raise_for_status().json()["run_id"]
    run = httpx.get(f"{api}/runs/{run_id}").json()
    for scheme in ("dark", "light"):
        tab.prefer(scheme)
        save(tab, f"{api}/runs/{run_id}", out / f"run_page_{scheme}.png", (900, 1101))
    time.sleep(2)  # Task runs reach Prefect as events, some time after the run.
    artifacts = httpx.post(f"{prefect}/api/artifacts/filter", json={}).json()
    report = next(artifact["id"] for artifact in artifacts if artifact["key"] == "risk-alerts-report")
    for name, path in (
        ("run", f"runs/flow-run/{run['flow_run_id']}"),
        ("report", f"artifacts/artifact/{report}"),
    ):
        save(tab, f"{prefect}/{path}", out / f"prefect_{name}.png", (1280, 860), SETTLE_SECONDS)


if __name__ == "__main__":
    main()
