"""The rows of `settlements`, and what each does to the outcome it settles, within a transaction."""

import uuid

from sqlalchemy import Connection, insert

from core.domain import AlertType, OutcomeStatus, Settlement
from core.errors import AlreadySettled, NotUnconfirmed
from core.outcome_rows import decide_outcome, not_on_record, outcome_of
from core.outcomes import DECIDED, Outcome
from core.tables import METADATA

_SETTLEMENTS = METADATA.tables["settlements"]


def settle_by_hand(connection: Connection, settlement: Settlement) -> None:
    """Settle what is unconfirmed; raises `OutcomeNotFound`, `AlreadySettled` or `NotUnconfirmed`."""
    found = outcome_of(connection, settlement.account_id, settlement.month)
    if found is None:
        raise not_on_record(settlement.account_id, settlement.month)
    if not decide_outcome(connection, settlement):
        _refuse(settlement, found)
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


def _refuse(settlement: Settlement, found: Outcome) -> None:
    who = f"The alert of account {settlement.account_id!r} in {settlement.month}"
    if found.reason in DECIDED.values():
        raise AlreadySettled(f"{who} was settled before ({found.reason}); nothing was changed")
    if found.status is OutcomeStatus.SENDING:
        raise NotUnconfirmed(f"{who} is being sent by a run right now; look again when that is over")
    raise NotUnconfirmed(f"{who} is not unconfirmed but {found.status}; nothing was changed")
