"""`GET /outcomes` and the resolution of unconfirmed alerts over HTTP."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api.service import READERS_AT_ONCE
from core.domain import Resolution
from core.ledger import Ledger, OutcomeView
from core.sources.window import LONGEST_ID
from tests.conftest import Serve
from tests.delivery.world import MONTH, leave_unconfirmed, routed
from tests.service import Service, problem_of
from tests.waiting import until

HOSTILE = "A/1 ?#%2F\t\r\n<b>&amp; ü🚩"


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """Return the ledger of the service, with three unconfirmed alerts."""
    leave_unconfirmed(ledger, "first", routed("A-1"), routed("A-2"), routed(HOSTILE))
    return ledger


def resolve(service: Service, account_id: str, month: object = MONTH, **body: Any) -> tuple[int, Any]:
    """Resolve an alert; return the status and the answer, or the code of a problem."""
    # In ASCII: JSON can hold half a surrogate pair, UTF-8 cannot.
    answer = service.client.post(
        f"/outcomes/{month}/{quote(account_id, safe='')}/resolve",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    return answer.status_code, answer.json() if answer.is_success else problem_of(answer)["code"]


def test_waiting_decisions_delay_no_reads(
    ledger: Ledger, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    record = Ledger.resolve

    def counted(self: Ledger, resolution: Resolution) -> OutcomeView:
        begun.append(resolution)
        return record(self, resolution)

    monkeypatch.setattr(Ledger, "resolve", counted)
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    body = {"decision": "delivered", "by": "ana"}
    with ThreadPoolExecutor(10) as people:
        waiting = [people.submit(resolve, service, "A-1", **body) for _ in range(10)]
        until(lambda: len(begun) > READERS_AT_ONCE)
        assert len(service.get("/outcomes")["outcomes"]) == 3
        assert not any(future.done() for future in waiting)
        holder.execute("ROLLBACK")
        answers = sorted(future.result()[0] for future in waiting)
    holder.close()
    assert answers == [200, *[409] * 9]


@pytest.mark.parametrize("account_id", ["A-1", HOSTILE])
def test_resolved_alert_is_no_longer_listed(ledger: Ledger, service: Service, account_id: str) -> None:
    everyone = ["A-1", "A-2", HOSTILE]
    listed = service.get("/outcomes", status="unconfirmed", month=MONTH.isoformat())
    assert listed["next_cursor"] is None
    assert sorted(one["account_id"] for one in listed["outcomes"]) == sorted(everyone)
    assert service.get("/outcomes", month="2026-02-01")["outcomes"] == []
    before = datetime.now(UTC)
    body = {"decision": "delivered", "by": "Ana Sousa", "note": "seen in #amer"}
    status, outcome = resolve(service, account_id, **body)
    assert (status, outcome["account_id"], outcome["status"]) == (200, account_id, "sent")
    (kept,) = outcome["resolutions"]
    assert {name: kept[name] for name in body} == body
    assert before <= datetime.fromisoformat(kept["at"]) <= datetime.now(UTC)
    assert kept["at"].endswith("Z")
    left = service.get("/outcomes", status="unconfirmed")["outcomes"]
    assert sorted(one["account_id"] for one in left) == sorted(set(everyone) - {account_id})
    assert service.get("/outcomes", status="sent")["outcomes"] == [outcome]
    assert resolve(service, account_id, **body) == (409, "already_resolved")


def test_alerts_of_two_types_are_two_outcomes(ledger: Ledger, service: Service) -> None:
    leave_unconfirmed(ledger, "second", routed("A-1", alert_type="recovered"))
    found = service.get("/outcomes", alert_type="recovered")["outcomes"]
    assert [(one["account_id"], one["alert_type"]) for one in found] == [("A-1", "recovered")]
    body = {"decision": "delivered", "by": "ana"}
    assert resolve(service, "A-1", **body, alert_type="recovered")[0] == 200
    assert resolve(service, "A-1", **body, alert_type="recovered") == (409, "already_resolved")
    assert resolve(service, "A-2", **body, alert_type="recovered") == (404, "outcome_not_found")
    assert resolve(service, "A-1", **body)[0] == 200


def test_longest_id_is_listed_and_resolved(ledger: Ledger, service: Service) -> None:
    account_id = "\x01" * LONGEST_ID
    leave_unconfirmed(ledger, "second", routed(account_id))
    first = service.get("/outcomes", limit=1)
    assert [one["account_id"] for one in first["outcomes"]] == [account_id]
    assert len(service.get("/outcomes", cursor=first["next_cursor"])["outcomes"]) == 3
    assert resolve(service, account_id, decision="delivered", by="Ana Sousa")[0] == 200


def test_refused_resolution_has_a_code(ledger: Ledger, serve: Serve) -> None:
    service = serve()
    good = {"decision": "send_again", "by": "ana"}
    for account_id, month in (("A-9", MONTH), ("A-1", "2025-12-01"), ("", MONTH)):
        assert resolve(service, account_id, month, **good) == (404, "outcome_not_found")
    for month in ("2026-01-15", "January"):
        assert resolve(service, "A-1", month, **good) == (422, "invalid_request")
    bad: dict[str, list[Any]] = {
        "decision": ["sent", None],
        "by": ["", " ", "a\0b", "\ud800", "x" * 201, 1],
        "note": ["x" * 2001, "a\0b", 1],
        "alert_type": [1, "\ud800"],
        "more": [1],
    }
    for name, values in bad.items():
        for value in values:
            assert resolve(service, "A-1", **good | {name: value}) == (422, "invalid_request"), (name, value)
    assert resolve(service, "A-1") == (422, "invalid_request")
    assert "Internal error" not in service.log.getvalue()
    assert len(service.get("/outcomes", status="unconfirmed")["outcomes"]) == 3
