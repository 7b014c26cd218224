"""The statements that write the ledger, each within a transaction of `Database.write`.

Writers wait for each other, so that what a statement reads holds until the end of its transaction. Each
change says how many rows it must touch; another number is a defect, and raises.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Date,
    Insert,
    Table,
    and_,
    bindparam,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from core.domain import (
    PROCESS_DIED,
    RESOLVED,
    STATUS_OF,
    Alert,
    AlertKey,
    AlertStatus,
    AlreadyResolved,
    Assessment,
    Counts,
    Decision,
    Delivery,
    InternalError,
    Interrupted,
    LedgerError,
    NotUnconfirmed,
    Outcome,
    OutcomeNotFound,
    OutcomeStatus,
    Resolution,
    RiskAlertsError,
    RoutedAlert,
    RunRequest,
    RunStatus,
    count_alerts,
    count_found,
)
from core.ledger.liveness import ProcessIdentity
from core.ledger.schema import METADATA, UtcDateTime

RUNS, RUN_ALERTS, OUTCOMES, RESOLUTIONS, NOTIFICATIONS, HEALTH_CHECKS = (
    METADATA.tables[name]
    for name in ("runs", "run_alerts", "alert_outcomes", "resolutions", "notifications", "health_checks")
)

_THIS_RUN = RUNS.c.run_id == bindparam("of_run")
_THIS_OUTCOME = and_(
    OUTCOMES.c.account_id == bindparam("of_account"),
    OUTCOMES.c.month == bindparam("of_month"),
    OUTCOMES.c.alert_type == bindparam("of_type"),
)
_THIS_RUN_ALERT = and_(
    RUN_ALERTS.c.run_id == bindparam("of_run"),
    RUN_ALERTS.c.account_id == bindparam("of_account"),
    RUN_ALERTS.c.alert_type == bindparam("of_type"),
)
_FACTS = [field.name for field in fields(Alert)]
_RESULT = [field.name for field in fields(Delivery) if field.name != "key"]
_OUTCOME = [OUTCOMES.c[field.name] for field in fields(Outcome)]


class RunState(NamedTuple):
    """What of a run decides about its alerts."""

    run_id: str
    month: date
    dry_run: bool
    retry_unconfirmed: bool
    status: str


# Compiled once: an alert is claimed and recorded while other writers wait.
_RUN_STATE = select(*(RUNS.c[name] for name in RunState._fields)).where(_THIS_RUN)
_OUTCOME_OF = select(*_OUTCOME).where(_THIS_OUTCOME)
_OUTCOMES_OF = select(OUTCOMES.c.account_id, OUTCOMES.c.alert_type, *_OUTCOME).where(
    OUTCOMES.c.month == bindparam("of_month")
)
_UPDATE_RUN = update(RUNS).where(_THIS_RUN)
_UPDATE_OUTCOME = update(OUTCOMES).where(_THIS_OUTCOME)
_UPDATE_RUN_ALERT = update(RUN_ALERTS).where(_THIS_RUN_ALERT)
_GROUPS = (
    select(RUN_ALERTS.c.alert_type, RUN_ALERTS.c.status, RUN_ALERTS.c.reason, func.count())
    .where(RUN_ALERTS.c.run_id == bindparam("of_run"))
    .group_by(RUN_ALERTS.c.alert_type, RUN_ALERTS.c.status, RUN_ALERTS.c.reason)
)


def _must_change(result: CursorResult[Any], rows: int, what: str) -> None:
    if result.rowcount != rows:
        raise InternalError(f"The ledger changed {result.rowcount} rows instead of {rows}: {what}")


@cache
def _upsert_into(table: Table, dialect: str) -> Insert:
    statement: postgresql.Insert | sqlite.Insert = (
        postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    )
    changed = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    whole = statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
    return whole.execution_options(preserve_rowcount=True)


def upsert(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Write one row, over the row of the same primary key if there is one."""
    result = connection.execute(_upsert_into(table, connection.dialect.name), dict(values))
    _must_change(result, 1, f"one row of {table.name}")


# Runs


def insert_run(  # noqa: PLR0913, PLR0917  # what a run begins with
    connection: Connection,
    run_id: str,
    request: RunRequest,
    owner: ProcessIdentity,
    flow_run_id: str | None,
    now: datetime,
) -> None:
    """Record that a run has begun, and who runs it; one that was accepted before keeps its beginning."""
    if find_run(connection, run_id):
        running(connection, run_id)
        update_run(connection, run_id, flow_run_id=flow_run_id)
        return
    connection.execute(
        insert(RUNS).values(
            **asdict(request),
            run_id=run_id,
            flow_run_id=flow_run_id,
            status=RunStatus.RUNNING,
            started_at=now,
            heartbeat_at=now,
            host=owner.host,
            pid=owner.pid,
            process_started=owner.started,
            counts_by_type={},
            warnings=[],
        )
    )


def update_run(connection: Connection, run_id: str, **values: Any) -> None:
    """Change columns of a run."""
    if connection.execute(_UPDATE_RUN.values(values), {"of_run": run_id}).rowcount != 1:
        raise _gone(run_id)


def find_run(connection: Connection, run_id: str) -> RunState | None:
    """Return the state of a run, or None when the ledger does not know it."""
    found = connection.execute(_RUN_STATE, {"of_run": run_id}).one_or_none()
    return None if found is None else RunState(*found)


def run_state(connection: Connection, run_id: str) -> RunState:
    """Return the state of a run, which must be on record."""
    run = find_run(connection, run_id)
    if run is None:
        raise _gone(run_id)
    return run


def _gone(run_id: str) -> LedgerError:
    return LedgerError(f"The run {run_id} is no longer in the ledger: was the database replaced?")


def running(connection: Connection, run_id: str) -> RunState:
    """Return the state of a run; raise `Interrupted` when it is closed."""
    run = run_state(connection, run_id)
    if run.status != RunStatus.RUNNING:
        raise Interrupted("Another process took this run for dead and closed it; run the month again")
    return run


def record_scan(connection: Connection, run_id: str, assessment: Assessment) -> None:
    """Record which version of the source the run read, and what its rules found."""
    found = count_found(assessment.scan)
    update_run(
        connection,
        run_id,
        source_version=assessment.source_version,
        warnings=[asdict(warning) for warning in assessment.warnings],
        counts_by_type={alert_type: counts.model_dump() for alert_type, counts in found.items()},
    )


def read_counts(
    connection: Connection, run_id: str, found: Mapping[str, Mapping[str, int]]
) -> dict[str, Counts]:
    """Count what has become of the run's alerts, by alert type; `found` is what is stored with the run."""
    groups = connection.execute(_GROUPS, {"of_run": run_id})
    return count_alerts(
        {alert_type: Counts.model_validate(counts) for alert_type, counts in found.items()},
        ((alert_type, AlertStatus(status), reason, number) for alert_type, status, reason, number in groups),
    )


def add_up(connection: Connection, run_id: str) -> dict[str, Counts]:
    """Store with the run what has become of its alerts, and return it by alert type."""
    stored = connection.execute(
        select(RUNS.c.counts_by_type).where(_THIS_RUN), {"of_run": run_id}
    ).scalar_one()
    counts = read_counts(connection, run_id, stored)
    update_run(
        connection, run_id, counts_by_type={name: found.model_dump() for name, found in counts.items()}
    )
    return counts


def close_run(connection: Connection, run_id: str, error: RiskAlertsError | None, now: datetime) -> None:
    """End the run, as failed when an error ended it; what it has claimed becomes unconfirmed."""
    run_state(connection, run_id)
    for table, stamp in ((OUTCOMES, {"updated_at": now}), (RUN_ALERTS, {})):
        connection.execute(
            update(table)
            .where(table.c.run_id == run_id, table.c.status == OutcomeStatus.SENDING)
            .values(
                status=OutcomeStatus.UNCONFIRMED,
                # A claim has a reason only when an earlier try may have been delivered.
                reason=func.coalesce(table.c.reason, PROCESS_DIED),
                error="The run ended between the request and its answer: look into the channel",
                **stamp,
            )
        )
    connection.execute(
        update(RUN_ALERTS)
        .where(RUN_ALERTS.c.run_id == run_id, RUN_ALERTS.c.status == AlertStatus.PENDING)
        .values(
            status=AlertStatus.FAILED,
            reason=error.code if error else Interrupted.code,
            error="Not tried: the run ended before; a later run of the month sends it",
        )
    )
    add_up(connection, run_id)
    update_run(
        connection,
        run_id,
        status=RunStatus.FAILED if error else RunStatus.SUCCEEDED,
        error_code=error.code if error else None,
        error_message=error.message if error else None,
        finished_at=now,
    )


# The alerts of a run


def insert_alerts(
    connection: Connection, run_id: str, first: int, planned: Sequence[tuple[RoutedAlert, Delivery]]
) -> None:
    """Record alerts as the run saw them, from the position `first` on, and what it is to do with each."""
    rows = [
        {name: getattr(item.alert, name) for name in _FACTS}
        | {name: getattr(delivery, name) for name in _RESULT}
        | {"run_id": run_id, "position": position}
        for position, (item, delivery) in enumerate(planned, first)
    ]
    connection.execute(insert(RUN_ALERTS), rows)


def mark_would_send(connection: Connection, run_id: str, number: int) -> None:
    """Record that a dry run would send its pending alerts, so many of them."""
    result = connection.execute(
        update(RUN_ALERTS)
        .where(RUN_ALERTS.c.run_id == run_id, RUN_ALERTS.c.status == AlertStatus.PENDING)
        .values(status=AlertStatus.WOULD_SEND)
    )
    _must_change(result, number, f"pending alerts of run {run_id}")


def record_unroutable(connection: Connection, run: RunState, number: int, now: datetime) -> None:
    """Record the outcome of the run's alerts without a channel, so many of them."""
    columns: dict[str, ColumnElement[Any]] = {
        "region": RUN_ALERTS.c.account_region,
        "month": literal(run.month, Date()),
        "updated_at": literal(now, UtcDateTime()),
    }
    names = [column.name for column in OUTCOMES.c]
    seen = select(*(columns[name] if name in columns else RUN_ALERTS.c[name] for name in names)).where(
        RUN_ALERTS.c.run_id == run.run_id, RUN_ALERTS.c.status == AlertStatus.FAILED
    )
    write = _upsert_into(OUTCOMES, connection.dialect.name).from_select(names, seen)
    _must_change(connection.execute(write), number, f"outcomes of run {run.run_id}")


def record_deliveries(connection: Connection, run_id: str, deliveries: Sequence[Delivery]) -> None:
    """Record what the run has done with alerts that it recorded before."""
    if deliveries:
        changes = [
            {"of_run": run_id, "of_account": delivery.key.account_id, "of_type": delivery.key.alert_type}
            | {name: getattr(delivery, name) for name in _RESULT}
            for delivery in deliveries
        ]
        result = connection.execute(_UPDATE_RUN_ALERT, changes)
        _must_change(result, len(deliveries), f"alerts of run {run_id}")


# Outcomes


def outcomes_of(connection: Connection, month: date) -> dict[AlertKey, Outcome]:
    """Return what is on record of the month's alerts."""
    rows = connection.execute(_OUTCOMES_OF, {"of_month": month})
    return {AlertKey(account_id, alert_type): _outcome(found) for account_id, alert_type, *found in rows}


def outcome_of(connection: Connection, key: AlertKey, month: date) -> Outcome | None:
    """Return what is on record of one alert."""
    found = connection.execute(_OUTCOME_OF, _bound(key, month)).one_or_none()
    return None if found is None else _outcome(found)


def write_outcome(
    connection: Connection, run: RunState, routed: RoutedAlert, delivery: Delivery, now: datetime
) -> None:
    """Record the run's result of an alert, over what is on record of it."""
    upsert(
        connection,
        OUTCOMES,
        routed.key._asdict()
        | {name: getattr(delivery, name) for name in _RESULT}
        | {
            "month": run.month,
            "region": routed.alert.account_region,
            "run_id": run.run_id,
            "updated_at": now,
        },
    )


def update_outcome(connection: Connection, month: date, delivery: Delivery, now: datetime) -> None:
    """Record the answer to a claim; region, channel and run stay those of the claim."""
    values = {name: getattr(delivery, name) for name in _RESULT if name != "channel"}
    result = connection.execute(_UPDATE_OUTCOME, _bound(delivery.key, month) | values | {"updated_at": now})
    _must_change(result, 1, f"the outcome of {delivery.key} in {month}")


def resolve(connection: Connection, resolution: Resolution) -> None:
    """Record a person's decision about an unconfirmed alert.

    Raises `OutcomeNotFound`; `AlreadyResolved` when a person was first, `NotUnconfirmed` when a run was.
    """
    found = outcome_of(connection, resolution.key, resolution.month)
    if found is None:
        raise not_on_record(resolution.key, resolution.month)
    if found.status is not OutcomeStatus.UNCONFIRMED:
        raise _refused(resolution, found)
    values: dict[str, Any] = {
        "status": STATUS_OF[resolution.decision],
        "reason": RESOLVED[resolution.decision],
        "error": None,
        "updated_at": resolution.at,
    }
    if resolution.decision is Decision.DELIVERED:
        # When it was posted, as nearly as anyone knows: when the ledger last heard of it.
        values["sent_at"] = OUTCOMES.c.updated_at
    unconfirmed = OUTCOMES.c.status == OutcomeStatus.UNCONFIRMED
    result = connection.execute(
        update(OUTCOMES).where(_THIS_OUTCOME, unconfirmed).values(values),
        _bound(resolution.key, resolution.month),
    )
    _must_change(result, 1, f"the outcome of {resolution.key} in {resolution.month}")
    connection.execute(
        insert(RESOLUTIONS).values(
            **resolution.key._asdict(),
            resolution_id=str(uuid.uuid4()),
            month=resolution.month,
            decision=resolution.decision,
            resolved_by=resolution.by,
            resolved_at=resolution.at,
            note=resolution.note,
            run_id=found.run_id,
            reason=found.reason,
        )
    )


def not_on_record(key: AlertKey, month: date) -> OutcomeNotFound:
    """Return the error for an alert that the ledger does not know."""
    return OutcomeNotFound(
        f"No {key.alert_type} alert of account {key.account_id!r} in {month} is in the ledger;"
        " GET /outcomes lists the alerts that are"
    )


def _refused(resolution: Resolution, found: Outcome) -> RiskAlertsError:
    key = resolution.key
    alert = f"The {key.alert_type} alert of account {key.account_id!r} in {resolution.month}"
    if found.reason in RESOLVED.values():
        return AlreadyResolved(f"{alert} was resolved before ({found.reason}); nothing was changed")
    if found.status is OutcomeStatus.SENDING:
        return NotUnconfirmed(f"{alert} is being sent by a run now; look again when that run is over")
    return NotUnconfirmed(f"{alert} is {found.status}, not unconfirmed; nothing was changed")


def _bound(key: AlertKey, month: date) -> dict[str, Any]:
    return {"of_account": key.account_id, "of_month": month, "of_type": key.alert_type}


def _outcome(found: Iterable[Any]) -> Outcome:
    status, *rest = found
    return Outcome(OutcomeStatus(status), *rest)
