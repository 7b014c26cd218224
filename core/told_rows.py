"""The rows of `support_told`: what support was told of each alert, the last time."""

from dataclasses import asdict
from datetime import date

from sqlmodel import Session, select

from core.domain import AlertType, OutcomeStatus
from core.outcomes import Report, Told
from core.tables import METADATA, RunRow, SupportToldRow
from core.upsert import upsert

_SUPPORT_TOLD = METADATA.tables["support_told"]


def reports_told(session: Session, month: date, to: str | None) -> dict[str, Report]:
    """Give what was told last of the month's alerts, by account_id; with an address, only what went there."""
    query = select(SupportToldRow).where(
        SupportToldRow.month == month, SupportToldRow.alert_type == AlertType.AT_RISK
    )
    if to is not None:
        query = query.where(SupportToldRow.told_to == to)
    return {
        row.account_id: Report(
            account_id=row.account_id,
            status=OutcomeStatus(row.status),
            reason=row.reason,
            channel=row.channel,
            region=row.region,
            tried_by=row.tried_by,
        )
        for row in session.exec(query)
    }


def record_told(session: Session, run: RunRow, told: Told) -> None:
    """Keep what support knows by the notification of this run."""
    common = {
        "month": run.month,
        "alert_type": AlertType.AT_RISK,
        "told_to": told.to,
        "told_at": told.at,
        "run_id": run.run_id,
    }
    upsert(session.connection(), _SUPPORT_TOLD, [common | asdict(report) for report in told.reports])
