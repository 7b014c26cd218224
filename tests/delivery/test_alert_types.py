"""Two alerts of one account, one of a type that only the tests know, through the whole life of an alert."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from core.domain import Decision, Resolution
from core.ledger import Ledger, LedgerCollector
from core.run import RunContext, open_run
from core.slack import WORDS, AlertWords
from tasks.notify_support import notify_support
from tests.delivery.world import MONTH, NOW, REQUEST, begin, deliver, key, look, routed, settings
from tests.slack.hostile import HostileSlack, answer, silence

OURS = "of_the_tests"
BOTH = [routed("A-1"), routed("A-1", alert_type=OURS)]


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the type its words."""
    monkeypatch.setitem(WORDS, OURS, AlertWords("Of the tests: {name} ({id})", "For: {months}"))


def results(ledger: Ledger, run_id: str) -> dict[str, str]:
    """Return the result of each alert in a run by its type."""
    look(ledger, run_id)
    alerts = ledger.history.alerts(run_id, None, None, None).alerts
    return {alert.alert_type: alert.status.value for alert in alerts}


def test_each_type_is_sent_once(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    chosen = settings(slack.url, path)
    deliver(ledger, BOTH[:1], chosen, "first")
    deliver(ledger, BOTH, chosen, "second")
    assert results(ledger, "second") == {"at_risk": "skipped_replay", OURS: "sent"}
    deliver(ledger, BOTH, chosen, "third")
    assert results(ledger, "third") == {"at_risk": "skipped_replay", OURS: "skipped_replay"}
    assert len(slack.requests) == 2


def test_each_type_is_resolved_apart(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", silence, silence, answer(200, "ok"))
    chosen = settings(slack.url, path, slack_timeout_seconds=0.2)
    deliver(ledger, BOTH, chosen, "first")
    assert results(ledger, "first") == {"at_risk": "unconfirmed", OURS: "unconfirmed"}
    ledger.resolve(Resolution(key("A-1", OURS), MONTH, Decision.SEND_AGAIN, "ana", None, NOW))
    deliver(ledger, BOTH, chosen, "second")
    assert results(ledger, "second") == {"at_risk": "unconfirmed", OURS: "sent"}


def test_each_type_that_a_dead_run_claimed_is_unconfirmed(ledger: Ledger) -> None:
    for item in begin(ledger, "dead", BOTH):
        ledger.claim("dead", item, NOW)
    assert ledger.close_dead_runs(lambda *_: True, NOW) == ["dead"]
    assert results(ledger, "dead") == {"at_risk": "unconfirmed", OURS: "unconfirmed"}
    counts = ledger.history.run("dead").counts_by_type
    assert {name: found.unconfirmed for name, found in counts.items()} == {"at_risk": 1, OURS: 1}


def test_each_type_is_in_the_notification_and_the_metrics(ledger: Ledger, path: Path) -> None:
    with open_run(RunContext("run", REQUEST, settings("http://127.0.0.1:9", path), ledger)) as run:
        begin(ledger, "other", [routed("A-1", None), routed("A-1", None, OURS)])
        notify_support.fn(run)
    message = ledger.history.run("run").support_message
    assert message is not None
    assert message.body.count("Name of A-1 (A-1)") == 2
    assert f"  Alert:   {OURS}\n" in message.body
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger.history.statistics()))
    for name in ("at_risk", OURS):
        labels = {"alert_type": name, "status": "failed"}
        assert registry.get_sample_value("risk_alerts_outcomes", labels) == 1
