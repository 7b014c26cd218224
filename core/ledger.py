"""The ledger: what was asked, what was claimed before it left, and what became of it.

The protocol that keeps an alert from going out twice: `plan` records every alert that a run saw, `claim`
wins the right to send one (a committed row, before the request leaves), `settle` records Slack's answer.
Whatever is still claimed when its run is over becomes `unconfirmed`: it may have been delivered.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import Insert, Row, Table, and_, bindparam, func
from sqlalchemy import select as core_select
from sqlalchemy.dialects import sqlite
from sqlmodel import Session, col, insert, select, update

from core.database import Database
from core.domain import (
    AlertStatus,
    AlertType,
    Assessment,
    Delivery,
    NotificationStatus,
    OutcomeStatus,
    RoutedAlert,
    RunRequest,
    RunStatus,
    SupportMessage,
)
from core.errors import Interrupted, LedgerError, RiskAlertsError, TooManyAlerts
from core.history import History, count_alerts
from core.liveness import ProcessIdentity
from core.outcomes import RETRIED, Outcome, Report, Told, claimed, concluded, foresee, would_be
from core.tables import METADATA, HealthCheckRow, OutcomeRow, RunAlertRow, RunRow, SupportToldRow

DIED = "process_died"
"""The reason of an alert whose run ended between its request and its answer."""

_RUNS = METADATA.tables["runs"]
_OUTCOMES = METADATA.tables["alert_outcomes"]
_RUN_ALERTS = METADATA.tables["run_alerts"]
_SUPPORT_TOLD = METADATA.tables["support_told"]

_opened: dict[str, "Ledger"] = {}
_opening = Lock()


def open_ledger(database_url: str) -> "Ledger":
    """Open the ledger, made or migrated at its first use; once a process.

    Raises `LedgerError` when it can't be opened, belongs to something else or is of a newer version.
    """
    with _opening:
        ledger = _opened.get(database_url)
        if ledger is None or ledger.is_gone():
            opened = Ledger(Database(database_url))
            if ledger is not None:
                ledger.close()
            ledger = _opened[database_url] = opened
        return ledger


class Ledger:
    """The ledger's words; each method is one short transaction. Safe to use from many threads."""

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
                _running(session, run_id)
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
                    _close(session, row, error, now)
                    closed.append(run.run_id)
        return closed

    def finish(self, run_id: str, error: RiskAlertsError | None, now: datetime) -> None:
        """Close the run, as failed when an error ended it; what it left claimed is unconfirmed.

        A run that can't be closed now is closed once the ledger can be written again, by whatever next looks
        for dead runs or at the ledger's health; a `LedgerError` is then what ended it.
        """
        try:
            with self._database.write() as session:
                _close(session, session.get_one(RunRow, run_id), error, now)
        except LedgerError as fault:
            self._unfinished[run_id] = error or fault
            raise

    def _finish_late(self, now: datetime) -> None:
        for run_id, error in list(self._unfinished.items()):
            with self._database.write() as session:
                row = session.get(RunRow, run_id)
                if row is not None and row.status == RunStatus.RUNNING:
                    _close(session, row, error, now)
            self._unfinished.pop(run_id, None)

    # Alerts

    def outcomes(self, month: date) -> dict[str, Outcome]:
        """Give what is on record of the month's alerts, by account_id."""
        with self._database.read() as session:
            return _outcomes(session, month)

    def plan(
        self, run_id: str, assessment: Assessment, routed: Sequence[RoutedAlert], limit: int, now: datetime
    ) -> list[RoutedAlert]:
        """Record every alert that the run saw and what it will do with it; gives those that it may send.

        Alerts without a channel are settled here. Raises `TooManyAlerts`, with no outcome written, when more
        than `limit` (0 = no limit) would be sent.
        """
        with self._database.write() as session:
            _running(session, run_id)
            run = session.get_one(RunRow, run_id)
            known = _outcomes(session, run.month)
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
            _record_scan(run, assessment)
            _record_alerts(session, run_id, routed, deliveries)
            if not run.dry_run and not too_many:
                unroutable = [
                    _outcome_values(run, item, delivery, now)
                    for item, delivery in zip(routed, deliveries, strict=True)
                    if delivery.status is AlertStatus.FAILED
                ]
                _upsert(session, _OUTCOMES, unroutable)
        if too_many:
            raise TooManyAlerts(
                f"{len(to_send)} alerts would be sent, more than MAX_ALERTS_PER_RUN ({limit}), so none was;"
                " check the source, or raise the limit"
            )
        return [] if run.dry_run else to_send

    def claim(self, run_id: str, routed: RoutedAlert, now: datetime) -> Delivery:
        """Win the right to send one alert: `SENDING` when won, else what another run has made of it.

        Raises `Interrupted` once the run is closed: nobody would look after what it claims.
        """
        with self._database.write() as session:
            run = _running(session, run_id)
            outcome = _outcome_of(session, routed.alert.account_id, run.month)
            delivery = foresee(routed, outcome, retry_unconfirmed=run.retry_unconfirmed)
            if delivery.status is AlertStatus.PENDING:
                delivery = claimed(routed, outcome)
                _upsert(session, _OUTCOMES, [_outcome_values(run, routed, delivery, now)])
            _record_deliveries(session, run_id, [delivery])
        return delivery

    def settle(self, run_id: str, delivery: Delivery, now: datetime) -> Delivery:
        """Record what became of an alert that the run had claimed; gives what stays of it.

        Also when another process took this run for dead meanwhile, and closed it: we have the answer.
        """
        with self._database.write() as session:
            run = _standing(session, run_id)
            outcome = _outcome_of(session, delivery.account_id, run.month)
            mine = outcome is not None and outcome.run_id == run_id
            if outcome and mine and outcome.status in {OutcomeStatus.SENDING, OutcomeStatus.UNCONFIRMED}:
                delivery = concluded(delivery, again=outcome.reason == RETRIED)
                _settle_outcome(session, run.month, delivery, now)
            _record_deliveries(session, run_id, [delivery])
            if run.status != RunStatus.RUNNING:
                _add_up(session, session.get_one(RunRow, run_id))
        return delivery

    def give_up(
        self, run_id: str, routed: Iterable[RoutedAlert], reason: str, error: str | None, now: datetime
    ) -> None:
        """Record as failed, without a request, alerts whose channel refuses every message."""
        with self._database.write() as session:
            run = _running(session, run_id)
            known = _outcomes(session, run.month)
            deliveries, changed = [], []
            for item in routed:
                account_id = item.alert.account_id
                outcome = known.get(account_id)
                delivery = foresee(item, outcome, retry_unconfirmed=run.retry_unconfirmed)
                if delivery.status is AlertStatus.PENDING:
                    refused = Delivery(
                        account_id, AlertStatus.FAILED, item.channel, reason=reason, error=error
                    )
                    again = outcome is not None and outcome.status is OutcomeStatus.UNCONFIRMED
                    delivery = concluded(refused, again=again)
                    changed.append(_outcome_values(run, item, delivery, now))
                deliveries.append(delivery)
            _upsert(session, _OUTCOMES, changed)
            _record_deliveries(session, run_id, deliveries)

    def deliveries(self, run_id: str) -> dict[str, Delivery]:
        """Give what the run has made of its alerts so far, by account_id."""
        with self._database.read() as session:
            rows = session.exec(select(RunAlertRow).where(RunAlertRow.run_id == run_id)).all()
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

    # Support

    def told(self, month: date, to: str | None) -> dict[str, Report]:
        """Give what support was told last of the month's alerts, by account_id.

        Only what went to the address `to`: another address knows nothing yet. Without one, all that was told.
        """
        query = select(SupportToldRow).where(
            SupportToldRow.month == month, SupportToldRow.alert_type == AlertType.AT_RISK
        )
        if to is not None:
            query = query.where(SupportToldRow.told_to == to)
        with self._database.read() as session:
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
                common = {
                    "month": run.month,
                    "alert_type": AlertType.AT_RISK,
                    "told_to": told.to,
                    "told_at": told.at,
                    "run_id": run_id,
                }
                _upsert(session, _SUPPORT_TOLD, [common | asdict(report) for report in told.reports])


class _Standing(NamedTuple):
    """What of a run decides about its alerts."""

    run_id: str
    month: date
    retry_unconfirmed: bool
    status: str


# Each alert is claimed and settled while other writers wait: plain statements, compiled once, take half the
# time of whole rows as objects.
_STANDING = core_select(*(_RUNS.c[name] for name in _Standing._fields)).where(
    _RUNS.c.run_id == bindparam("of_run")
)
_THIS_OUTCOME = and_(
    _OUTCOMES.c.account_id == bindparam("of_account"),
    _OUTCOMES.c.month == bindparam("of_month"),
    _OUTCOMES.c.alert_type == AlertType.AT_RISK,
)
_OUTCOME_OF = core_select(_OUTCOMES).where(_THIS_OUTCOME)


def _standing(session: Session, run_id: str) -> _Standing:
    return _Standing(*session.connection().execute(_STANDING, {"of_run": run_id}).one())


def _running(session: Session, run_id: str) -> _Standing:
    run = _standing(session, run_id)
    if run.status != RunStatus.RUNNING:
        raise Interrupted("Another process took this run for dead and closed it; run the month again")
    return run


def _outcomes(session: Session, month: date) -> dict[str, Outcome]:
    rows = session.exec(
        select(OutcomeRow).where(OutcomeRow.month == month, OutcomeRow.alert_type == AlertType.AT_RISK)
    )
    return {row.account_id: _outcome(row) for row in rows}


def _outcome_of(session: Session, account_id: str, month: date) -> Outcome | None:
    key = {"of_account": account_id, "of_month": month}
    row = session.connection().execute(_OUTCOME_OF, key).one_or_none()
    return _outcome(row) if row else None


def _outcome(row: OutcomeRow | Row[*tuple[Any, ...]]) -> Outcome:
    return Outcome(
        account_id=row.account_id,
        status=OutcomeStatus(row.status),
        channel=row.channel,
        reason=row.reason,
        error=row.error,
        attempts=row.attempts,
        run_id=row.run_id,
        sent_at=row.sent_at,
    )


def _outcome_values(
    run: RunRow | _Standing, routed: RoutedAlert, delivery: Delivery, now: datetime
) -> dict[str, Any]:
    return {
        "account_id": delivery.account_id,
        "month": run.month,
        "alert_type": AlertType.AT_RISK,
        "region": routed.alert.account_region,
        "channel": delivery.channel,
        "status": OutcomeStatus(delivery.status),
        "reason": delivery.reason,
        "error": delivery.error,
        "attempts": delivery.attempts,
        "run_id": run.run_id,
        "sent_at": delivery.sent_at,
        "updated_at": now,
    }


def _upsert(session: Session, table: Table, values: list[dict[str, Any]]) -> None:
    if not values:
        return
    session.connection().execute(_upsert_into(table), values)


@cache
def _upsert_into(table: Table) -> Insert:
    statement = sqlite.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    upsert: Insert = statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
    return upsert


def _record_scan(run: RunRow, assessment: Assessment) -> None:
    run.source_version = assessment.source_version
    run.warnings = [asdict(warning) for warning in assessment.warnings]
    for name, value in asdict(assessment.scan).items():
        setattr(run, name, value)


def _record_alerts(
    session: Session, run_id: str, routed: Sequence[RoutedAlert], deliveries: Sequence[Delivery]
) -> None:
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


_CHANGED_BY_DELIVERY = [field.name for field in fields(Delivery) if field.name != "account_id"]
_SETTLED_BY_DELIVERY = [name for name in _CHANGED_BY_DELIVERY if name != "channel"]
_RECORD_DELIVERY = (
    update(_RUN_ALERTS)
    .where(
        _RUN_ALERTS.c.run_id == bindparam("of_run"),
        _RUN_ALERTS.c.account_id == bindparam("of_account"),
        _RUN_ALERTS.c.alert_type == AlertType.AT_RISK,
    )
    .values({name: bindparam(name) for name in _CHANGED_BY_DELIVERY})
)


_SETTLE_OUTCOME = (
    update(_OUTCOMES)
    .where(_THIS_OUTCOME)
    .values({name: bindparam(name) for name in (*_SETTLED_BY_DELIVERY, "updated_at")})
)


def _settle_outcome(session: Session, month: date, delivery: Delivery, now: datetime) -> None:
    key = {"of_account": delivery.account_id, "of_month": month}
    values = {name: getattr(delivery, name) for name in _SETTLED_BY_DELIVERY}
    session.connection().execute(_SETTLE_OUTCOME, key | values | {"updated_at": now})


def _record_deliveries(session: Session, run_id: str, deliveries: Sequence[Delivery]) -> None:
    if not deliveries:
        return
    changes = [
        {"of_run": run_id, "of_account": delivery.account_id}
        | {name: getattr(delivery, name) for name in _CHANGED_BY_DELIVERY}
        for delivery in deliveries
    ]
    session.connection().execute(_RECORD_DELIVERY, changes)


def _close(session: Session, run: RunRow, error: RiskAlertsError | None, now: datetime) -> None:
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
    _add_up(session, run)
    run.status = RunStatus.FAILED if error else RunStatus.SUCCEEDED
    run.error_code = error.code if error else None
    run.error_message = error.message if error else None
    run.finished_at = now


def _add_up(session: Session, run: RunRow) -> None:
    for name, value in asdict(count_alerts(session, run)).items():
        setattr(run, name, value)
