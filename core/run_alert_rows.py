"""The rows of `run_alerts`: each alert as one run saw it, and what that run made of it."""

from collections.abc import Sequence
from dataclasses import asdict, fields

from sqlalchemy import Connection, bindparam
from sqlmodel import Session, insert, select, update

from core.domain import AlertStatus, AlertType, Delivery, RoutedAlert
from core.tables import METADATA, RunAlertRow

_RUN_ALERTS = METADATA.tables["run_alerts"]
_CHANGED = [field.name for field in fields(Delivery) if field.name != "account_id"]
_RECORD_DELIVERY = update(_RUN_ALERTS).where(
    _RUN_ALERTS.c.run_id == bindparam("of_run"),
    _RUN_ALERTS.c.account_id == bindparam("of_account"),
    _RUN_ALERTS.c.alert_type == AlertType.AT_RISK,
)


def record_alerts(
    session: Session, run_id: str, routed: Sequence[RoutedAlert], deliveries: Sequence[Delivery]
) -> None:
    """Record every alert that a run saw, in their order, each with what the run is to make of it."""
    rows = [
        {
            **asdict(item.alert),
            **asdict(delivery),
            "run_id": run_id,
            "alert_type": AlertType.AT_RISK,
            "position": position,
        }
        for position, (item, delivery) in enumerate(zip(routed, deliveries, strict=True))
    ]
    if rows:
        session.execute(insert(RunAlertRow), rows)


def record_deliveries(connection: Connection, run_id: str, deliveries: Sequence[Delivery]) -> None:
    """Record what the run has made of alerts that it recorded before."""
    if not deliveries:
        return
    changes = [
        {"of_run": run_id, "of_account": delivery.account_id}
        | {name: getattr(delivery, name) for name in _CHANGED}
        for delivery in deliveries
    ]
    connection.execute(_RECORD_DELIVERY, changes)


def deliveries_of(session: Session, run_id: str) -> dict[str, Delivery]:
    """Give what the run has made of its alerts so far, by account_id."""
    rows = session.exec(select(RunAlertRow).where(RunAlertRow.run_id == run_id))
    return {
        row.account_id: Delivery(
            row.account_id,
            AlertStatus(row.status),
            row.channel,
            row.reason,
            row.error,
            row.attempts,
            row.sent_at,
        )
        for row in rows
    }
