"""The rows of `settlements`, and what each does to the outcome it settles, within a transaction."""

import uuid

from sqlalchemy import Connection, insert, select, update

from core.domain import AlertType, Decision, OutcomeStatus, Settlement
from core.errors import AlreadySettled, NotUnconfirmed, OutcomeNotFound
from core.outcomes import DECIDED, STATUS_OF
from core.tables import METADATA

_OUTCOMES = METADATA.tables["alert_outcomes"]
_SETTLEMENTS = METADATA.tables["settlements"]


def settle_by_hand(connection: Connection, settlement: Settlement) -> None:
    """Compare and set: only what is unconfirmed at this instant is settled, whoever else writes.

    Raises `OutcomeNotFound`, `AlreadySettled` or `NotUnconfirmed`.
    """
    this_outcome = (
        _OUTCOMES.c.account_id == settlement.account_id,
        _OUTCOMES.c.month == settlement.month,
        _OUTCOMES.c.alert_type == AlertType.AT_RISK,
    )
    found = connection.execute(select(_OUTCOMES).where(*this_outcome)).one_or_none()
    if found is None:
        raise OutcomeNotFound(
            f"No alert of account {settlement.account_id!r} in {settlement.month} is in the ledger"
        )
    values = {
        "status": STATUS_OF[settlement.decision],
        "reason": DECIDED[settlement.decision],
        "error": None,
        "updated_at": settlement.at,
    }
    if settlement.decision is Decision.DELIVERED:
        # When it was posted, as nearly as anyone knows: when the ledger last heard of it.
        values["sent_at"] = found.updated_at
    changed = connection.execute(
        update(_OUTCOMES).where(*this_outcome, _OUTCOMES.c.status == OutcomeStatus.UNCONFIRMED).values(values)
    )
    if changed.rowcount != 1:
        _refuse(settlement, found.status, found.reason)
    connection.execute(
        insert(_SETTLEMENTS).values(
            settlement_id=str(uuid.uuid4()),
            account_id=settlement.account_id,
            month=settlement.month,
            alert_type=AlertType.AT_RISK,
            decision=settlement.decision,
            settled_by=settlement.by,
            settled_at=settlement.at,
            note=settlement.note,
            run_id=found.run_id,
            reason=found.reason,
        )
    )


def _refuse(settlement: Settlement, status: str, reason: str | None) -> None:
    who = f"The alert of account {settlement.account_id!r} in {settlement.month}"
    if reason in DECIDED.values():
        raise AlreadySettled(f"{who} was settled before ({reason}); nothing was changed")
    if status == OutcomeStatus.SENDING:
        raise NotUnconfirmed(f"{who} is being sent by a run right now; look again when that is over")
    raise NotUnconfirmed(f"{who} is not unconfirmed but {status}; nothing was changed")
