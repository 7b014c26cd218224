"""Set up a run that a test stops while it sends, and check the state that it leaves."""

import os
from pathlib import Path
from typing import Any

from tests.service import row, variables, write_source
from tests.slack.hostile import HostileSlack, answer, slowly

ALERTS = 30


def environment(slack: HostileSlack, folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a run; Slack answers slowly, so that a signal arrives while it sends."""
    slack.script("/amer", slowly(0.3, answer(200, "ok")))
    return os.environ | variables(slack.url, folder, REGIONS='{"AMER": "amer"}', **more)


def source(folder: Path) -> str:
    """Write a source whose alerts all go to one channel; return its URI."""
    return write_source(folder / "status.parquet", [row(f"A-{number:02}") for number in range(ALERTS)])


def check(run: dict[str, Any], slack: HostileSlack) -> None:
    """Assert that the run is closed, adds up, and has the result of every request."""
    counts = run["counts"]
    assert (run["status"], run["error"]["code"]) == ("failed", "interrupted")
    assert counts["alerts_sent"] == len(slack.requests)
    assert 0 < counts["alerts_sent"] < ALERTS
    assert (counts["unconfirmed"], counts["failed_deliveries"]) == (0, ALERTS - counts["alerts_sent"])
