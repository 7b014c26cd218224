"""Runs side by side in several processes, on one ledger."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

from core.domain import RunRequest
from core.run import new_run_id, prepare_run
from core.runtime import load_settings
from examples.mock_slack import MockSlack
from flows.start import run_month
from tests.conftest import Serve
from tests.service import row, variables, write_source
from tests.warm import Forked

ALERTS = 40
MONTHS = ("2026-01-01", "2026-02-01")


def run_month_in_threads(environment: dict[str, str], source: str, ids: list[str]) -> None:
    """Run the first month under each id, in threads as the API does."""
    os.environ |= environment
    settings = load_settings()
    request = RunRequest(source, date.fromisoformat(MONTHS[0]))
    with ThreadPoolExecutor(len(ids)) as pool:
        list(pool.map(lambda run_id: run_month(replace(prepare_run(request, settings), run_id=run_id)), ids))


def test_runs_in_two_processes_send_each_alert_once(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
    rows = [row(f"A-{number:02}", month) for number in range(ALERTS) for month in MONTHS]
    source = write_source(tmp_path / "status.parquet", rows)
    service = serve()
    ids = [new_run_id() for _ in range(3)]
    other = Forked(run_month_in_threads, variables(slack.url, tmp_path), source, ids)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda month: service.post("/runs", source, month), [MONTHS[0]] * 3 + [MONTHS[1]])
        )
    assert other.wait() == 0
    assert [answer.status_code for answer in answers] == [200] * 4
    assert "locked" not in service.log.getvalue()
    assert "Traceback" not in service.log.getvalue()

    posted = Counter((item["message"]["text"]) for item in slack.messages)
    assert len(posted) == ALERTS * len(MONTHS)
    assert set(posted.values()) == {1}
    sent: Counter[str] = Counter()
    for run_id in [*ids, *(answer.json()["run_id"] for answer in answers)]:
        run = service.get(f"/runs/{run_id}")
        counts = run["counts"]
        assert run["status"] == "succeeded"
        assert counts["alerts_sent"] + counts["skipped_replay"] == ALERTS == counts["at_risk"]
        sent[run["month"]] += counts["alerts_sent"]
    assert sent == dict.fromkeys(MONTHS, ALERTS)
