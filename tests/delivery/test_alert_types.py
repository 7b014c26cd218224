"""Each alert type, and one that exists only in the tests, from preview to resolution."""

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.alerts import RULES, AlertView
from core.domain import AlertStatus, Decision, Resolution, RunRequest, months_before
from core.ledger import RunView, open_ledger
from core.run import prepare_run
from core.runtime import Settings
from flows.preview import preview
from flows.start import run_month
from tests.alerts.of_the_tests import OURS, register
from tests.delivery.driver import work
from tests.delivery.world import MONTH, NOW, assert_adds_up, settings
from tests.service import row, write_source
from tests.slack.hostile import HostileSlack, answer, silence
from tests.waiting import until
from tests.warm import Forked

LONGEST = 9
TYPES = [[rule.type] for rule in (*RULES.values(), OURS)]
TYPES.append([*RULES, OURS.type])


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def every_streak(path: Path) -> str:
    """Write a source with each streak of up to 9 months that ends in the month or before; return its URI.

    Four accounts have each streak, so that a type that finds only one streak can be killed between two
    messages; the region of the fourth has no channel.
    """
    rows = []
    for newest in (0, 1, 2):
        for oldest in range(newest, newest + LONGEST):
            for number, region in enumerate(("AMER", "AMER", "AMER", "LATAM")):
                rows += _history(f"{newest}-{oldest}-{number}", newest, oldest, region)
    return write_source(path, rows)


def _history(account: str, newest: int, oldest: int, region: str) -> Iterator[dict[str, Any]]:
    for age in range(LONGEST + 4):
        status = "At Risk" if newest <= age <= oldest else "Healthy"
        yield row(account, months_before(MONTH, age).isoformat(), status, account_region=region)


def run(source: str, chosen: Settings) -> tuple[RunView, list[AlertView]]:
    """Run the month in this process; return the stored run and its alerts."""
    prepared = prepare_run(RunRequest(source, MONTH), chosen)
    run_month(prepared)
    history = prepared.ledger.history
    view = history.run(prepared.run_id)
    assert_adds_up(view)
    return view, history.alerts(view.run_id).alerts


def statuses(alerts: Sequence[AlertView]) -> Counter[str]:
    """Count the alerts by their status in the run."""
    return Counter(alert.status.value for alert in alerts)


def kill_after_one_answer(slack: HostileSlack, job: dict[str, Any]) -> None:
    """Start a run, and kill it after Slack's first answer and before its second."""
    slack.script("/amer", answer(200, "ok"), silence)
    killed = Forked(work, job)
    until(lambda: len(slack.requests) == 2)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL


@pytest.mark.parametrize("types", TYPES, ids="+".join)
def test_alert_type_lives_through_a_kill(slack: HostileSlack, path: Path, types: list[str]) -> None:
    source = every_streak(path.with_name("status.parquet"))
    enabled = {"alert_types": types, "regions": {"AMER": "amer"}}
    chosen = settings(slack.url, path, **enabled)

    expected = preview(RunRequest(source, MONTH), chosen)
    planned = {(alert.account_id, alert.alert_type): alert for alert in expected.alerts}
    found = Counter(alert.alert_type for alert in expected.alerts)
    unknown = [alert for alert in expected.alerts if alert.account_region == "LATAM"]
    sendable = len(planned) - len(unknown)
    assert len(planned) == len(expected.alerts)
    assert {name: counts.model_dump()[name] for name, counts in expected.counts_by_type.items()} == found
    assert sorted(found) == sorted(types)
    assert sendable >= 3
    assert unknown

    job = {"url": slack.url, "ledger": f"sqlite:///{path}", "source": source, "run_id": "killed"}
    kill_after_one_answer(slack, job | {"settings": enabled})
    slack.script("/amer", answer(200, "ok"))
    replay, alerts = run(source, chosen)
    assert statuses(alerts) == {
        "skipped_replay": 1,
        "unconfirmed": 1,
        "sent": sendable - 2,
        "failed": len(unknown),
    }
    assert {(alert.account_id, alert.alert_type) for alert in alerts} == planned.keys()

    [unconfirmed] = [alert for alert in alerts if alert.status is AlertStatus.UNCONFIRMED]
    body = replay.support_message.body
    assert body.count("\n  Alert:") == 1 + len(unknown)
    for alert in (unconfirmed, *unknown):
        assert f"({alert.account_id})\n  Alert:   {alert.alert_type}\n" in body

    ledger = open_ledger(chosen.database_url)
    ledger.resolve(Resolution(unconfirmed.key, MONTH, Decision.SEND_AGAIN, "ana", None, NOW))
    _, alerts = run(source, chosen)
    assert [alert.key for alert in alerts if alert.status is AlertStatus.SENT] == [unconfirmed.key]
    assert statuses(alerts) == {"sent": 1, "skipped_replay": sendable - 1, "failed": len(unknown)}

    posted = Counter(request.message["text"] for request in slack.requests)
    again = [text for text, times in posted.items() if times > 1]
    assert again == [planned[unconfirmed.key].message["text"]]
    assert posted.keys() == {alert.message["text"] for alert in planned.values() if alert.message}
