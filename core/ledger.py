"""The ledger: what was asked, what was claimed before it left, and what became of it.

The protocol that keeps an alert from going out twice: `plan` records every alert that a run saw, `claim`
wins the right to send one (a committed row, before the request leaves), `settle` records Slack's answer.
Whatever is still claimed when its run is over becomes `unconfirmed`: it may have been delivered.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from threading import Lock

from sqlmodel import col, select, update

from core.container import warning_about
from core.database import Database, through_a_restart, unit_of
from core.domain import (
    AlertStatus,
    Assessment,
    Delivery,
    NotificationStatus,
    OutcomeStatus,
    RoutedAlert,
    RunRequest,
    RunStatus,
    Settlement,
    SupportMessage,
)
from core.errors import Interrupted, LedgerError, RiskAlertsError, SourceInvalid, TooManyAlerts
from core.history import History
from core.liveness import ProcessIdentity
from core.outcome_rows import outcome_of, outcomes_of, settle_outcome, write_outcomes
from core.outcomes import RETRIED, Outcome, Report, Told, claimed, concluded, foresee, takes_answer, would_be
from core.run_alert_rows import deliveries_of, record_alerts, record_deliveries
from core.run_rows import add_up, close_run, record_scan, running, standing
from core.settlement_rows import settle_by_hand
from core.tables import HealthCheckRow, RunRow
from core.told_rows import record_told, reports_told

logger = logging.getLogger(__name__)

_opened: dict[str, "Ledger"] = {}
_opening = Lock()


def open_ledger(database_url: str) -> "Ledger":
    """Open the ledger, made or migrated at its first use; once a process.

    Raises `LedgerError` when it can't be opened, belongs to something else or is of a newer version.
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
    """The ledger's words, in short transactions. Safe to use from many threads.

    What writes for a run raises `Interrupted` when that run was closed meanwhile, as of a dead process.
    """

    def __init__(self, database: Database) -> None:
        """Work on an opened database."""
        self._database = database
        self.history = History(database)
        self._unfinished: dict[str, RiskAlertsError] = {}

    def is_gone(self) -> bool:
        """Say whether the ledger's file was taken away under the service, or replaced."""
        return self._database.is_gone()

    def close(self) -> None:
        """Let go of every connection that is not in use."""
        self._database.close()

    def check_writable(self, now: datetime) -> None:
        """Commit a row; raises `LedgerError` when the ledger can't be written."""
        with self._database.write() as session:
            session.merge(HealthCheckRow(id=1, checked_at=now))
        self._finish_late(now)

    # The life of a run

    def begin_run(
        self, run_id: str, request: RunRequest, owner: ProcessIdentity, flow_run_id: str | None, now: datetime
    ) -> None:
        """Record that a run has begun, and who runs it; one that was accepted before is now begun."""
        with self._database.write() as session:
            if accepted := session.get(RunRow, run_id):
                running(session.connection(), run_id)
                accepted.flow_run_id = flow_run_id
                return
            session.add(
                RunRow(
                    **asdict(request),
                    run_id=run_id,
                    flow_run_id=flow_run_id,
                    status=RunStatus.RUNNING,
                    started_at=now,
                    heartbeat_at=now,
                    host=owner.host,
                    pid=owner.pid,
                    process_started=owner.started,
                )
            )

    def heartbeat(self, run_id: str, now: datetime) -> None:
        """Say that the run is alive."""
        with self._database.write() as session:
            session.exec(update(RunRow).where(col(RunRow.run_id) == run_id).values(heartbeat_at=now))

    def close_dead_runs(
        self,
        is_dead: Callable[[ProcessIdentity, datetime, datetime], bool],
        now: datetime,
        watch: Callable[[Iterable[ProcessIdentity]], object] = list,
    ) -> list[str]:
        """Close every running run whose process is gone, as `interrupted`; gives their ids.

        Those that seem dead are watched first, and one whose heart has beaten meanwhile is left alone.
        """
        self._finish_late(now)
        with self._database.read() as session:
            running = session.exec(select(RunRow).where(RunRow.status == RunStatus.RUNNING)).all()
        owners = {run.run_id: ProcessIdentity(run.host, run.pid, run.process_started) for run in running}
        dead = [run for run in running if is_dead(owners[run.run_id], run.heartbeat_at, now)]
        watch(owners[run.run_id] for run in dead)
        closed = []
        for run in dead:
            with self._database.write() as session:
                row = session.get_one(RunRow, run.run_id)
                if row.status == RunStatus.RUNNING and row.heartbeat_at == run.heartbeat_at:
                    error = Interrupted(
                        "The process of this run died before the run was over; run the month again"
                    )
                    close_run(session, row, error, now)
                    closed.append(run.run_id)
        return closed

    @through_a_restart(repeatable=True)
    def finish(self, run_id: str, error: RiskAlertsError | None, now: datetime) -> None:
        """Close the run, as failed when an error ended it; what it left claimed is unconfirmed.

        A run that can't be closed now is closed once the ledger can be written again, by whatever in this
        process next looks for dead runs or at the ledger's health; without an error, as ended by that fault.
        """
        try:
            with self._database.write() as session:
                close_run(session, session.get_one(RunRow, run_id), error, now)
        except LedgerError as fault:
            self._unfinished[run_id] = error or fault
            raise

    def _finish_late(self, now: datetime) -> None:
        for run_id, error in list(self._unfinished.items()):
            with self._database.write() as session:
                row = session.get(RunRow, run_id)
                if row is not None and row.status == RunStatus.RUNNING:
                    close_run(session, row, error, now)
            self._unfinished.pop(run_id, None)

    # Alerts

    def outcomes(self, month: date) -> dict[str, Outcome]:
        """Give what is on record of the month's alerts, by account_id."""
        with self._database.read() as session:
            return outcomes_of(session, month)

    def _refuse_longer_ids(self, routed: Sequence[RoutedAlert]) -> None:
        longest = self._database.longest_key
        if longest is None:
            return
        for item in routed:
            size = len(item.alert.account_id.encode())
            if size > longest:
                raise SourceInvalid(
                    f"column account_id holds an id of {size} bytes, {item.alert.account_id[:40]}…;"
                    f" a ledger on PostgreSQL keeps {longest} at the most"
                )

    def plan(
        self, run_id: str, assessment: Assessment, routed: Sequence[RoutedAlert], limit: int, now: datetime
    ) -> list[RoutedAlert]:
        """Record every alert that the run saw and what it will do with it; gives those that it may send.

        Alerts without a channel are settled here. Raises `TooManyAlerts`, with no outcome written, when more
        than `limit` (0 = no limit) would be sent; `SourceInvalid` for an id that this database can't keep.
        """
        self._refuse_longer_ids(routed)
        with self._database.write() as session:
            running(session.connection(), run_id)
            run = session.get_one(RunRow, run_id)
            known = outcomes_of(session, run.month)
            deliveries = [
                foresee(item, known.get(item.alert.account_id), retry_unconfirmed=run.retry_unconfirmed)
                for item in routed
            ]
            to_send = [
                item
                for item, delivery in zip(routed, deliveries, strict=True)
                if delivery.status is AlertStatus.PENDING
            ]
            too_many = 0 < limit < len(to_send)
            if run.dry_run and not too_many:
                deliveries = [would_be(delivery) for delivery in deliveries]
            record_scan(run, assessment)
            record_alerts(session, run_id, routed, deliveries)
            if not run.dry_run and not too_many:
                unroutable = [
                    (item, delivery)
                    for item, delivery in zip(routed, deliveries, strict=True)
                    if delivery.status is AlertStatus.FAILED
                ]
                write_outcomes(session.connection(), run, unroutable, now)
        if too_many:
            raise TooManyAlerts(
                f"{len(to_send)} alerts would be sent, more than MAX_ALERTS_PER_RUN ({limit}), so none was;"
                " check the source, or raise the limit"
            )
        return [] if run.dry_run else to_send

    @through_a_restart(repeatable=False)
    def claim(self, run_id: str, routed: RoutedAlert, now: datetime) -> Delivery:
        """Win the right to send one alert: `SENDING` when won, else what another run has made of it.

        Raises `Interrupted` once the run is closed: nobody would look after what it claims.
        """
        with self._database.write_plainly() as connection:
            run = running(connection, run_id)
            outcome = outcome_of(connection, routed.alert.account_id, run.month)
            delivery = foresee(routed, outcome, retry_unconfirmed=run.retry_unconfirmed)
            if delivery.status is AlertStatus.PENDING:
                delivery = claimed(routed, outcome)
                write_outcomes(connection, run, [(routed, delivery)], now)
            record_deliveries(connection, run_id, [delivery])
        return delivery

    @through_a_restart(repeatable=True)
    def settle(self, run_id: str, delivery: Delivery, now: datetime) -> Delivery:
        """Record what became of an alert that the run had claimed; gives what stays of it.

        Also when another process took this run for dead meanwhile, and closed it: we have the answer.
        """
        with self._database.write_plainly() as connection:
            run = standing(connection, run_id)
            outcome = outcome_of(connection, delivery.account_id, run.month)
            if outcome and takes_answer(outcome, run_id, delivery.status):
                delivery = concluded(delivery, again=outcome.reason == RETRIED)
                settle_outcome(connection, run.month, delivery, now)
            record_deliveries(connection, run_id, [delivery])
            if run.status != RunStatus.RUNNING:
                with unit_of(connection) as session:
                    add_up(session, session.get_one(RunRow, run_id))
        return delivery

    def give_up(
        self, run_id: str, routed: Iterable[RoutedAlert], reason: str, error: str | None, now: datetime
    ) -> None:
        """Record as failed, without a request, alerts whose channel refuses every message."""
        with self._database.write() as session:
            run = running(session.connection(), run_id)
            known = outcomes_of(session, run.month)
            deliveries, changed = [], []
            for item in routed:
                outcome = known.get(item.alert.account_id)
                delivery = foresee(item, outcome, retry_unconfirmed=run.retry_unconfirmed)
                if delivery.status is AlertStatus.PENDING:
                    refused = replace(delivery, status=AlertStatus.FAILED, reason=reason, error=error)
                    again = outcome is not None and outcome.status is OutcomeStatus.UNCONFIRMED
                    delivery = concluded(refused, again=again)
                    changed.append((item, delivery))
                deliveries.append(delivery)
            write_outcomes(session.connection(), run, changed, now)
            record_deliveries(session.connection(), run_id, deliveries)

    def decide(self, settlement: Settlement) -> None:
        """Settle an unconfirmed alert as a person decided, and keep who it was.

        Raises `OutcomeNotFound`; `AlreadySettled` when a person was first, `NotUnconfirmed` when a run was.
        """
        with self._database.write_plainly() as connection:
            settle_by_hand(connection, settlement)

    def record_result(self, run_id: str) -> dict[str, Delivery]:
        """Store with the run how its alerts add up, and return what became of each, by account_id.

        Raises `Interrupted` when the run was closed meanwhile.
        """
        with self._database.write() as session:
            running(session.connection(), run_id)
            add_up(session, session.get_one(RunRow, run_id))
            return deliveries_of(session, run_id)

    def deliveries(self, run_id: str) -> dict[str, Delivery]:
        """Give what the run has made of its alerts so far, by account_id."""
        with self._database.read() as session:
            return deliveries_of(session, run_id)

    # Support

    def told(self, month: date, to: str | None) -> dict[str, Report]:
        """Give what support was told last of the month's alerts, by account_id.

        Only what went to the address `to`: another address knows nothing yet. Without one, all that was told.
        """
        with self._database.read() as session:
            return reports_told(session, month, to)

    def record_support(
        self,
        run_id: str,
        message: SupportMessage,
        status: NotificationStatus,
        error: str | None,
        told: Told | None = None,
    ) -> None:
        """Keep the notification with the run, how it went, and what support knows by it."""
        with self._database.write() as session:
            run = session.get_one(RunRow, run_id)
            run.support_subject, run.support_body = message.subject, message.body
            run.support_notification, run.support_error = status, error
            if told is not None:
                record_told(session, run, told)
