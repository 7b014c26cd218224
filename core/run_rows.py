"""The rows of `runs`: whether a run may still write, what it scanned, and how it is closed."""

from dataclasses import asdict
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func
from sqlalchemy import select as core_select
from sqlmodel import Session, col, update

from core.domain import AlertStatus, Assessment, OutcomeStatus, RunStatus
from core.errors import Interrupted, RiskAlertsError
from core.history import count_alerts
from core.tables import METADATA, OutcomeRow, RunAlertRow, RunRow

DIED = "process_died"
"""The reason of an alert whose run ended between its request and its answer."""

_RUNS = METADATA.tables["runs"]


class Standing(NamedTuple):
    """What of a run decides about its alerts."""

    run_id: str
    month: date
    retry_unconfirmed: bool
    status: str


_STANDING = core_select(*(_RUNS.c[name] for name in Standing._fields)).where(
    _RUNS.c.run_id == bindparam("of_run")
)


def standing(connection: Connection, run_id: str) -> Standing:
    """Give how a run stands, which must be on record."""
    return Standing(*connection.execute(_STANDING, {"of_run": run_id}).one())


def running(connection: Connection, run_id: str) -> Standing:
    """Give how a run stands; raises `Interrupted` when it is closed."""
    run = standing(connection, run_id)
    if run.status != RunStatus.RUNNING:
        raise Interrupted("Another process took this run for dead and closed it; run the month again")
    return run


def record_scan(run: RunRow, assessment: Assessment) -> None:
    """Keep with the run which version it read, and what the stages before found."""
    run.source_version = assessment.source_version
    run.warnings = [asdict(warning) for warning in assessment.warnings]
    for name, value in asdict(assessment.scan).items():
        setattr(run, name, value)


def close_run(session: Session, run: RunRow, error: RiskAlertsError | None, now: datetime) -> None:
    """End the run, as failed when an error ended it; what it left claimed is unconfirmed."""
    for row in (OutcomeRow, RunAlertRow):
        stamp = {"updated_at": now} if row is OutcomeRow else {}
        session.exec(
            update(row)
            .where(col(row.run_id) == run.run_id, col(row.status) == OutcomeStatus.SENDING)
            .values(
                status=OutcomeStatus.UNCONFIRMED,
                # A claim has no reason yet, unless it is one that an earlier try gave it.
                reason=func.coalesce(row.reason, DIED),
                error="The run ended between the request and its answer: look into the channel",
                **stamp,
            )
        )
    session.exec(
        update(RunAlertRow)
        .where(col(RunAlertRow.run_id) == run.run_id, col(RunAlertRow.status) == AlertStatus.PENDING)
        .values(
            status=AlertStatus.FAILED,
            reason=error.code if error else Interrupted.code,
            error="Not tried: the run ended before; a later run of the month sends it",
        )
    )
    add_up(session, run)
    run.status = RunStatus.FAILED if error else RunStatus.SUCCEEDED
    run.error_code = error.code if error else None
    run.error_message = error.message if error else None
    run.finished_at = now


def add_up(session: Session, run: RunRow) -> None:
    """Store with the run how its alerts add up now."""
    for name, value in asdict(count_alerts(session, run)).items():
        setattr(run, name, value)
