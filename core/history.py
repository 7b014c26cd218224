"""What is asked of the ledger afterwards: runs, and their alerts, page by page."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import func, tuple_
from sqlmodel import Session, col, select

from core.cursors import bad_cursor, decode_cursor, encode_cursor, one_more_than
from core.database import Database
from core.domain import AlertStatus, Counts, NotificationStatus, OutcomeStatus, RunStatus, Scan
from core.errors import RunNotFound
from core.outcome_views import outcomes_by_account, read_outcome, read_outcomes
from core.outcomes import count
from core.overview import read_channels, read_months
from core.standing import Standing, read_standing
from core.tables import RunAlertRow, RunRow
from core.views import (
    AlertPage,
    AlertView,
    ChannelView,
    CountsView,
    DeliveryErrorView,
    ErrorView,
    MonthView,
    OutcomePage,
    OutcomeView,
    RunPage,
    RunSummary,
    RunView,
    SupportMessageView,
    WarningView,
)

SAMPLE_SIZE = 10


class History:
    """Reads of the ledger; none of them changes it."""

    def __init__(self, database: Database) -> None:
        """Read from an opened database."""
        self._database = database

    def run(self, run_id: str) -> RunView:
        """Give one run with samples of its alerts and errors; raises `RunNotFound`."""
        with self._database.read() as session:
            row = _get_run(session, run_id)
            alerts = (
                select(RunAlertRow).where(RunAlertRow.run_id == run_id).order_by(col(RunAlertRow.position))
            )
            errors = alerts.where(col(RunAlertRow.status).in_([AlertStatus.FAILED, AlertStatus.UNCONFIRMED]))
            support = None
            if row.support_subject is not None:
                support = SupportMessageView(subject=row.support_subject, body=row.support_body or "")
            return RunView(
                **dict(_summary(session, row)),
                support_notification=row.support_notification
                and NotificationStatus(row.support_notification),
                support_error=row.support_error,
                support_message=support,
                sample_alerts=[_alert(alert) for alert in session.exec(alerts.limit(SAMPLE_SIZE))],
                sample_errors=[
                    DeliveryErrorView.model_validate(alert, from_attributes=True)
                    for alert in session.exec(errors.limit(SAMPLE_SIZE))
                ],
            )

    def runs(self, month: date | None, status: RunStatus | None, limit: int, cursor: str | None) -> RunPage:
        """Give a page of runs, newest first; raises `InvalidRequest` for a cursor that none gave."""
        query = select(RunRow).order_by(col(RunRow.started_at).desc(), col(RunRow.run_id).desc())
        if month is not None:
            query = query.where(RunRow.month == month)
        if status is not None:
            query = query.where(RunRow.status == status)
        if cursor is not None:
            instant, _, run_id = decode_cursor(cursor).partition(" ")
            try:
                started_at = datetime.fromisoformat(instant)
            except ValueError:
                raise bad_cursor() from None
            if started_at.utcoffset() != timedelta(0):
                raise bad_cursor()
            query = query.where(tuple_(RunRow.started_at, RunRow.run_id) < tuple_(started_at, run_id))
        with self._database.read() as session:
            rows = session.exec(query.limit(one_more_than(limit))).all()
            more = len(rows) > limit
            runs = [_summary(session, row) for row in rows[:limit]]
        return RunPage(
            runs=runs,
            next_cursor=encode_cursor(f"{runs[-1].started_at.isoformat()} {runs[-1].run_id}")
            if more
            else None,
        )

    def alerts(
        self, run_id: str, status: AlertStatus | None, limit: int | None, cursor: str | None
    ) -> AlertPage:
        """Give a page of the run's alerts, in order of account_id; without a limit, all of them.

        Raises `RunNotFound`, `InvalidRequest`.
        """
        query = select(RunAlertRow).where(RunAlertRow.run_id == run_id).order_by(col(RunAlertRow.position))
        if status is not None:
            query = query.where(RunAlertRow.status == status)
        if cursor is not None:
            position = decode_cursor(cursor)
            if not position.isdecimal() or len(position) > 18:  # noqa: PLR2004  # a 64-bit integer
                raise bad_cursor()
            query = query.where(RunAlertRow.position > int(position))
        with self._database.read() as session:
            _get_run(session, run_id)
            rows = session.exec(query.limit(one_more_than(limit))).all()
        shown = rows[:limit]
        return AlertPage(
            alerts=[_alert(row) for row in shown],
            next_cursor=encode_cursor(str(shown[-1].position)) if len(rows) > len(shown) else None,
        )

    def outcomes(
        self, month: date | None, status: OutcomeStatus | None, limit: int | None, cursor: str | None
    ) -> OutcomePage:
        """Give a page of what became of alerts for good, newest month first; without a limit, all of it.

        Raises `InvalidRequest`.
        """
        with self._database.read() as session:
            return read_outcomes(session, month, status, limit, cursor)

    def outcome(self, month: date, account_id: str) -> OutcomeView:
        """Give what is on record of one alert for good; raises `OutcomeNotFound`."""
        with self._database.read() as session:
            return read_outcome(session, month, account_id)

    def channels(self, run_id: str) -> list[ChannelView]:
        """Count the run's alerts by channel and status; those without a channel come last."""
        with self._database.read() as session:
            return read_channels(session, run_id)

    def months(self, until: date = date.max) -> list[MonthView]:
        """Give what is known of the months up to and with `until`, oldest first."""
        with self._database.read() as session:
            return read_months(session, until)

    def latest_outcomes(self, month: date, account_ids: Sequence[str]) -> dict[str, OutcomeView]:
        """Give what is on record for good of these accounts' alerts, by account_id."""
        with self._database.read() as session:
            return outcomes_by_account(session, month, account_ids)

    def standing(self) -> Standing:
        """Give what there is of each status now; no run waits for it."""
        with self._database.read() as session:
            return read_standing(session)


def count_alerts(session: Session, run: RunRow) -> Counts:
    """Add up a run from what it recorded of its alerts."""
    groups = session.exec(
        select(RunAlertRow.status, RunAlertRow.reason, func.count())
        .where(RunAlertRow.run_id == run.run_id)
        .group_by(RunAlertRow.status, col(RunAlertRow.reason))
    )
    scan = Scan(run.rows_scanned, run.duplicates_found, run.at_risk, run.below_threshold)
    return count(scan, ((AlertStatus(status), reason, number) for status, reason, number in groups))


def _get_run(session: Session, run_id: str) -> RunRow:
    run = session.get(RunRow, run_id)
    if run is None:
        raise RunNotFound(f"No run {run_id!r} is in the ledger")
    return run


def _summary(session: Session, row: RunRow) -> RunSummary:
    # The counts of a closed run are stored with it; those of a running one are still on their way.
    counts = count_alerts(session, row) if row.status == RunStatus.RUNNING else row
    return RunSummary(
        run_id=row.run_id,
        flow_run_id=row.flow_run_id,
        source_uri=row.source_uri,
        source_version=row.source_version,
        month=row.month,
        dry_run=row.dry_run,
        retry_unconfirmed=row.retry_unconfirmed,
        status=RunStatus(row.status),
        started_at=row.started_at,
        finished_at=row.finished_at,
        counts=CountsView.model_validate(counts, from_attributes=True),
        warnings=[WarningView.model_validate(warning) for warning in row.warnings],
        error=ErrorView(code=row.error_code, message=row.error_message or "") if row.error_code else None,
    )


def _alert(row: RunAlertRow) -> AlertView:
    return AlertView.model_validate(row, from_attributes=True)
