"""Generate the example outputs from the real API on a small source: `make examples`.

    python examples/make_examples.py [--out FOLDER]

`preview.json` is the answer of `POST /preview`, `run.json` that of `GET /runs/{run_id}` after a run against a
Slack where one channel is archived; `slack_message.json` is one of the messages, `support_mail.txt` the mail
to support. The source holds a dozen accounts of the sample that are edge cases. Values that differ from run
to run (ids, times, the place of the source) are replaced by fixed ones.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.runtime import load_settings  # noqa: E402  # found on the path from here
from examples.demo import MONTH, REGIONS, environment_without_settings  # noqa: E402
from examples.make_sample import sample_table  # noqa: E402
from examples.mock_slack import MockSlack  # noqa: E402

ACCOUNTS = (
    "ACC-90001",  # the specification's example
    "ACC-90002",  # a missing month ends the streak
    "ACC-90004",  # at risk for over a year
    "ACC-90005",  # at risk in the whole history
    "ACC-90011",  # a later row is Healthy
    "ACC-90017",  # the same row twice
    "ACC-90021",  # no region
    "ACC-90023",  # a region without a channel
    "ACC-90025",  # an unknown ARR
    "ACC-90026",  # one dollar below the threshold
    "ACC-90029",  # no owner
    "ACC-90031",  # a name with &, < and >
)
ARCHIVED = "apac-risk-alerts"

SOURCE_URI = "gs://bucket/monthly_account_status.parquet"
FIXED = {
    "run_id": "0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c",
    "source_uri": SOURCE_URI,
    "source_version": "generation:1767571200000000",
    "started_at": "2026-02-01T08:00:00Z",
    "finished_at": "2026-02-01T08:00:21Z",
    "sent_at": "2026-02-01T08:00:12Z",
}
"""Fixed values in the examples for values that differ from run to run."""


def make(folder: Path) -> list[Path]:
    """Write the examples into `folder`; return their paths."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        source = scratch / "source.parquet"
        _write_source(source)
        with MockSlack() as slack:
            slack.fail(ARCHIVED, 410)
            _set_environment(scratch, slack.url)
            preview, run = asyncio.run(_ask(source.as_uri()))
            message = next(item for item in slack.messages if "ACC-90005" in item["message"]["text"])
        actual = {run["run_id"]: FIXED["run_id"], run["source_uri"]: SOURCE_URI}
    mail = run["support_message"]
    texts = {
        "preview.json": _json(preview, actual),
        "run.json": _json(run, actual),
        "slack_message.json": _json(message["message"], actual),
        "support_mail.txt": _replaced(f"Subject: {mail['subject']}\n\n{mail['body']}", actual),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]


def _write_source(path: Path) -> None:
    table = sample_table()
    pq.write_table(table.filter(pc.is_in(table["account_id"], value_set=pa.array(ACCOUNTS))), path)


def _set_environment(scratch: Path, slack_url: str) -> None:
    """Set every setting that changes the examples, and unset the user's own."""
    kept = environment_without_settings()
    os.environ.clear()
    os.environ |= kept | {
        "PREFECT_HOME": f"{scratch}/prefect",  # without the user's profile
        "DATABASE_URL": f"sqlite:///{scratch}/ledger.db",
        "SLACK_WEBHOOK_BASE_URL": slack_url,
        "SLACK_CHANNEL_RATE": "0",  # no pacing: the mock has no limit
        "REGIONS": REGIONS,
    }


async def _ask(source_uri: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a preview and a run from the API."""
    # Imported here, because Prefect reads its settings from the environment when it is imported.
    from api.service import create_app  # noqa: PLC0415

    app = create_app(load_settings())
    # Keep the service's log out of the output of this command.
    logging.disable(logging.CRITICAL)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")
    async with app.router.lifespan_context(app), client:
        body = {"source_uri": source_uri, "month": MONTH}
        preview = (await client.post("/preview", json=body)).raise_for_status()
        started = (await client.post("/runs", json=body)).raise_for_status()
        run = (await client.get(f"/runs/{started.json()['run_id']}")).raise_for_status()
        return preview.json(), run.json()


def _json(value: Any, actual: dict[str, str]) -> str:
    return _replaced(json.dumps(_fixed(value), indent=2, ensure_ascii=False) + "\n", actual)


def _fixed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: FIXED[name] if name in FIXED and item is not None else _fixed(item)
            for name, item in value.items()
        }
    return [_fixed(item) for item in value] if isinstance(value, list) else value


def _replaced(text: str, actual: dict[str, str]) -> str:
    for found, fixed in actual.items():
        text = text.replace(found, fixed)
    return text


def main() -> None:
    """Write the examples into the folder of the arguments, by default this one."""
    parser = argparse.ArgumentParser(description="Generate the example outputs.")
    parser.add_argument("--out", type=Path, default=ROOT / "examples")
    for path in make(parser.parse_args().out):
        print(path.name)


if __name__ == "__main__":
    main()
