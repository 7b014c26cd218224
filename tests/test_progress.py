"""The progress of a run, as the terminal shows it."""

import asyncio
from pathlib import Path

from cli.run import describe
from core.run import Progress, RunContext, open_run
from examples.mock_slack import MockSlack
from tasks.send import send
from tests.delivery.world import REQUEST, assessment, open_at, routed, settings


def test_source_is_read_first() -> None:
    assert describe(Progress()) == "Reading the source …"


def test_each_result_counts(slack: MockSlack, tmp_path: Path) -> None:
    """Also of an alert that is not tried, because its channel refuses every message."""
    alerts = [routed("A-1"), routed("A-2", "emea"), routed("A-3", "emea"), routed("A-4", None)]
    slack.fail("emea", 404)
    run = RunContext("run", REQUEST, settings(slack.url, tmp_path / "x.db"), open_at(tmp_path / "x.db"))
    with open_run(run):
        to_send = run.plan(assessment(alerts), alerts)
        assert describe(run.progress) == "100 rows read; 0 of 3 alerts recorded"
        asyncio.run(send.fn(run, to_send))
    assert describe(run.progress) == "100 rows read; 3 of 3 alerts recorded"


def test_alert_that_another_run_sent_meanwhile_counts(slack: MockSlack, tmp_path: Path) -> None:
    alerts = [routed("A-1"), routed("A-2")]
    ledger, chosen = open_at(tmp_path / "x.db"), settings(slack.url, tmp_path / "x.db")
    first, second = (RunContext(name, REQUEST, chosen, ledger) for name in ("first", "second"))
    with open_run(first), open_run(second):
        both = [(run, run.plan(assessment(alerts), alerts)) for run in (first, second)]
        for run, to_send in both:
            asyncio.run(send.fn(run, to_send))
    assert describe(second.progress) == "100 rows read; 2 of 2 alerts recorded"
    assert len(slack.messages) == 2
