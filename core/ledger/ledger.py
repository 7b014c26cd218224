"""The writes of the ledger: runs, their alerts and the outcomes.

Three writes keep an alert from being sent twice. `plan` records every alert of a run. `claim` commits the
right to send one alert before its request leaves. `record_answer` records Slack's answer. A claim without an
answer becomes `unconfirmed` when its run is closed, since the alert may have been delivered.

Only one transaction writes at a time, so what it has read does not change until it ends. Each change
of known rows checks how many it has changed, and raises `InternalError` for an unexpected number.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from functools import cache
from itertools import islice
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core import domain
from core.alerts import Assessment
from core.ledger import liveness
from core.ledger.database import Database, through_a_restart
from core.ledger.history import History, find_outcome, find_outcomes, find_run, outcome_not_found, read_counts
from core.ledger.liveness import ProcessIdentity
from core.ledger.schema import COUNTS, NOTIFICATIONS, OUTCOMES, RESOLUTIONS, RUN_ALERTS, RUNS, TOUCH, VERSION
from core.ledger.sqlite import container_warning

logger = logging.getLogger(__name__)

SILENT = "The process of this run died, or could not write to the ledger; run the month again"

PLANNED_AT_ONCE = 1_000
"""Alerts per insert: few calls, and little memory."""

_opened: dict[str, "Ledger"] = {}
_opening = Lock()


def open_ledger(database_url: str) -> "Ledger":
    """Open the ledger, once per process, and create it at its first use; raise `LedgerError`."""
    with _opening:
        ledger = _opened.get(database_url)
        if ledger is None or ledger.is_gone():
            opened = Ledger(Database(database_url))
            if warning := container_warning(database_url):
                logger.warning(warning)
            if ledger is not None:
                ledger.close()
            ledger = _opened[database_url] = opened
        return ledger


class Ledger:
    """The writes of the ledger, each a short transaction, from any thread; `history` has the reads.

    After another process has closed a run, writes that begin something for it raise `Interrupted`. What has
    happened is recorded all the same: heartbeat, answer, notification and end.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.history = History(database)
        self.is_gone = database.is_gone
        self.close = database.close
        self._unclosed: dict[str, domain.RiskAlertsError] = {}
        """The error of each run whose end could not be written."""

    def check_writable(self) -> None:
        """Commit a write; raise `LedgerError` when the ledger cannot be written."""
        with self._database.write() as connection:
            _must_change(connection.execute(TOUCH), 1, VERSION)

    # The life of a run

    def begin_run(
        self,
        run_id: str,
        request: domain.RunRequest,
        owner: ProcessIdentity,
        flow_run_id: str | None,
        now: datetime,
    ) -> None:
        """Record a new run and its process; add the flow run to a run that was accepted before."""
        with self._database.write() as connection:
            if find_run(connection, run_id):
                _running(connection, run_id)
                _change(connection, RUNS, {"run_id": run_id, "flow_run_id": flow_run_id})
                return
            new = asdict(request) | asdict(owner) | {"run_id": run_id, "flow_run_id": flow_run_id}
            state = {"status": domain.RunStatus.RUNNING, "started_at": now, "heartbeat_at": now}
            scan: dict[str, Any] = {"counts_by_type": {}, "warnings": []}
            connection.execute(sa.insert(RUNS).values(new | state | scan))

    def heartbeat(self, run_id: str, now: datetime) -> None:
        """Record that the run is alive."""
        with self._database.write() as connection:
            _known(connection, run_id)
            _change(connection, RUNS, {"run_id": run_id, "heartbeat_at": now})

    def close_dead_runs(self, now: datetime) -> None:
        """Close the running runs of dead processes as `interrupted`, and those that `finish` could not close.

        A process that seems dead gets time for a heartbeat; a run with a new heartbeat stays open.
        """
        for run_id, error in list(self._unclosed.items()):
            with self._database.write() as connection:
                over = find_run(connection, run_id)
                if over and over.status == domain.RunStatus.RUNNING:
                    _close(connection, over, error, now)
            self._unclosed.pop(run_id, None)
        with self._database.read() as connection:
            is_running = RUNS.c.status == domain.RunStatus.RUNNING
            running = connection.execute(sa.select(RUNS).where(is_running)).all()
        dead = [run for run in running if liveness.is_dead(_owner(run), run.heartbeat_at, now)]
        liveness.wait_for_heartbeats(map(_owner, dead))
        for run in dead:
            with self._database.write() as connection:
                if find_run(connection, run.run_id) == run:
                    _close(connection, run, domain.Interrupted(SILENT), now)
                    logger.warning("Closed run %s: %s", run.run_id, SILENT)

    @through_a_restart
    def record_result(self, run_id: str) -> domain.Counts:
        """Count the run's alerts, store the counts and return them; raise `Interrupted` for a closed run."""
        with self._database.write() as connection:
            return domain.total(_store_counts(connection, _running(connection, run_id)).values())

    @through_a_restart
    def record_notification(
        self, run_id: str, notification: domain.Notification, *, address: str, digest: str, now: datetime
    ) -> None:
        """Store the notification with its run, and its digest for the address unless it failed."""
        columns = {
            "support_message": asdict(notification.message),
            "support_notification": notification.status,
            "support_error": notification.error,
        }
        with self._database.write() as connection:
            month = _known(connection, run_id).month
            _change(connection, RUNS, {"run_id": run_id} | columns)
            if notification.status is not domain.NotificationStatus.FAILED:
                accepted = {"digest": digest, "run_id": run_id, "accepted_at": now}
                _put(connection, NOTIFICATIONS, {"month": month, "address": address} | accepted)

    @through_a_restart
    def finish(self, run_id: str, error: domain.RiskAlertsError | None, now: datetime) -> None:
        """Close the run, as failed when it has an error; its claims become unconfirmed.

        If the ledger cannot be written now, the next search for dead runs closes the run with the same code.
        """
        try:
            with self._database.write() as connection:
                _close(connection, _known(connection, run_id), error, now)
        except domain.LedgerError as fault:
            self._unclosed[run_id] = error or fault
            raise

    # Alerts

    def plan(
        self, run_id: str, assessment: Assessment, alerts: Iterable[domain.Alert], limit: int, now: datetime
    ) -> list[domain.Alert]:
        """Record each alert with its planned delivery, and return the alerts to send: none in a dry run.

        `alerts` are those of the assessment after `route`; those without a channel get their outcome here.
        Raises `TooManyAlerts`, and writes no outcome, for more than `limit` alerts to send (0 = no limit).
        """
        to_send: list[domain.Alert] = []
        unroutable: list[dict[str, Any]] = []
        remaining = enumerate(alerts)
        with self._database.write() as connection:
            run = _running(connection, run_id)
            known = find_outcomes(connection, run.month)
            flags = {"retry_unconfirmed": run.retry_unconfirmed, "dry_run": run.dry_run}
            scan = {
                "source_version": assessment.source_version,
                "warnings": [asdict(warning) for warning in assessment.warnings],
                "counts_by_type": COUNTS.dump_python(dict(assessment.counts_by_type)),
            }
            _change(connection, RUNS, {"run_id": run_id} | scan)
            while chunk := list(islice(remaining, PLANNED_AT_ONCE)):
                rows = []
                for position, alert in chunk:
                    delivery = domain.plan_delivery(alert, known.get(alert.key), **flags)
                    facts = {name: getattr(alert, name) for name in domain.Alert.__slots__}
                    rows.append(facts | _result(run_id, delivery) | {"position": position})
                    if delivery.status in {domain.AlertStatus.PENDING, domain.AlertStatus.WOULD_SEND}:
                        to_send.append(alert)
                    elif delivery.status is domain.AlertStatus.FAILED:
                        unroutable.append(_outcome(run, delivery, now) | {"region": alert.account_region})
                connection.execute(sa.insert(RUN_ALERTS), rows)
            too_many = 0 < limit < len(to_send)
            if not (run.dry_run or too_many):
                _put(connection, OUTCOMES, *unroutable)
        if too_many:
            raise domain.TooManyAlerts(
                f"{len(to_send)} alerts would be sent, more than MAX_ALERTS_PER_RUN ({limit}), so none was;"
                " check the source, or raise the limit"
            )
        return [] if run.dry_run else to_send

    @through_a_restart
    def claim(self, run_id: str, alert: domain.Alert, now: datetime) -> domain.Delivery:
        """Claim the right to send one alert: return `SENDING`, or the result that another run has recorded.

        Raises `Interrupted` for a closed run, because no later step would record a result of its claim.
        """
        with self._database.write() as connection:
            run = _running(connection, run_id)
            outcome = find_outcome(connection, alert.key, run.month)
            if outcome and outcome.status is domain.AlertStatus.SENDING and outcome.run_id == run_id:
                # A run claims an alert once, so this is the same claim: the answer to its commit was lost.
                return outcome
            delivery = domain.plan_delivery(alert, outcome, retry_unconfirmed=run.retry_unconfirmed)
            if delivery.status is domain.AlertStatus.PENDING:
                delivery = domain.claimed(alert, outcome)
                _put(connection, OUTCOMES, _outcome(run, delivery, now) | {"region": alert.account_region})
            _change(connection, RUN_ALERTS, _result(run_id, delivery))
        return delivery

    @through_a_restart
    def record_answer(self, run_id: str, delivery: domain.Delivery, now: datetime) -> domain.Delivery:
        """Record the result of a claimed alert, also for a closed run, and return the recorded result."""
        with self._database.write() as connection:
            run = _known(connection, run_id)
            outcome = find_outcome(connection, delivery.key, run.month)
            if outcome and domain.accepts_answer(outcome, run_id, delivery.status):
                delivery = domain.merge_result(outcome, delivery)
                _change(connection, OUTCOMES, _outcome(run, delivery, now))
            _change(connection, RUN_ALERTS, _result(run_id, delivery))
            if run.status != domain.RunStatus.RUNNING:
                _store_counts(connection, run)
        return delivery

    @through_a_restart
    def give_up(
        self, run_id: str, alerts: Sequence[domain.Alert], reason: str, error: str | None, now: datetime
    ) -> None:
        """Record as failed, without a request, alerts whose channel refuses every message."""
        results, refused = [], []
        with self._database.write() as connection:
            run = _running(connection, run_id)
            known = find_outcomes(connection, run.month)
            for alert in alerts:
                outcome = known.get(alert.key)
                delivery = domain.plan_delivery(alert, outcome, retry_unconfirmed=run.retry_unconfirmed)
                if delivery.status is domain.AlertStatus.PENDING:
                    answer = replace(delivery, status=domain.AlertStatus.FAILED, reason=reason, error=error)
                    delivery = domain.merge_result(domain.claimed(alert, outcome), answer)
                    refused.append(_outcome(run, delivery, now) | {"region": alert.account_region})
                results.append(_result(run_id, delivery))
            _put(connection, OUTCOMES, *refused)
            _change(connection, RUN_ALERTS, *results)

    def resolve(self, resolution: domain.Resolution) -> None:
        """Record a person's decision; raise `OutcomeNotFound`, `AlreadyResolved` or `NotUnconfirmed`."""
        key, month, decision = resolution.key, resolution.month, resolution.decision
        values: dict[str, Any] = {"status": domain.OutcomeStatus.FAILED}
        if decision is domain.Decision.DELIVERED:
            # The best estimate of when Slack posted the message.
            values = {"status": domain.OutcomeStatus.SENT, "sent_at": OUTCOMES.c.updated_at}
        values |= {"reason": domain.RESOLVED[decision], "error": None, "updated_at": resolution.at}
        with self._database.write() as connection:
            found = find_outcome(connection, key, month)
            if found is None:
                raise outcome_not_found(key, month)
            if found.status is not domain.AlertStatus.UNCONFIRMED:
                raise _not_resolvable(found, month)
            place = {"month": month} | key._asdict()
            of_place = {f"of_{name}": value for name, value in place.items()}
            changed = connection.execute(_update(OUTCOMES).values(values), of_place)
            _must_change(changed, 1, OUTCOMES)
            made = {name: getattr(resolution, name) for name in ("decision", "by", "at", "note")}
            was = {"resolution_id": str(uuid.uuid4()), "run_id": found.run_id, "reason": found.reason}
            connection.execute(sa.insert(RESOLUTIONS).values(place | made | was))


# Rows; the statements are built once, because other writers wait while an alert is claimed or recorded.


@cache
def _update(table: sa.Table) -> sa.Update:
    return sa.update(table).where(*(key == sa.bindparam(f"of_{key.name}") for key in table.primary_key))


@cache
def _upsert(table: sa.Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    new: postgresql.Insert | sqlite.Insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
    upserting = new.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
    return upserting.execution_options(preserve_rowcount=True)


def _change(connection: sa.Connection, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Change the given columns of existing rows, which are found by their primary keys."""
    keys = table.primary_key.columns.keys()
    if rows:
        bound = [{f"of_{name}" if name in keys else name: row[name] for name in row} for row in rows]
        _must_change(connection.execute(_update(table), bound), len(rows), table)


def _put(connection: sa.Connection, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Insert whole rows; each replaces the row with the same primary key."""
    if rows:
        _must_change(connection.execute(_upsert(table, connection.dialect.name), rows), len(rows), table)


def _must_change(result: sa.CursorResult[Any], rows: int, table: sa.Table) -> None:
    if (found := result.rowcount) != rows:
        raise domain.InternalError(f"The ledger changed {found} rows of {table.name} instead of {rows}")


# Runs


def _known(connection: sa.Connection, run_id: str) -> sa.Row[Any]:
    """Return a run; raise `LedgerError` for an unknown one."""
    run = find_run(connection, run_id)
    if run is None:
        raise domain.LedgerError(
            f"The run {run_id} is no longer in the ledger: check whether the database was replaced"
        )
    return run


def _running(connection: sa.Connection, run_id: str) -> sa.Row[Any]:
    """Return a running run; raise `Interrupted` when it is closed."""
    run = _known(connection, run_id)
    if run.status != domain.RunStatus.RUNNING:
        raise domain.Interrupted("Another process closed the run because it seemed dead; run the month again")
    return run


def _owner(run: sa.Row[Any]) -> ProcessIdentity:
    return ProcessIdentity(run.host, run.pid, run.process_started)


def _store_counts(connection: sa.Connection, run: sa.Row[Any]) -> dict[str, domain.Counts]:
    """Count the run's alerts, store the counts with the run, and return them by alert type."""
    counts = read_counts(connection, run)
    _change(connection, RUNS, {"run_id": run.run_id, "counts_by_type": COUNTS.dump_python(counts)})
    return counts


def _close(
    connection: sa.Connection, run: sa.Row[Any], error: domain.RiskAlertsError | None, now: datetime
) -> None:
    """Close the run, as failed when it has an error; its claims become unconfirmed."""
    lost = "The run ended between the request and its answer: look into the channel"
    for table, stamp in ((OUTCOMES, {"updated_at": now}), (RUN_ALERTS, {})):
        claims = table.c.run_id == run.run_id, table.c.status == domain.AlertStatus.SENDING
        # A claim has a reason only when an earlier try may have been delivered.
        reason = sa.func.coalesce(table.c.reason, domain.PROCESS_DIED)
        unconfirmed = {"status": domain.AlertStatus.UNCONFIRMED, "reason": reason, "error": lost}
        connection.execute(sa.update(table).where(*claims).values(unconfirmed | stamp))
    statuses = [domain.AlertStatus.PENDING]
    if isinstance(error, domain.TooManyAlerts):
        # A real run would have sent none of the alerts that this dry run planned.
        statuses.append(domain.AlertStatus.WOULD_SEND)
    untried = RUN_ALERTS.c.run_id == run.run_id, RUN_ALERTS.c.status.in_(statuses)
    failed = {
        "status": domain.AlertStatus.FAILED,
        "reason": error.code if error else domain.Interrupted.code,
        "error": "Not tried: the run ended before; a later run of the month sends it",
    }
    connection.execute(sa.update(RUN_ALERTS).where(*untried).values(failed))
    _store_counts(connection, run)
    result = {
        "status": domain.RunStatus.FAILED if error else domain.RunStatus.SUCCEEDED,
        "error": error and {"code": error.code, "message": error.message},
        "finished_at": now,
    }
    _change(connection, RUNS, {"run_id": run.run_id} | result)


# Alerts and outcomes


def _result(run_id: str, delivery: domain.Delivery) -> dict[str, Any]:
    """Return the columns of a result, in `run_alerts` and in `alert_outcomes`."""
    columns = {name: getattr(delivery, name) for name in domain.Delivery.__slots__ if name != "key"}
    return columns | delivery.key._asdict() | {"run_id": run_id}


def _outcome(run: sa.Row[Any], delivery: domain.Delivery, now: datetime) -> dict[str, Any]:
    return _result(run.run_id, delivery) | {"month": run.month, "updated_at": now}


def _not_resolvable(found: domain.Delivery, month: date) -> domain.RiskAlertsError:
    alert = f"The {found.key.alert_type} alert of account {found.key.account_id!r} in {month}"
    if found.reason in domain.RESOLVED.values():
        return domain.AlreadyResolved(f"{alert} was resolved before ({found.reason}); nothing was changed")
    if found.status is domain.AlertStatus.SENDING:
        return domain.NotUnconfirmed(f"{alert} is being sent by a run now; look again when that run is over")
    return domain.NotUnconfirmed(f"{alert} is {found.status}, not unconfirmed; nothing was changed")
