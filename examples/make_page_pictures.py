"""Generate docs/pictures/run_page_*.png: the page of a real run.

    python examples/make_page_pictures.py [--out FOLDER]

Runs a month of the sample. The mock Slack has an archived channel, and gives two messages of another channel
an answer that makes them unconfirmed.
"""

import argparse
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from examples import make_examples  # noqa: E402  # found on the path from here
from examples.devtools import browser, find_chromium  # noqa: E402
from examples.make_sample import write_sample  # noqa: E402
from examples.mock_slack import MockSlack  # noqa: E402

MONTH = "2026-01-01"
WIDTH, HEIGHT = 900, 1101


def main() -> None:
    """Write the pictures; exit with an error if there is no Chromium."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, MockSlack() as slack:
        source = Path(folder) / "monthly_account_status.parquet"
        write_sample(source)
        make_examples.set_environment(Path(folder), slack.url)
        with make_examples.served() as client, browser(find_chromium()) as tab:
            slack.fail("apac-risk-alerts", 410)
            # A status that is neither success nor failure makes an alert unconfirmed.
            slack.fail("emea-risk-alerts", 101, times=2)
            body = {"source_uri": source.as_uri(), "month": MONTH}
            run_id = client.post("/runs", json=body).raise_for_status().json()["run_id"]
            tab.size(WIDTH, HEIGHT)
            for scheme in ("light", "dark"):
                tab.prefer(scheme)
                tab.open(f"{client.base_url}/runs/{run_id}")
                if tab.status != HTTPStatus.OK:
                    sys.exit(f"The page of run {run_id} answered HTTP {tab.status}: {tab.text()}")
                picture = options.out / f"run_page_{scheme}.png"
                picture.write_bytes(tab.picture())
                print(picture)


if __name__ == "__main__":
    main()
