"""Lists, filters and pages of what the ledger holds, the same on both databases."""

import sqlite3
from datetime import date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from core.domain import (
    Alert,
    AlertStatus,
    Decision,
    Delivery,
    InvalidRequest,
    Notification,
    NotificationStatus,
    OutcomeStatus,
    Resolution,
    RunNotFound,
    RunRequest,
    RunStatus,
    SourceNotFound,
    SupportMessage,
)
from core.ledger import Ledger
from core.ledger.history import encode_cursor
from core.ledger.schema import RUN_ALERTS
from tests.delivery.world import (
    ME,
    MONTH,
    NOW,
    OTHER_MONTH,
    assert_pages,
    at,
    begin,
    failed,
    key,
    leave_unconfirmed,
    record,
    routed,
    sent,
)

RUNS = [
    ("z", MONTH, 0, RunStatus.SUCCEEDED),
    ("b", OTHER_MONTH, 1, RunStatus.FAILED),
    ("c", MONTH, 1, RunStatus.RUNNING),
    ("a", MONTH, 2, RunStatus.FAILED),
]


@pytest.mark.parametrize(
    ("month", "status", "expected"),
    [
        (None, None, "acbz"),
        (MONTH, None, "acz"),
        (None, RunStatus.FAILED, "ab"),
        (MONTH, RunStatus.FAILED, "a"),
        (OTHER_MONTH, RunStatus.RUNNING, ""),
    ],
)
def test_runs_are_listed_newest_first(
    ledger: Ledger, month: date | None, status: RunStatus | None, expected: str
) -> None:
    for run_id, of_month, minute, ended in RUNS:
        ledger.begin_run(run_id, RunRequest("file:///x", of_month), ME, None, at(minute))
        if ended is not RunStatus.RUNNING:
            ledger.finish(run_id, SourceNotFound("gone") if ended == "failed" else None, at(5))

    def page(limit: int | None, cursor: str | None) -> tuple[list[str], str | None]:
        found = ledger.history.runs(month=month, status=status, limit=limit, cursor=cursor)
        return [run.run_id for run in found.runs], found.next_cursor

    assert_pages(page, list(expected))


def test_running_run_has_the_counts_of_its_alerts(ledger: Ledger) -> None:
    recovered = routed("A-1", alert_type="recovered")
    begin(ledger, "run", [routed("A-1"), routed("A-2"), routed("A-3"), routed("B", None), recovered])
    for answer in (sent("A-1"), failed("A-2"), sent("A-1", "recovered")):
        ledger.record_answer("run", answer, NOW)
    for run in (ledger.history.run("run"), ledger.history.runs(limit=1).runs[0]):
        of_type = run.counts_by_type
        assert (of_type["at_risk"].rows_scanned, run.counts.rows_scanned) == (100, 100)
        assert {
            name: (counts.alerts_sent, counts.failed_deliveries, counts.unknown_region)
            for name, counts in (of_type | {"all": run.counts}).items()
        } == {"at_risk": (1, 2, 1), "recovered": (1, 0, 0), "all": (2, 2, 1)}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ["C", "A", "D", "B"]),
        (AlertStatus.FAILED, ["A", "B"]),
        (AlertStatus.PENDING, ["C", "D"]),
        (AlertStatus.SENT, []),
    ],
)
def test_alerts_are_listed_in_their_order(
    ledger: Ledger, status: AlertStatus | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.ledger.ledger.PLANNED_AT_ONCE", 3)
    begin(ledger, "run", [routed("C"), routed("A", None), routed("D"), routed("B", None)])
    begin(ledger, "other", [routed("E"), routed("F", None)])

    def page(limit: int | None, cursor: str | None) -> tuple[list[str], str | None]:
        found = ledger.history.alerts("run", status=status, limit=limit, cursor=cursor)
        return [alert.account_id for alert in found.alerts], found.next_cursor

    assert_pages(page, expected)


def test_run_has_samples_of_its_first_alerts_and_errors(ledger: Ledger) -> None:
    alerts = [routed(f"A-{99 - number}", None if number % 2 else "amer") for number in range(24)]
    begin(ledger, "other", [routed(f"B-{number}", None) for number in range(3)])
    ledger.claim("run", begin(ledger, "run", alerts)[0], NOW)
    ledger.record_answer("run", Delivery(*alerts[0].key, AlertStatus.UNCONFIRMED, "amer", "why"), NOW)
    found = ledger.history.run("run")
    assert [one.account_id for one in found.sample_alerts] == [alert.account_id for alert in alerts[:10]]
    errors = [alerts[0], *alerts[1:18:2]]
    assert [one.account_id for one in found.sample_errors] == [alert.account_id for alert in errors]


def test_unknown_run_is_not_found(ledger: Ledger) -> None:
    for read in (ledger.history.run, ledger.history.alerts):
        with pytest.raises(RunNotFound, match=r"^No run 'lost' is in the ledger"):
            read("lost")


def record_outcomes(ledger: Ledger) -> None:
    """Record outcomes of two months and two types."""
    both: dict[Alert, Delivery | None] = {routed("A"): sent("A"), routed("C", None): None}
    of_the_month = {routed("B"): None, **both, routed("A", alert_type="recovered"): None}
    record(ledger, str(OTHER_MONTH), both, month=OTHER_MONTH)
    record(ledger, str(MONTH), of_the_month)
    begin(ledger, "later", [routed("A"), routed("B")])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "01 A at_risk, 01 A recovered, 01 B at_risk, 01 C at_risk, 12 A at_risk, 12 C at_risk"),
        ({"month": OTHER_MONTH}, "12 A at_risk, 12 C at_risk"),
        ({"status": OutcomeStatus.FAILED}, "01 C at_risk, 12 C at_risk"),
        ({"status": OutcomeStatus.UNCONFIRMED}, "01 A recovered, 01 B at_risk"),
        ({"alert_type": "recovered"}, "01 A recovered"),
        ({"month": OTHER_MONTH, "status": OutcomeStatus.SENT}, "12 A at_risk"),
        ({"month": OTHER_MONTH, "alert_type": "at_risk"}, "12 A at_risk, 12 C at_risk"),
    ],
    ids=str,
)
def test_outcomes_are_listed_by_month_account_and_type(
    ledger: Ledger, wanted: dict[str, Any], expected: str
) -> None:
    record_outcomes(ledger)

    def page(limit: int | None, cursor: str | None) -> tuple[list[str], str | None]:
        found = ledger.history.outcomes(**wanted, limit=limit, cursor=cursor)
        shown = [f"{one.month:%m} {one.account_id} {one.alert_type}" for one in found.outcomes]
        return shown, found.next_cursor

    assert_pages(page, expected.split(", "))


def test_outcome_has_its_own_resolutions_in_order(ledger: Ledger) -> None:
    record_outcomes(ledger)
    recovered, at_risk = key("A", "recovered"), key("A")
    ledger.resolve(Resolution(recovered, MONTH, Decision.SEND_AGAIN, "ana", None, at(3)))
    leave_unconfirmed(ledger, "again", routed("A", alert_type="recovered"))
    ledger.resolve(Resolution(recovered, MONTH, Decision.DELIVERED, "ana", None, at(1)))
    leave_unconfirmed(ledger, "earlier", routed("B"), month=OTHER_MONTH)
    for minute, month in ((2, MONTH), (4, OTHER_MONTH)):
        ledger.resolve(Resolution(key("B"), month, Decision.DELIVERED, "zoë", None, at(minute)))
    listed = ledger.history.outcomes(alert_type="at_risk").outcomes
    assert [[one.at for one in view.resolutions] for view in listed] == [[], [at(2)], [], [], [at(4)], []]
    found = ledger.history.outcomes_of(MONTH, [recovered, at_risk, key("lost")])
    assert {alert: [one.at for one in view.resolutions] for alert, view in found.items()} == {
        recovered: [at(1), at(3)],
        at_risk: [],
    }


def test_list_of_any_length_fits_a_statement(ledger: Ledger, path: Path) -> None:
    """By default SQLite takes 32,766 values for a statement, and PostgreSQL 65,535."""
    record_outcomes(ledger)
    with ledger._database.read() as session:
        driver: Any = session.connection().connection.driver_connection
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 5)
    assert len(ledger.history.outcomes().outcomes) > 5


def notify(ledger: Ledger, run_id: str, address: str, digest: str, status: NotificationStatus) -> None:
    notification = Notification(SupportMessage("subject", "text"), status)
    ledger.record_notification(run_id, notification, address=address, digest=digest)


def test_open_alerts_are_those_of_the_month_that_failed(ledger: Ledger) -> None:
    record_outcomes(ledger)

    def found(month: date = MONTH) -> list[tuple[str, str, str, str]]:
        return [
            (one.account_id, one.alert_type, one.status, one.account_name)
            for one in ledger.history.open_alerts(month, "support").alerts
        ]

    assert found() == [
        ("A", "recovered", "unconfirmed", "Name of A"),
        ("B", "at_risk", "unconfirmed", "Name of B"),
        ("C", "at_risk", "failed", "Name of C"),
    ]
    assert found(OTHER_MONTH) == [("C", "at_risk", "failed", "Name of C")]
    # Somebody may have deleted the row with the facts of the alert.
    with ledger._database.write() as session:
        session.execute(delete(RUN_ALERTS).where(RUN_ALERTS.c.run_id == str(OTHER_MONTH)))
    assert found(OTHER_MONTH) == []


def test_only_the_address_that_accepted_a_list_is_notified(ledger: Ledger) -> None:
    record_outcomes(ledger)
    history = ledger.history
    digest = history.open_alerts(MONTH, "support").digest
    assert digest != history.open_alerts(OTHER_MONTH, "support").digest
    run_id = str(MONTH)
    notify(ledger, run_id, "support", digest, NotificationStatus.FAILED)
    assert not history.open_alerts(MONTH, "support").notified
    notify(ledger, run_id, "support", digest, NotificationStatus.SENT)
    assert history.open_alerts(MONTH, "support").notified
    assert not history.open_alerts(MONTH, "another").notified
    notify(ledger, str(OTHER_MONTH), "another", digest, NotificationStatus.SENT)
    assert not history.open_alerts(MONTH, "another").notified
    # A new attempt of an unconfirmed alert may be in the channel again.
    leave_unconfirmed(ledger, "again", routed("B"), retry_unconfirmed=True)
    assert not history.open_alerts(MONTH, "support").notified


def test_digest_is_of_what_support_would_read(ledger: Ledger) -> None:
    answer = failed("A")
    lists = {
        "base": (routed("A"), answer),
        "another run": (routed("A"), answer),
        "another attempt": (routed("A"), answer._replace(error="Slack answered 502", attempts=1)),
        "another region": (routed("A")._replace(account_region="EMEA"), answer),
        "another account of this name": (routed("B")._replace(account_name="Name of A"), failed("B")),
        "another type": (routed("A", alert_type="recovered"), answer._replace(alert_type="recovered")),
        "another channel": (routed("A", "emea"), answer._replace(channel="emea")),
        "another reason": (routed("A"), answer._replace(reason="no_answer")),
        "unconfirmed": (routed("A"), answer._replace(status=AlertStatus.UNCONFIRMED)),
        "unconfirmed again": (routed("A"), answer._replace(status=AlertStatus.UNCONFIRMED)),
        "no channel": (routed("A", None), None),
        "no channel, no region": (routed("A", None)._replace(account_region=None), None),
        "no channel, empty region": (routed("A", None)._replace(account_region=""), None),
        "another name": (routed("A")._replace(account_name="New"), answer),
        "another ARR": (routed("A")._replace(arr=None), answer),
        "another duration": (routed("A")._replace(duration_months=3), answer),
    }
    names: dict[str, list[str]] = {}
    for number, (name, (alert, given)) in enumerate(lists.items(), 1):
        month = date(2000 + number, 1, 1)
        record(ledger, name, {alert: given}, month=month)
        names.setdefault(ledger.history.open_alerts(month, "support").digest, []).append(name)
    alike, *others = names.values()
    assert alike == ["base", "another run", "another attempt"]
    assert [len(group) for group in others] == [1] * 13


EAST = timezone(timedelta(hours=23, minutes=59))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("runs", (datetime(1, 1, 2, tzinfo=EAST), "run")),
        ("runs", (datetime(9999, 12, 31, tzinfo=EAST), "run")),
        ("runs", (datetime(2026, 1, 1), "run")),  # noqa: DTZ001
        ("runs", (NOW, 1)),
        ("runs", (NOW, "run", "more")),
        ("runs", (MONTH, "A", "at_risk")),
        ("alerts", (-1,)),
        ("alerts", (2**31,)),
        ("alerts", ("1",)),
        ("alerts", (1, 2)),
        ("alerts", (1.5,)),
        ("outcomes", (NOW, "run")),
        ("outcomes", (MONTH, "A", 1)),
    ],
    ids=str,
)
def test_cursor_of_another_kind_is_refused(ledger: Ledger, name: str, values: tuple[Any, ...]) -> None:
    begin(ledger, "run")
    history = ledger.history
    pages = {"runs": history.runs, "alerts": partial(history.alerts, "run"), "outcomes": history.outcomes}
    with pytest.raises(InvalidRequest):
        pages[name](limit=1, cursor=encode_cursor(*values))


@pytest.mark.parametrize("number", [0, 2**31 - 1])
def test_any_position_is_a_place_among_alerts(ledger: Ledger, number: int) -> None:
    begin(ledger, "run", [routed("A"), routed("B")])
    found = ledger.history.alerts("run", limit=1, cursor=encode_cursor(number)).alerts
    assert [one.account_id for one in found] == ([] if number else ["B"])


@pytest.mark.parametrize("text", ["", "\0", "\U0010ffff"])
def test_cursor_may_hold_any_text(ledger: Ledger, text: str) -> None:
    for day in (date.min, date.max):
        assert ledger.history.outcomes(cursor=encode_cursor(day, text, text)).outcomes == []
    for moment in (datetime(1, 1, 3, tzinfo=EAST), datetime(9999, 1, 1, tzinfo=EAST)):
        assert ledger.history.runs(limit=1, cursor=encode_cursor(moment, text)).runs == []
