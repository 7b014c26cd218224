"""The writes of the ledger: runs, their alerts and the outcomes.

Three writes keep an alert from being sent twice. `plan` records every alert of a run. `claim` commits the
right to send one alert before its request leaves. `record_answer` records Slack's answer. A claim without an
answer becomes `unconfirmed` when its run is closed, since the alert may have been delivered.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import date, datetime
from itertools import islice
from threading import Lock

from sqlalchemy import insert

from core.domain import (
    Alert,
    AlertKey,
    AlertStatus,
    Assessment,
    Counts,
    Delivery,
    Interrupted,
    LedgerError,
    NotificationStatus,
    Resolution,
    RiskAlertsError,
    RunRequest,
    RunStatus,
    SourceInvalid,
    SupportMessage,
    TooManyAlerts,
    accepts_answer,
    claimed,
    merge_result,
    plan_delivery,
    total,
)
from core.ledger import liveness, statements
from core.ledger.database import Database, through_a_restart
from core.ledger.history import History
from core.ledger.liveness import ProcessIdentity
from core.ledger.schema import HEALTH_CHECKS, NOTIFICATIONS, RUNS
from core.ledger.sqlite import warning_about
from core.ledger.statements import COUNTS

logger = logging.getLogger(__name__)

PLANNED_AT_ONCE = 1_000
"""Alerts per insert: few calls, and little memory."""

_opened: dict[str, "Ledger"] = {}
_opening = Lock()


def open_ledger(database_url: str) -> "Ledger":
    """Open the ledger, once per process; create or upgrade it at its first use.

    Raises `LedgerError` when it cannot be opened, or has foreign tables or a newer schema.
    """
    with _opening:
        ledger = _opened.get(database_url)
        if ledger is None or ledger.is_gone():
            if warning := warning_about(database_url):
                logger.warning(warning)
            opened = Ledger(Database(database_url))
            if ledger is not None:
                ledger.close()
            ledger = _opened[database_url] = opened
        return ledger


class Ledger:
    """The writes of the ledger, in short transactions, from any thread; `history` has the reads.

    Writes for a run raise `Interrupted` after another process has closed that run.
    """

    def __init__(self, database: Database) -> None:
        """Work on an opened database."""
        self._database = database
        self.history = History(database)
        self.is_gone = database.is_gone
        self.close = database.close
        self._unfinished: dict[str, RiskAlertsError] = {}

    def check_writable(self, now: datetime) -> None:
        """Commit a row; raise `LedgerError` when the ledger cannot be written."""
        with self._database.write() as connection:
            statements.upsert(connection, HEALTH_CHECKS, id=1, checked_at=now)
        self._finish_late(now)

    # The life of a run

    def begin_run(
        self, run_id: str, request: RunRequest, owner: ProcessIdentity, flow_run_id: str | None, now: datetime
    ) -> None:
        """Record a new run and its process; add the flow run to a run that was accepted before."""
        with self._database.write() as connection:
            if statements.find_run(connection, run_id):
                statements.require_running(connection, run_id)
                statements.update_run(connection, run_id, flow_run_id=flow_run_id)
                return
            new = asdict(request) | asdict(owner) | {"run_id": run_id, "flow_run_id": flow_run_id}
            state = {"status": RunStatus.RUNNING, "started_at": now, "heartbeat_at": now}
            connection.execute(insert(RUNS).values(new | state | {"counts_by_type": {}, "warnings": []}))

    def heartbeat(self, run_id: str, now: datetime) -> None:
        """Record that the run is alive."""
        with self._database.write() as connection:
            statements.update_run(connection, run_id, heartbeat_at=now)

    def close_dead_runs(
        self,
        now: datetime,
        is_dead: Callable[[ProcessIdentity, datetime, datetime], bool] = liveness.is_dead,
        wait: Callable[[Iterable[ProcessIdentity]], object] = liveness.wait_for_heartbeats,
    ) -> list[str]:
        """Close the running runs of dead processes as `interrupted`, and return their ids.

        `wait` gives processes that seem dead time for a heartbeat; a run with a new heartbeat stays open.
        """
        self._finish_late(now)
        with self._database.read() as connection:
            running = statements.running_runs(connection)
        dead = [run for run in running if is_dead(run.owner, run.heartbeat_at, now)]
        wait(run.owner for run in dead)
        closed = []
        for run in dead:
            with self._database.write() as connection:
                if statements.find_run(connection, run.run_id) == run:
                    error = "The process of this run died before the run was over; run the month again"
                    statements.close_run(connection, run.run_id, Interrupted(error), now)
                    closed.append(run.run_id)
                    logger.warning("Closed run %s: its process died before it was over", run.run_id)
        return closed

    def record_result(self, run_id: str) -> Counts:
        """Count the run's alerts, store the counts and return them; raise `Interrupted` for a closed run."""
        with self._database.write() as connection:
            statements.require_running(connection, run_id)
            return total(statements.update_counts(connection, run_id))

    @through_a_restart(repeatable=True)
    def finish(self, run_id: str, error: RiskAlertsError | None, now: datetime) -> None:
        """Close the run, as failed when it has an error; its claims become unconfirmed.

        If the ledger cannot be written now, this process closes the run at its next health check or search
        for dead runs, with the same error; a run without an error gets the error of the ledger.
        """
        try:
            with self._database.write() as connection:
                statements.close_run(connection, run_id, error, now)
        except LedgerError as fault:
            self._unfinished[run_id] = error or fault
            raise

    def _finish_late(self, now: datetime) -> None:
        for run_id, error in list(self._unfinished.items()):
            with self._database.write() as connection:
                run = statements.find_run(connection, run_id)
                if run is not None and run.status == RunStatus.RUNNING:
                    statements.close_run(connection, run_id, error, now)
            self._unfinished.pop(run_id, None)

    # Alerts

    def outcomes(self, month: date) -> dict[AlertKey, Delivery]:
        """Return the outcomes of a month."""
        with self._database.read() as connection:
            return statements.outcomes_of(connection, month)

    def plan(
        self, run_id: str, assessment: Assessment, alerts: Iterable[Alert], limit: int, now: datetime
    ) -> list[Alert]:
        """Record each alert with its planned delivery, and return the alerts to send.

        Alerts without a channel get their outcome here. Raises `TooManyAlerts` for more than `limit` alerts
        to send (0 = no limit), with no outcome written, and `SourceInvalid` for an id that is too long.
        """
        to_send: list[Alert] = []
        unroutable = position = 0
        remaining = iter(alerts)
        with self._database.write() as connection:
            run = statements.require_running(connection, run_id)
            known = statements.outcomes_of(connection, run.month)
            statements.update_run(
                connection,
                run_id,
                source_version=assessment.source_version,
                warnings=[asdict(warning) for warning in assessment.warnings],
                counts_by_type=COUNTS.dump_python(dict(assessment.counts_by_type)),
            )
            while planned := [
                (alert, plan_delivery(alert, known.get(alert.key), retry_unconfirmed=run.retry_unconfirmed))
                for alert in self._storable(islice(remaining, PLANNED_AT_ONCE))
            ]:
                statements.insert_alerts(connection, run_id, position, planned)
                position += len(planned)
                to_send += [alert for alert, delivery in planned if delivery.status is AlertStatus.PENDING]
                unroutable += sum(delivery.status is AlertStatus.FAILED for _, delivery in planned)
            too_many = 0 < limit < len(to_send)
            if run.dry_run and not too_many:
                statements.end_pending(connection, run_id, len(to_send), status=AlertStatus.WOULD_SEND)
            elif not too_many:
                statements.record_unroutable(connection, run, unroutable, now)
        if too_many:
            raise TooManyAlerts(
                f"{len(to_send)} alerts would be sent, more than MAX_ALERTS_PER_RUN ({limit}), so none was;"
                " check the source, or raise the limit"
            )
        return [] if run.dry_run else to_send

    def _storable(self, alerts: Iterable[Alert]) -> Iterator[Alert]:
        """Yield the alerts; raise `SourceInvalid` for an id that is too long for the database."""
        longest = self._database.longest_key
        for alert in alerts:
            if longest is not None and (size := len(alert.account_id.encode())) > longest:
                raise SourceInvalid(
                    f"column account_id holds an id of {size} bytes, {alert.account_id[:40]}…;"
                    f" a ledger on PostgreSQL keeps at most {longest}"
                )
            yield alert

    @through_a_restart(repeatable=False)
    def claim(self, run_id: str, alert: Alert, now: datetime) -> Delivery:
        """Claim the right to send one alert: return `SENDING`, or the result that another run has recorded.

        Raises `Interrupted` for a closed run, because no later step would record a result of its claim.
        """
        with self._database.write() as connection:
            run = statements.require_running(connection, run_id)
            outcome = statements.outcome_of(connection, alert.key, run.month)
            delivery = plan_delivery(alert, outcome, retry_unconfirmed=run.retry_unconfirmed)
            won = []
            if delivery.status is AlertStatus.PENDING:
                delivery = claimed(alert, outcome)
                won = [alert.key]
            statements.record_deliveries(connection, run_id, [delivery])
            statements.record_outcomes(connection, run, won, now)
        return delivery

    @through_a_restart(repeatable=True)
    def record_answer(self, run_id: str, delivery: Delivery, now: datetime) -> Delivery:
        """Record the result of a claimed alert, also for a closed run, and return the recorded result."""
        with self._database.write() as connection:
            run = statements.run_state(connection, run_id)
            outcome = statements.outcome_of(connection, delivery.key, run.month)
            accepted = []
            if outcome and accepts_answer(outcome, run_id, delivery.status):
                delivery = merge_result(outcome, delivery)
                accepted = [delivery.key]
            statements.record_deliveries(connection, run_id, [delivery])
            statements.record_outcomes(connection, run, accepted, now)
            if run.status != RunStatus.RUNNING:
                statements.update_counts(connection, run_id)
        return delivery

    def give_up(
        self, run_id: str, alerts: Iterable[Alert], reason: str, error: str | None, now: datetime
    ) -> None:
        """Record as failed, without a request, alerts whose channel refuses every message."""
        with self._database.write() as connection:
            run = statements.require_running(connection, run_id)
            known = statements.outcomes_of(connection, run.month)
            deliveries, refused = [], []
            for alert in alerts:
                outcome = known.get(alert.key)
                delivery = plan_delivery(alert, outcome, retry_unconfirmed=run.retry_unconfirmed)
                if delivery.status is AlertStatus.PENDING:
                    answer = replace(delivery, status=AlertStatus.FAILED, reason=reason, error=error)
                    delivery = merge_result(claimed(alert, outcome), answer)
                    refused.append(alert.key)
                deliveries.append(delivery)
            statements.record_deliveries(connection, run_id, deliveries)
            statements.record_outcomes(connection, run, refused, now)

    def resolve(self, resolution: Resolution) -> None:
        """Record a person's decision; see `statements.resolve`."""
        with self._database.write() as connection:
            statements.resolve(connection, resolution)

    # Support

    def record_notification(  # noqa: PLR0913  # the facts of a notification
        self,
        run_id: str,
        message: SupportMessage,
        status: NotificationStatus,
        error: str | None,
        *,
        address: str,
        digest: str,
        now: datetime,
    ) -> None:
        """Store the notification with its run, and its digest for the address unless it failed."""
        with self._database.write() as connection:
            statements.update_run(
                connection,
                run_id,
                support_subject=message.subject,
                support_body=message.body,
                support_notification=status,
                support_error=error,
            )
            if status is not NotificationStatus.FAILED:
                month = statements.run_state(connection, run_id).month
                key = {"month": month, "address": address}
                statements.upsert(
                    connection, NOTIFICATIONS, **key, digest=digest, run_id=run_id, accepted_at=now
                )
