"""Generate docs/pictures/terminal.png: a real run of the batch job on a terminal.

    python examples/make_terminal_picture.py [--out FILE]

Runs the sample on a terminal of 80 columns, against a mock Slack where one channel is archived. The picture
has the report, without the log.
"""

import argparse
import json
import os
import pty
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from examples.devtools import photograph  # noqa: E402  # found on the path from here
from examples.make_sample import write_sample  # noqa: E402
from examples.mock_slack import MockSlack  # noqa: E402

REGIONS = {"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts", "APAC": "apac-risk-alerts"}
COMMAND = ["-m", "cli", "run", "--month", "2026-01-01", "--source-uri"]
COLUMNS = 80
WIDTH, LINE = 760, 19.6
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #0c0c0c; color: #d9d9d9; }}
pre {{ margin: 0; padding: 14px 16px; font: 14px/1.4 "DejaVu Sans Mono", "Noto Color Emoji", monospace; }}
{stylesheet}</style><pre>{code}</pre>"""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "terminal.png")
    options = parser.parse_args()
    prompt = "$ risk-alerts run --month 2026-01-01 --source-uri file:///… 2> run.log"
    text = Text.from_ansi(f"{prompt}\n{run_on_a_terminal()}")
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"), emoji=False)  # noqa: SIM115
    console.print(text, highlight=False)
    html = console.export_html(code_format=PAGE, inline_styles=True, theme=MONOKAI)
    photograph(html, options.out, WIDTH, int(LINE * (len(text.plain.splitlines()) + 1.5)))


def run_on_a_terminal() -> str:
    """Run the sample on a pseudo terminal; return its report."""
    terminal, of_the_program = pty.openpty()
    with tempfile.TemporaryDirectory() as folder, MockSlack() as slack:
        slack.fail("apac-risk-alerts", 410)
        source = Path(folder) / "status.parquet"
        write_sample(source)
        process = subprocess.Popen(
            [sys.executable, *COMMAND, source.as_uri()],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
                "SLACK_WEBHOOK_BASE_URL": slack.url,
                "SLACK_CHANNEL_RATE": "5",
                "REGIONS": json.dumps(REGIONS),
                "TERM": "xterm-256color",
                "COLUMNS": str(COLUMNS),
            },
            stdin=of_the_program,
            stdout=of_the_program,
            stderr=subprocess.DEVNULL,
        )
        os.close(of_the_program)
        sent = b""
        with suppress(OSError):  # On Linux, reading from a closed terminal is an error.
            while some := os.read(terminal, 65536):
                sent += some
        process.wait()
    os.close(terminal)
    return sent.decode().replace("\r\n", "\n")


if __name__ == "__main__":
    main()
