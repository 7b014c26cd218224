"""Runs side by side in several processes, on one ledger."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.service import row, write_source

ROOT = Path(__file__).parents[2]
ALERTS = 40
MONTHS = ("2026-01-01", "2026-02-01")
WORDS = ("locked", "Traceback")


def test_runs_in_two_processes_send_each_alert_once(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
    rows = [row(f"A-{number:02}", month) for number in range(ALERTS) for month in MONTHS]
    source = write_source(tmp_path / "status.parquet", rows)
    service = serve()
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
        "SLACK_WEBHOOK_BASE_URL": slack.url,
        "SLACK_CHANNEL_RATE": "0",
        "REGIONS": '{"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}',
    }
    # The other process calls in its threads what the API calls in its own.
    program = (
        "import sys, json; from concurrent.futures import ThreadPoolExecutor; from datetime import date;"
        "from core.domain import RunRequest; from core.ledger import open_ledger;"
        "from core.run import new_run_id, prepare_run; from core.runtime import load_settings;"
        "from flows.start import run_month; s = load_settings(); ledger = open_ledger(s.database_url);"
        "ids = [new_run_id() for _ in range(3)];"
        "r = RunRequest(sys.argv[1], date.fromisoformat(sys.argv[2]));"
        "p = ThreadPoolExecutor(3); list(p.map(lambda i: run_month(prepare_run(r, s, ledger, i)), ids));"
        "print(json.dumps(ids))"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, source, MONTHS[0]],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda month: service.post("/runs", source, month), [MONTHS[0]] * 3 + [MONTHS[1]])
        )
    out, err = other.communicate(timeout=100)
    assert other.returncode == 0, err
    assert not any(word in err + service.log.getvalue() for word in WORDS)
    assert [answer.status_code for answer in answers] == [200] * 4

    posted = Counter((item["message"]["text"]) for item in slack.messages)
    assert len(posted) == ALERTS * len(MONTHS)
    assert set(posted.values()) == {1}
    ids = [answer.json()["run_id"] for answer in answers] + json.loads(out)
    runs = [service.get(f"/runs/{run_id}") for run_id in ids]
    assert {run["status"] for run in runs} == {"succeeded"}
    for run in runs:
        counts = run["counts"]
        assert counts["alerts_sent"] + counts["skipped_replay"] == ALERTS == counts["at_risk"]
    sent = Counter(dict.fromkeys(MONTHS, 0))
    for run in runs:
        sent[run["month"]] += run["counts"]["alerts_sent"]
    assert sent == dict.fromkeys(MONTHS, ALERTS)
