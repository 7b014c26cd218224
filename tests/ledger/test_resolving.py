"""A person's decision about an unconfirmed alert, and the runs after it, on both databases."""

from collections.abc import Sequence
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from core.domain import (
    Alert,
    AlertStatus,
    AlreadyResolved,
    Decision,
    Delivery,
    NotUnconfirmed,
    OutcomeNotFound,
    OutcomeStatus,
    Resolution,
    RiskAlertsError,
)
from core.ledger import Ledger
from tests.delivery.world import MONTH, NOW, OTHER_MONTH, begin, key, look, routed

LATER = NOW + timedelta(hours=1)
A1, A2, A3 = routed("A-1"), routed("A-2"), routed("A-3", "emea")
DELIVERED, SEND_AGAIN = Decision.DELIVERED, Decision.SEND_AGAIN


def decide(ledger: Ledger, account_id: str, decision: Decision, by: str = "ana", note: str = "") -> None:
    """Resolve an alert of the month."""
    ledger.resolve(Resolution(key(account_id), MONTH, decision, by, note or None, LATER))


def leave_unconfirmed(ledger: Ledger, run_id: str, alerts: Sequence[Alert]) -> None:
    """Close a run after it claimed these alerts."""
    begin(ledger, run_id, alerts)
    for item in alerts:
        assert ledger.claim(run_id, item, NOW).status is AlertStatus.SENDING
    ledger.finish(run_id, None, NOW)


def status(ledger: Ledger, account_id: str) -> tuple[str, str | None]:
    """Return the recorded status and reason."""
    found = ledger.history.outcome(MONTH, key(account_id))
    return found.status, found.reason


def answered(account_id: str, status: AlertStatus) -> Delivery:
    """Return the result of an alert with this answer of Slack."""
    return Delivery(key(account_id), status, "amer", attempts=1, sent_at=LATER if status == "sent" else None)


def test_outcome_is_the_claim_with_its_answer(ledger: Ledger) -> None:
    begin(ledger, "run", [A3])
    ledger.claim("run", A3, NOW)
    claimed = ledger.history.outcome(MONTH, key("A-3")).model_dump()
    assert claimed == {
        "account_id": "A-3",
        "account_name": "Name of A-3",
        "month": MONTH,
        "alert_type": "at_risk",
        "region": "AMER",
        "channel": "emea",
        "status": "sending",
        "reason": None,
        "error": None,
        "attempts": 0,
        "run_id": "run",
        "sent_at": None,
        "updated_at": NOW,
        "resolutions": [],
    }
    said = {"status": "unconfirmed", "reason": "why", "error": "because", "attempts": 2, "sent_at": LATER}
    ledger.record_answer("run", Delivery(key("A-3"), channel="emea", **said), LATER)
    assert ledger.history.outcome(MONTH, key("A-3")).model_dump() == claimed | said | {"updated_at": LATER}
    # A later run that gives up the alert must keep it unconfirmed.
    begin(ledger, "again", [A3], retry_unconfirmed=True)
    ledger.give_up("again", [A3], "no_service", "gone", NOW)
    found = ledger.history.outcome(MONTH, key("A-3"))
    result = (found.run_id, found.region, found.status, found.reason)
    assert result == ("again", "AMER", "unconfirmed", "no_service")
    assert (found.attempts, found.sent_at, found.updated_at) == (0, None, NOW)
    assert found.error is not None
    decide(ledger, "A-3", DELIVERED)
    found = ledger.history.outcome(MONTH, key("A-3"))
    assert (found.run_id, found.status, found.reason) == ("again", "sent", "resolved_delivered")
    assert (found.error, found.sent_at, found.updated_at) == (None, NOW, LATER)


def test_send_again_sends_only_that_alert(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", [A1, A2, A3])
    decide(ledger, "A-1", DELIVERED)
    decide(ledger, "A-2", SEND_AGAIN)
    assert ledger.history.outcome(MONTH, key("A-2")).sent_at is None
    assert begin(ledger, "second", [A1, A2, A3]) == [A2]
    assert ledger.claim("second", A2, LATER).status is AlertStatus.SENDING
    ledger.record_answer("second", answered("A-2", AlertStatus.SENT), LATER)
    ledger.finish("second", None, LATER)
    found = look(ledger, "second")
    assert found.statuses == {"A-1": "skipped_replay", "A-2": "sent", "A-3": "unconfirmed"}
    assert begin(ledger, "third", [A1, A2, A3]) == []


def test_resolved_delivered_is_never_sent_again(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", [A1, A3])
    decide(ledger, "A-1", DELIVERED)
    assert begin(ledger, "second", [A1, A3], retry_unconfirmed=True) == [A3]


def test_resolution_is_kept_after_a_later_run(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", [A1])
    decide(ledger, "A-1", SEND_AGAIN, "ana", "not in #amer")
    leave_unconfirmed(ledger, "second", [A1])
    decide(ledger, "A-1", DELIVERED, "zoë")
    found = ledger.history.outcome(MONTH, key("A-1"))
    assert (found.status, found.reason, found.sent_at) == ("sent", "resolved_delivered", NOW)
    assert [(one.decision, one.by, one.note, one.run_id, one.reason) for one in found.resolutions] == [
        ("send_again", "ana", "not in #amer", "first", "process_died"),
        ("delivered", "zoë", None, "second", "process_died"),
    ]
    assert {one.at for one in found.resolutions} == {LATER}
    assert look(ledger, "first").statuses == {"A-1": "unconfirmed"}


def test_types_of_one_account_are_resolved_apart(ledger: Ledger) -> None:
    both = [A1, routed("A-1", alert_type="recovered")]
    leave_unconfirmed(ledger, "first", both)
    decide(ledger, "A-1", DELIVERED)
    assert begin(ledger, "second", both, retry_unconfirmed=True) == both[1:]
    assert ledger.claim("second", both[1], LATER).status is AlertStatus.SENDING
    ledger.record_answer("second", Delivery(both[1].key, AlertStatus.SENT, "amer", sent_at=LATER), LATER)
    ledger.finish("second", None, LATER)
    counts = look(ledger, "second").view.counts_by_type
    assert (counts["at_risk"].skipped_replay, counts["recovered"].alerts_sent) == (1, 1)
    found = ledger.history.outcomes(month=MONTH, alert_type="recovered").outcomes
    assert [(one.account_id, one.status, one.resolutions) for one in found] == [("A-1", "sent", [])]


def test_an_alert_is_resolved_once(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", [A1, A2])
    for account_id, first in (("A-1", DELIVERED), ("A-2", SEND_AGAIN)):
        decide(ledger, account_id, first)
        before = ledger.history.outcome(MONTH, key(account_id))
        for second in Decision:
            said = rf"^The at_risk alert of account '{account_id}' in 2026-01-01 was resolved before "
            said += rf"\(resolved_{first}\); nothing was changed$"
            with pytest.raises(AlreadyResolved, match=said):
                decide(ledger, account_id, second, "someone else")
        assert ledger.history.outcome(MONTH, key(account_id)) == before


def test_only_unconfirmed_alerts_can_be_resolved(ledger: Ledger) -> None:
    begin(ledger, "run", [A1, A2, routed("A-4", None)])
    for item in (A1, A2):
        ledger.claim("run", item, NOW)
    ledger.record_answer("run", answered("A-1", AlertStatus.SENT), NOW)
    for account_id, why in (
        ("A-1", "sent, not unconfirmed; nothing was changed"),
        ("A-2", "being sent by a run now; look again when that run is over"),
        ("A-4", "failed, not unconfirmed; nothing was changed"),
    ):
        with pytest.raises(
            NotUnconfirmed, match=f"^The at_risk alert of account '{account_id}' in 2026-01-01 is {why}$"
        ):
            decide(ledger, account_id, SEND_AGAIN)
    with pytest.raises(
        OutcomeNotFound, match=r"^No at_risk alert of account 'A-5' in 2026-01-01 is in the ledger"
    ):
        decide(ledger, "A-5", SEND_AGAIN)
    with pytest.raises(OutcomeNotFound):
        ledger.resolve(Resolution(key("A-1"), OTHER_MONTH, DELIVERED, "ana", None, LATER))


def test_decision_before_the_claim_wins(ledger: Ledger) -> None:
    """The run had already planned to send the alert again."""
    leave_unconfirmed(ledger, "first", [A1, A2])
    assert begin(ledger, "second", [A1, A2], retry_unconfirmed=True) == [A1, A2]
    decide(ledger, "A-1", DELIVERED)
    decide(ledger, "A-2", SEND_AGAIN)
    assert ledger.claim("second", A1, LATER).status is AlertStatus.SKIPPED_REPLAY
    assert ledger.claim("second", A2, LATER).status is AlertStatus.SENDING


def test_decision_after_the_claim_loses(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", [A1])
    begin(ledger, "second", [A1], retry_unconfirmed=True)
    ledger.claim("second", A1, LATER)
    for decision in Decision:
        with pytest.raises(NotUnconfirmed):
            decide(ledger, "A-1", decision)
    ledger.record_answer("second", answered("A-1", AlertStatus.SENT), LATER)
    assert status(ledger, "A-1") == ("sent", None)
    assert ledger.history.outcome(MONTH, key("A-1")).resolutions == []


@pytest.mark.parametrize("decision", Decision)
def test_person_and_run_never_both_win(ledger: Ledger, decision: Decision) -> None:
    alerts = [routed(f"A-{number}") for number in range(8)]
    leave_unconfirmed(ledger, "first", alerts)
    begin(ledger, "second", alerts, retry_unconfirmed=True)
    for item in alerts:
        account_id, start = item.account_id, Barrier(2)
        refused: list[RiskAlertsError] = []

        def person(account_id: str = account_id, start: Barrier = start) -> None:
            start.wait()
            try:
                decide(ledger, account_id, decision)
            except RiskAlertsError as error:
                refused.append(error)  # noqa: B023  # joined within the turn

        thread = Thread(target=person)
        thread.start()
        start.wait()
        claim = ledger.claim("second", item, LATER)
        thread.join()
        resolved = len(ledger.history.outcome(MONTH, key(account_id)).resolutions)
        assert resolved + len(refused) == 1
        if decision is DELIVERED:
            assert claim.status == ("skipped_replay" if resolved else "sending")
        else:
            assert claim.status == "sending"


LATE_ANSWERS = [
    (DELIVERED, AlertStatus.SENT, ("sent", "resolved_delivered")),
    (DELIVERED, AlertStatus.FAILED, ("sent", "resolved_delivered")),
    (DELIVERED, AlertStatus.UNCONFIRMED, ("sent", "resolved_delivered")),
    # The person looked too early; the next run must not send the alert.
    (SEND_AGAIN, AlertStatus.SENT, ("sent", None)),
    (SEND_AGAIN, AlertStatus.FAILED, ("failed", "resolved_send_again")),
    (SEND_AGAIN, AlertStatus.UNCONFIRMED, ("failed", "resolved_send_again")),
]


def test_answer_after_a_decision_is_not_sent_twice(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "frozen", [routed(f"A-{number}") for number in range(len(LATE_ANSWERS))])
    for number, (decision, answer, stays) in enumerate(LATE_ANSWERS):
        decide(ledger, f"A-{number}", decision)
        ledger.record_answer("frozen", answered(f"A-{number}", answer), LATER)
        assert status(ledger, f"A-{number}") == stays, (decision, answer)


def test_unconfirmed_are_listed_in_pages(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", [A1, A2, A3, routed("A,4 'x' ü")])
    decide(ledger, "A-2", DELIVERED)
    begin(ledger, "other", [A1], month=OTHER_MONTH)
    ledger.claim("other", A1, NOW)
    ledger.finish("other", None, NOW)
    seen, cursor = [], None
    while True:
        page = ledger.history.outcomes(status=OutcomeStatus.UNCONFIRMED, limit=1, cursor=cursor)
        seen += [(one.month, one.account_id, one.account_name) for one in page.outcomes]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen[:-1]) == sorted(
        (MONTH, name, f"Name of {name}") for name in ("A-1", "A-3", "A,4 'x' ü")
    )
    assert seen[-1] == (OTHER_MONTH, "A-1", "Name of A-1")
    assert len(ledger.history.outcomes(month=MONTH, limit=9).outcomes) == 4
    assert len(ledger.history.outcomes(limit=9).outcomes) == 5
