"""The statements that write the ledger, each within a transaction of `Database.write`.

Only one transaction writes at a time, so what it has read does not change until it ends. Each change
checks the number of changed rows, and raises `InternalError` if it is not the expected number.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.domain import (
    PROCESS_DIED,
    RESOLVED,
    STATUS_OF,
    Alert,
    AlertKey,
    AlertStatus,
    AlreadyResolved,
    Counts,
    Decision,
    Delivery,
    InternalError,
    Interrupted,
    LedgerError,
    NotUnconfirmed,
    OutcomeNotFound,
    Resolution,
    RiskAlertsError,
    RunStatus,
    count_alerts,
)
from core.ledger.liveness import ProcessIdentity
from core.ledger.schema import OUTCOMES, RESOLUTIONS, RUN_ALERTS, RUNS, UtcDateTime

COUNTS = TypeAdapter(dict[str, Counts])
"""The column `counts_by_type`."""
RESULT_COLUMNS = [field.name for field in fields(Delivery) if field.name not in {"key", "run_id"}]
"""The columns of a result, in `run_alerts` and `alert_outcomes`."""
ALERT_COLUMNS = [field.name for field in fields(Alert) if field.name not in RESULT_COLUMNS]
"""The other columns of an alert, in `run_alerts`."""


class RunState(NamedTuple):
    """The columns of a run on which decisions about the run and its alerts depend."""

    run_id: str
    month: date
    dry_run: bool
    retry_unconfirmed: bool
    status: str
    host: str
    pid: int
    process_started: str
    heartbeat_at: datetime

    @property
    def owner(self) -> ProcessIdentity:
        """Return the process of the run."""
        return ProcessIdentity(self.host, self.pid, self.process_started)


def _matches(table: sa.Table, *names: str) -> sa.ColumnElement[bool]:
    """Return the condition that these columns equal the bound values of `_parameters`."""
    return sa.and_(*(table.c[name] == bindparam(f"of_{name}") for name in names))


def _parameters(key: AlertKey, **values: Any) -> dict[str, Any]:
    """Return the bound values of a key and of other columns for `_matches`."""
    return {f"of_{name}": value for name, value in (key._asdict() | values).items()}


# The statements are built once, because other writers wait while an alert is claimed or recorded.
_THIS_RUN = _matches(RUNS, "run_id")
_THIS_OUTCOME = _matches(OUTCOMES, *AlertKey._fields, "month")
_THIS_RUN_ALERT = _matches(RUN_ALERTS, *AlertKey._fields, "run_id")
_FAILED_IN_PLAN = sa.and_(_matches(RUN_ALERTS, "run_id"), RUN_ALERTS.c.status == AlertStatus.FAILED)
_RUN_STATES = select(*(RUNS.c[name] for name in RunState._fields))
_RUN_STATE = _RUN_STATES.where(_THIS_RUN)
_OUTCOMES = select(*(OUTCOMES.c[name] for name in (*AlertKey._fields, *RESULT_COLUMNS, "run_id")))
_OUTCOME_OF = _OUTCOMES.where(_THIS_OUTCOME)
_OUTCOMES_OF = _OUTCOMES.where(_matches(OUTCOMES, "month"))
_UPDATE_RUN = update(RUNS).where(_THIS_RUN)
_UPDATE_RUN_ALERT = update(RUN_ALERTS).where(_THIS_RUN_ALERT)
_ALERT_COUNTS = (
    select(RUN_ALERTS.c.alert_type, RUN_ALERTS.c.status, RUN_ALERTS.c.reason, func.count())
    .where(_matches(RUN_ALERTS, "run_id"))
    .group_by(RUN_ALERTS.c.alert_type, RUN_ALERTS.c.status, RUN_ALERTS.c.reason)
)


@cache
def _upsert_into(table: sa.Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Return an insert that replaces the row with the same primary key."""
    statement: postgresql.Insert | sqlite.Insert = (
        postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    )
    changed = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    upserting = statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
    return upserting.execution_options(preserve_rowcount=True)


@cache
def _copy_outcomes(dialect: str, *, unroutable: bool) -> sa.Insert:
    """Return the insert that copies one alert of a run, or all without a channel, to the outcomes."""
    columns: dict[str, sa.ColumnElement[Any]] = {
        "region": RUN_ALERTS.c.account_region,
        "month": bindparam("of_month", type_=OUTCOMES.c.month.type),
        "updated_at": bindparam("now", type_=UtcDateTime()),
    }
    names = OUTCOMES.c.keys()
    seen = select(*(columns[name] if name in columns else RUN_ALERTS.c[name] for name in names))
    which = _FAILED_IN_PLAN if unroutable else _THIS_RUN_ALERT
    return _upsert_into(OUTCOMES, dialect).from_select(names, seen.where(which))


def _must_change(result: sa.CursorResult[Any], rows: int, what: str) -> None:
    if result.rowcount != rows:
        raise InternalError(f"The ledger changed {result.rowcount} rows instead of {rows}: {what}")


def upsert(connection: Connection, table: sa.Table, **values: Any) -> None:
    """Insert one row, or replace the row with the same primary key."""
    result = connection.execute(_upsert_into(table, connection.dialect.name), values)
    _must_change(result, 1, f"one row of {table.name}")


# Runs


def update_run(connection: Connection, run_id: str, **values: Any) -> None:
    """Change columns of a run."""
    if connection.execute(_UPDATE_RUN.values(values), {"of_run_id": run_id}).rowcount != 1:
        raise _run_missing(run_id)


def find_run(connection: Connection, run_id: str) -> RunState | None:
    """Return the state of a run, or None for an unknown run."""
    found = connection.execute(_RUN_STATE, {"of_run_id": run_id}).one_or_none()
    return None if found is None else RunState(*found)


def run_state(connection: Connection, run_id: str) -> RunState:
    """Return the state of a run; raise `LedgerError` for an unknown one."""
    run = find_run(connection, run_id)
    if run is None:
        raise _run_missing(run_id)
    return run


def _run_missing(run_id: str) -> LedgerError:
    return LedgerError(
        f"The run {run_id} is no longer in the ledger: check whether the database was replaced"
    )


def require_running(connection: Connection, run_id: str) -> RunState:
    """Return the state of a running run; raise `Interrupted` when it is closed."""
    run = run_state(connection, run_id)
    if run.status != RunStatus.RUNNING:
        raise Interrupted("Another process closed this run because it seemed dead; run the month again")
    return run


def running_runs(connection: Connection) -> list[RunState]:
    """Return the states of all running runs."""
    rows = connection.execute(_RUN_STATES.where(RUNS.c.status == RunStatus.RUNNING))
    return [RunState(*row) for row in rows]


def read_counts(connection: Connection, run_id: str, found: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return the counts of a run by alert type; `found` are the counts of its scan."""
    groups = connection.execute(_ALERT_COUNTS, {"of_run_id": run_id})
    return count_alerts(
        found,
        ((alert_type, AlertStatus(status), reason, number) for alert_type, status, reason, number in groups),
    )


def update_counts(connection: Connection, run_id: str) -> dict[str, Counts]:
    """Count the run's alerts, store the counts with the run, and return them by alert type."""
    stored = connection.scalar(select(RUNS.c.counts_by_type).where(_THIS_RUN), {"of_run_id": run_id})
    counts = read_counts(connection, run_id, COUNTS.validate_python(stored))
    update_run(connection, run_id, counts_by_type=COUNTS.dump_python(counts))
    return counts


def close_run(connection: Connection, run_id: str, error: RiskAlertsError | None, now: datetime) -> None:
    """Close the run, as failed when it has an error; its claims become unconfirmed."""
    run_state(connection, run_id)
    for table, stamp in ((OUTCOMES, {"updated_at": now}), (RUN_ALERTS, {})):
        connection.execute(
            update(table)
            .where(table.c.run_id == run_id, table.c.status == AlertStatus.SENDING)
            .values(
                status=AlertStatus.UNCONFIRMED,
                # A claim has a reason only when an earlier try may have been delivered.
                reason=func.coalesce(table.c.reason, PROCESS_DIED),
                error="The run ended between the request and its answer: look into the channel",
                **stamp,
            )
        )
    end_pending(
        connection,
        run_id,
        status=AlertStatus.FAILED,
        reason=error.code if error else Interrupted.code,
        error="Not tried: the run ended before; a later run of the month sends it",
    )
    update_counts(connection, run_id)
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
    connection: Connection, run_id: str, first: int, planned: Sequence[tuple[Alert, Delivery]]
) -> None:
    """Record alerts and their planned deliveries, from the position `first` on."""
    rows = [
        {name: getattr(alert, name) for name in ALERT_COLUMNS}
        | {name: getattr(delivery, name) for name in RESULT_COLUMNS}
        | {"run_id": run_id, "position": position}
        for position, (alert, delivery) in enumerate(planned, first)
    ]
    connection.execute(insert(RUN_ALERTS), rows)


def end_pending(connection: Connection, run_id: str, number: int | None = None, **values: Any) -> None:
    """Change the pending alerts of a run, and check their `number` unless it is None."""
    pending = RUN_ALERTS.c.run_id == run_id, RUN_ALERTS.c.status == AlertStatus.PENDING
    result = connection.execute(update(RUN_ALERTS).where(*pending).values(values))
    if number is not None:
        _must_change(result, number, f"pending alerts of run {run_id}")


def record_deliveries(connection: Connection, run_id: str, deliveries: Sequence[Delivery]) -> None:
    """Record results of alerts that the run has planned."""
    if deliveries:
        changes = [
            _parameters(delivery.key, run_id=run_id)
            | {name: getattr(delivery, name) for name in RESULT_COLUMNS}
            for delivery in deliveries
        ]
        result = connection.execute(_UPDATE_RUN_ALERT, changes)
        _must_change(result, len(deliveries), f"alerts of run {run_id}")


# Outcomes: the result of an alert across runs, copied from the run that decides it


def record_outcomes(connection: Connection, run: RunState, keys: Sequence[AlertKey], now: datetime) -> None:
    """Copy the run's results of these alerts to their outcomes."""
    if keys:
        rows = [_parameters(key, run_id=run.run_id, month=run.month) | {"now": now} for key in keys]
        result = connection.execute(_copy_outcomes(connection.dialect.name, unroutable=False), rows)
        _must_change(result, len(keys), f"outcomes of run {run.run_id}")


def record_unroutable(connection: Connection, run: RunState, number: int, now: datetime) -> None:
    """Copy the results of the run's alerts without a channel to their outcomes, and check their `number`."""
    values = {"of_run_id": run.run_id, "of_month": run.month, "now": now}
    result = connection.execute(_copy_outcomes(connection.dialect.name, unroutable=True), values)
    _must_change(result, number, f"outcomes of run {run.run_id}")


def outcomes_of(connection: Connection, month: date) -> dict[AlertKey, Delivery]:
    """Return the outcomes of a month."""
    rows = connection.execute(_OUTCOMES_OF, {"of_month": month})
    return {outcome.key: outcome for outcome in map(_outcome, rows)}


def outcome_of(connection: Connection, key: AlertKey, month: date) -> Delivery | None:
    """Return the outcome of one alert, or None."""
    found = connection.execute(_OUTCOME_OF, _parameters(key, month=month)).one_or_none()
    return None if found is None else _outcome(found)


def _outcome(row: Iterable[Any]) -> Delivery:
    account_id, alert_type, status, *rest = row
    return Delivery(AlertKey(account_id, alert_type), AlertStatus(status), *rest)


def resolve(connection: Connection, resolution: Resolution) -> None:
    """Record a person's decision about an unconfirmed alert.

    Raises `OutcomeNotFound`, `AlreadyResolved` after a person's decision, or `NotUnconfirmed`.
    """
    key, month = resolution.key, resolution.month
    found = outcome_of(connection, key, month)
    if found is None:
        raise outcome_not_found(key, month)
    if found.status is not AlertStatus.UNCONFIRMED:
        raise _not_resolvable(found, month)
    values: dict[str, Any] = {
        "status": STATUS_OF[resolution.decision],
        "reason": RESOLVED[resolution.decision],
        "error": None,
        "updated_at": resolution.at,
    }
    if resolution.decision is Decision.DELIVERED:
        # The best estimate of when Slack posted the message.
        values["sent_at"] = OUTCOMES.c.updated_at
    unconfirmed = OUTCOMES.c.status == AlertStatus.UNCONFIRMED
    result = connection.execute(
        update(OUTCOMES).where(_THIS_OUTCOME, unconfirmed).values(values), _parameters(key, month=month)
    )
    _must_change(result, 1, f"the outcome of {key} in {month}")
    connection.execute(
        insert(RESOLUTIONS).values(
            **key._asdict(),
            resolution_id=str(uuid.uuid4()),
            month=month,
            decision=resolution.decision,
            resolved_by=resolution.by,
            resolved_at=resolution.at,
            note=resolution.note,
            run_id=found.run_id,
            reason=found.reason,
        )
    )


def outcome_not_found(key: AlertKey, month: date) -> OutcomeNotFound:
    """Return the error for an unknown alert."""
    return OutcomeNotFound(
        f"No {key.alert_type} alert of account {key.account_id!r} in {month} is in the ledger;"
        " GET /outcomes lists the alerts that are"
    )


def _not_resolvable(found: Delivery, month: date) -> RiskAlertsError:
    alert = f"The {found.key.alert_type} alert of account {found.key.account_id!r} in {month}"
    if found.reason in RESOLVED.values():
        return AlreadyResolved(f"{alert} was resolved before ({found.reason}); nothing was changed")
    if found.status is AlertStatus.SENDING:
        return NotUnconfirmed(f"{alert} is being sent by a run now; look again when that run is over")
    return NotUnconfirmed(f"{alert} is {found.status}, not unconfirmed; nothing was changed")
