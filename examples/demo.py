"""`make run`: run the service on a sample source and against a mock Slack.

The sample, the ledger and the log of the last run stay in `.demo/`. So a second `make run` is a replay of the
same month, which posts nothing.
"""

import html
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.runtime import CONFIG_FILE, Settings  # noqa: E402  # found once the checkout is on the path
from examples.make_sample import write_sample  # noqa: E402
from examples.mock_slack import MockSlack  # noqa: E402

DEMO = ROOT / ".demo"
SOURCE = DEMO / "monthly_account_status.parquet"
LOG = DEMO / "run.log"
MONTH = "2026-01-01"
REGIONS = '{"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts", "APAC": "apac-risk-alerts"}'
WIDTH = 80
LOG_TAIL = 20

_LOG_LINE = re.compile(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} [A-Z]+ +", re.MULTILINE)


def main() -> int:
    """Run the demo; return the exit code of the run."""
    # The locale of a bare container has no emoji.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    DEMO.mkdir(exist_ok=True)
    if not SOURCE.exists():
        # The sample gets its name when it is complete, so that Ctrl-C leaves no half of it.
        unfinished = SOURCE.with_suffix(".unfinished")
        write_sample(unfinished)
        unfinished.rename(SOURCE)
    print(f"Source  {SOURCE.relative_to(ROOT)}: 24 months, 400 accounts")
    with MockSlack() as slack:
        print(f"Slack   a mock on {slack.url}")
        print("Run     without a Prefect server; `make serve` shows runs in the Prefect UI", flush=True)
        code, report = run_batch_job(slack.url)
        messages = slack.messages
    log = LOG.read_text(encoding="utf-8", errors="replace")
    headline("MESSAGES IN SLACK")
    show_slack(messages)
    headline("REPORT OF THE RUN")
    print("\n".join(line.rstrip() for line in report.strip().splitlines()) or "(nothing)")
    if mail := support_mail(log):
        headline("MAIL TO SUPPORT (logged, because SMTP_HOST is not set)")
        print(mail)
    headline("SUMMARY")
    show_end(code, messages, report, log)
    return code


def run_batch_job(slack_url: str) -> tuple[int, str]:
    """Run the month with the command line; return its exit code and its report."""
    environment = environment_without_settings() | {
        "SLACK_WEBHOOK_BASE_URL": slack_url,
        "REGIONS": REGIONS,
        # A relative path, so that no character of the checkout's path needs escaping.
        "DATABASE_URL": "sqlite:///.demo/risk_alerts.db",
        # No pacing, because the mock has no limit.
        "SLACK_CHANNEL_RATE": "0",
        "PREFECT_HOME": str(DEMO / "prefect"),
        "COLUMNS": str(WIDTH),
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-m", "cli", "run"]
    command += ["--source-uri", SOURCE.as_uri(), "--month", MONTH]
    with (
        LOG.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
        ) as job,
    ):
        try:
            report, _ = job.communicate()
        except KeyboardInterrupt:
            # The run got Ctrl-C too, and still records the result of its alerts.
            job.wait()
            raise
    return job.returncode, report


def environment_without_settings() -> dict[str, str]:
    """Return the environment without the user's settings of the real service and of Prefect."""
    ours = {name.upper() for name in Settings.model_fields} | {CONFIG_FILE}
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in ours and not name.startswith("PREFECT_")
    }


def show_slack(messages: list[dict[str, Any]]) -> None:
    """Print the messages of each channel, the first one in full."""
    if not messages:
        print("None.")
        return
    by_channel: dict[str, list[str]] = defaultdict(list)
    for item in messages:
        # Slack shows its three entities as HTML does.
        by_channel[item["channel"]].append(html.unescape(item["message"]["text"]))
    for number, (channel, texts) in enumerate(sorted(by_channel.items())):
        print(f"\n#{channel}: {len(texts)} messages" if len(texts) > 1 else f"\n#{channel}: 1 message")
        for position, text in enumerate(texts):
            lines = text.splitlines()
            if number == position == 0:
                for line in lines:
                    print(f"  {line}")
                print("  (the others shortened)")
                continue
            facts = [line for line in lines if line.startswith(("At Risk for: ", "ARR: "))]
            print(f"  {lines[0]}")
            print(f"       {', '.join(facts)}")


def support_mail(log: str) -> str:
    """Return the notification from a log: the record that begins with its recipient."""
    records = _LOG_LINE.split(log)
    return next((record.strip() for record in records if record.startswith("To ")), "")


def show_end(code: int, messages: list[dict[str, Any]], report: str, log: str) -> None:
    """Print what happened, and what to do next."""
    if code:
        print("The run failed. Its report says why. The end of its log:")
        print("\n".join(log.splitlines()[-LOG_TAIL:]) or "(nothing)")
        print("To start over: rm -rf .demo")
    elif messages:
        channels = len({item["channel"] for item in messages})
        print(f"{len(messages)} alerts were posted to {channels} channels.")
        print("Type `make run` again to replay the same month: nothing is posted twice.")
    else:
        print(f"Nothing was posted: all {skipped(report)} were sent before.")
        print("Every run retries the failed alerts; they fail until their cause is fixed.")
        print("To start over: rm -rf .demo (or `make clean`, which removes .venv as well).")


def skipped(report: str) -> int:
    """Return the number of alerts that the report's counts call sent before."""
    found = re.search(r"([\d,]+) sent before", " ".join(report.split()))
    return int(found[1].replace(",", "")) if found else 0


def headline(text: str) -> None:
    """Print the heading of a section."""
    print(f"\n{'-' * WIDTH}\n{text}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `make run | head` closes stdout early. Without this, Python prints an error when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
