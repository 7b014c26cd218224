"""The rows of `alert_outcomes`: one an alert, read, claimed, settled and left behind within a transaction.

An alert is claimed and settled while other writers wait: plain statements, compiled once, take half the time
of whole rows as objects.
"""

from collections.abc import Iterable
from dataclasses import fields
from datetime import date, datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Row, and_, bindparam
from sqlalchemy import select as core_select
from sqlmodel import Session, select, update

from core.domain import AlertType, Decision, Delivery, OutcomeStatus, RoutedAlert, Settlement
from core.errors import OutcomeNotFound
from core.outcomes import DECIDED, STATUS_OF, Outcome
from core.tables import METADATA, OutcomeRow
from core.upsert import upsert

_OUTCOMES = METADATA.tables["alert_outcomes"]
_THIS_OUTCOME = and_(
    _OUTCOMES.c.account_id == bindparam("of_account"),
    _OUTCOMES.c.month == bindparam("of_month"),
    _OUTCOMES.c.alert_type == AlertType.AT_RISK,
)
_OUTCOME_OF = core_select(_OUTCOMES).where(_THIS_OUTCOME)
_SETTLED = [field.name for field in fields(Delivery) if field.name not in {"account_id", "channel"}]
_SETTLE_OUTCOME = update(_OUTCOMES).where(_THIS_OUTCOME)


class OfRun(Protocol):
    """What an outcome keeps of the run that wrote it."""

    @property
    def run_id(self) -> str:
        """The run."""

    @property
    def month(self) -> date:
        """Its month."""


def outcomes_of(session: Session, month: date) -> dict[str, Outcome]:
    """Give what is on record of the month's alerts, by account_id."""
    rows = session.exec(
        select(OutcomeRow).where(OutcomeRow.month == month, OutcomeRow.alert_type == AlertType.AT_RISK)
    )
    return {row.account_id: _outcome(row) for row in rows}


def outcome_of(connection: Connection, account_id: str, month: date) -> Outcome | None:
    """Give what is on record of one alert."""
    key = {"of_account": account_id, "of_month": month}
    row = connection.execute(_OUTCOME_OF, key).one_or_none()
    return _outcome(row) if row else None


def write_outcomes(
    connection: Connection, run: OfRun, found: Iterable[tuple[RoutedAlert, Delivery]], now: datetime
) -> None:
    """Put on record what the run makes of these alerts, whatever stood there before."""
    values: list[dict[str, Any]] = [
        {
            "account_id": delivery.account_id,
            "month": run.month,
            "alert_type": AlertType.AT_RISK,
            "region": routed.alert.account_region,
            "channel": delivery.channel,
            "status": OutcomeStatus(delivery.status),
            "reason": delivery.reason,
            "error": delivery.error,
            "attempts": delivery.attempts,
            "run_id": run.run_id,
            "sent_at": delivery.sent_at,
            "updated_at": now,
        }
        for routed, delivery in found
    ]
    upsert(connection, _OUTCOMES, values)


def settle_outcome(connection: Connection, month: date, delivery: Delivery, now: datetime) -> None:
    """Put the answer to a claim on record; region, channel and run stay those of the claim."""
    key = {"of_account": delivery.account_id, "of_month": month}
    values = {name: getattr(delivery, name) for name in _SETTLED}
    connection.execute(_SETTLE_OUTCOME, key | values | {"updated_at": now})


def decide_outcome(connection: Connection, settlement: Settlement) -> bool:
    """Compare and set: only what is unconfirmed at this instant is decided, whoever else writes."""
    values: dict[str, Any] = {
        "status": STATUS_OF[settlement.decision],
        "reason": DECIDED[settlement.decision],
        "error": None,
        "updated_at": settlement.at,
    }
    if settlement.decision is Decision.DELIVERED:
        # When it was posted, as nearly as anyone knows: when the ledger last heard of it.
        values["sent_at"] = _OUTCOMES.c.updated_at
    unconfirmed = _OUTCOMES.c.status == OutcomeStatus.UNCONFIRMED
    key = {"of_account": settlement.account_id, "of_month": settlement.month}
    changed = connection.execute(update(_OUTCOMES).where(_THIS_OUTCOME, unconfirmed).values(values), key)
    return changed.rowcount == 1


def not_on_record(account_id: str, month: date) -> OutcomeNotFound:
    """Say that the ledger knows of no such alert."""
    return OutcomeNotFound(f"No alert of account {account_id!r} in {month} is in the ledger")


def _outcome(row: OutcomeRow | Row[*tuple[Any, ...]]) -> Outcome:
    return Outcome(
        account_id=row.account_id,
        status=OutcomeStatus(row.status),
        channel=row.channel,
        reason=row.reason,
        error=row.error,
        attempts=row.attempts,
        run_id=row.run_id,
        sent_at=row.sent_at,
    )
