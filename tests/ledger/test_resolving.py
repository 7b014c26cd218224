"""A person's decision about an unconfirmed alert, and the runs after it, on both databases."""

from datetime import timedelta
from functools import partial

import pytest

from core.domain import (
    Alert,
    AlertStatus,
    AlreadyResolved,
    Decision,
    Delivery,
    NotUnconfirmed,
    OutcomeNotFound,
    Resolution,
)
from core.ledger import Ledger, OutcomeView
from tests.delivery.world import (
    MONTH,
    NOW,
    at_once,
    begin,
    key,
    leave_unconfirmed,
    look,
    outcome_of,
    routed,
    sent,
)

LATER = NOW + timedelta(hours=1)
A1, A2, A3 = routed("A-1"), routed("A-2"), routed("A-3", "emea")
DELIVERED, SEND_AGAIN = Decision.DELIVERED, Decision.SEND_AGAIN


def decide(ledger: Ledger, account_id: str, decision: Decision, by: str = "ana", note: str = "") -> None:
    ledger.resolve(Resolution(key(account_id), MONTH, decision, by, note or None, LATER))


def outcome(ledger: Ledger, account_id: str) -> OutcomeView:
    return outcome_of(ledger, key(account_id))


def test_outcome_is_the_claim_with_its_answer(ledger: Ledger) -> None:
    begin(ledger, "run", [A3])
    ledger.claim("run", A3, NOW)
    claimed = outcome(ledger, "A-3").model_dump()
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
    ledger.record_answer("run", Delivery(*key("A-3"), channel="emea", **said), LATER)
    assert outcome(ledger, "A-3").model_dump() == claimed | said | {"updated_at": LATER}
    # A later run whose channel refuses the alert must keep it unconfirmed.
    begin(ledger, "again", [A3], retry_unconfirmed=True)
    ledger.claim("again", A3, NOW)
    ledger.record_answer(
        "again", Delivery(*key("A-3"), AlertStatus.FAILED, "emea", "no_service", "gone"), NOW
    )
    refused = outcome(ledger, "A-3").model_dump()
    assert refused["error"] is not None
    changed = {"run_id": "again", "status": "unconfirmed", "reason": "no_service"}
    assert refused == claimed | changed | {"error": refused["error"]}
    decide(ledger, "A-3", DELIVERED)
    resolved = {"status": "sent", "reason": "resolved_delivered", "error": None, "sent_at": NOW}
    found = outcome(ledger, "A-3").model_dump(exclude={"resolutions"})
    assert found.items() <= (refused | resolved | {"updated_at": LATER}).items()
    begin(ledger, "unroutable", [routed("A-4", None)])
    assert (outcome(ledger, "A-4").region, outcome(ledger, "A-4").channel) == ("AMER", None)
    leave_unconfirmed(ledger, "corrected", routed("A-4")._replace(account_region="EMEA"))
    assert (outcome(ledger, "A-4").region, outcome(ledger, "A-4").channel) == ("EMEA", "amer")


def test_resolution_is_kept_after_a_later_run(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", A1)
    decide(ledger, "A-1", SEND_AGAIN, "ana", "not in #amer")
    leave_unconfirmed(ledger, "second", A1)
    decide(ledger, "A-1", DELIVERED, "zoë")
    found = outcome(ledger, "A-1")
    assert (found.status, found.reason, found.sent_at) == ("sent", "resolved_delivered", NOW)
    assert [(one.decision, one.by, one.note, one.run_id, one.reason) for one in found.resolutions] == [
        ("send_again", "ana", "not in #amer", "first", "process_died"),
        ("delivered", "zoë", None, "second", "process_died"),
    ]
    assert {one.at for one in found.resolutions} == {LATER}
    assert look(ledger, "first").statuses == {"A-1": "unconfirmed"}


def test_only_unconfirmed_alerts_can_be_resolved(ledger: Ledger) -> None:
    leave_unconfirmed(ledger, "first", A3)
    decide(ledger, "A-3", DELIVERED)
    begin(ledger, "run", [A1, A2, routed("A-4", None)])
    for item in (A1, A2):
        ledger.claim("run", item, NOW)
    ledger.record_answer("run", sent("A-1"), NOW)
    for account_id, refusal, why in (
        ("A-1", NotUnconfirmed, "is sent, not unconfirmed"),
        ("A-2", NotUnconfirmed, "is being sent by a run now"),
        ("A-3", AlreadyResolved, r"was resolved before \(resolved_delivered\)"),
        ("A-4", NotUnconfirmed, "is failed, not unconfirmed"),
    ):
        before = outcome(ledger, account_id)
        with pytest.raises(
            refusal, match=f"^The at_risk alert of account '{account_id}' in 2026-01-01 {why}"
        ):
            decide(ledger, account_id, SEND_AGAIN)
        assert outcome(ledger, account_id) == before
    with pytest.raises(OutcomeNotFound, match=r"^No at_risk alert of account 'A-5' in 2026-01-01 is in"):
        decide(ledger, "A-5", SEND_AGAIN)


@pytest.mark.parametrize("decision", Decision)
def test_person_and_run_never_both_win(ledger: Ledger, decision: Decision) -> None:
    alerts = [routed(f"A-{number}") for number in range(8)]
    leave_unconfirmed(ledger, "first", *alerts)
    begin(ledger, "second", alerts, retry_unconfirmed=True)

    def person(account_id: str) -> bool:
        try:
            decide(ledger, account_id, decision)
        except NotUnconfirmed:
            return False
        return True

    def claim(alert: Alert) -> bool:
        return ledger.claim("second", alert, LATER).status is AlertStatus.SENDING

    for alert in alerts:
        resolved, claimed = at_once(partial(person, alert.account_id), partial(claim, alert))
        assert len(outcome(ledger, alert.account_id).resolutions) == resolved
        assert claimed == (decision is SEND_AGAIN or not resolved)
