"""The writes of the ledger: runs, their alerts and the outcomes.

Three writes keep an alert from being sent twice. `plan` records every alert of a run. `claim` commits the
right to send one alert before its request leaves. `record_answer` records Slack's answer. A claim without an
answer becomes `unconfirmed` when its run is closed, since the alert may have been delivered.

Only one transaction writes at a time, so what it has read does not change until it ends. When rows are
changed by their primary keys, SQLAlchemy checks that it found every row.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, datetime
from itertools import islice
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from core import domain
from core.alerts import Assessment
from core.ledger import liveness, schema
from core.ledger.database import Database, through_a_restart, translated_errors
from core.ledger.history import SELECT_DELIVERIES, History, find_outcomes, read_counts
from core.ledger.sqlite import container_warning, file_of, is_missing
from core.ledger.views import OutcomeView

logger = logging.getLogger(__name__)

SILENT = "The process of this run died, or could not write to the ledger; run the month again"

PLANNED_AT_ONCE = 1_000
"""Alerts per INSERT: fewer would take more calls, more would take more memory."""
_TO_SEND = {domain.AlertStatus.PENDING, domain.AlertStatus.WOULD_SEND}

# Other writers wait while an alert is claimed or recorded. To be fast, these statements are built once, and
# alerts are changed by the session's bulk methods.
_RUN = sa.select(schema.RunRow).where(schema.RUNS.c.run_id == sa.bindparam("run_id"))
_OUTCOME = SELECT_DELIVERIES.where(*(key == sa.bindparam(key.name) for key in schema.OUTCOMES.primary_key))

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


def known_deliveries(database_url: str, month: date) -> dict[domain.AlertKey, domain.Delivery]:
    """Return the deliveries of a month; none, without creating the ledger, if its file is missing.

    Raises `LedgerError`.
    """
    url = make_url(database_url)
    file = file_of(url)
    with translated_errors(url):
        if file and is_missing(file):
            return {}
    return open_ledger(database_url).history.deliveries(month)


class Ledger:
    """The writes of the ledger, each a short transaction, from any thread; `history` has the reads.

    After another process has closed a run, writes that begin something for it raise `Interrupted`. Writes
    about what has happened still succeed: heartbeat, answer, notification and end.
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
        with self._database.write() as session:
            session.execute(schema.TOUCH)

    # The life of a run

    @through_a_restart
    def begin_run(
        self,
        run_id: str,
        request: domain.RunRequest,
        owner: liveness.ProcessIdentity,
        flow_run_id: str | None,
        now: datetime,
    ) -> None:
        """Record a new run and its process; add the flow run to a run that was accepted before."""
        with self._database.write() as session:
            if session.get(schema.RunRow, run_id):
                _running(session, run_id).flow_run_id = flow_run_id
                return
            new = schema.RunRow(run_id=run_id, flow_run_id=flow_run_id, **asdict(request), **asdict(owner))
            new.status, new.counts_by_type, new.warnings = domain.RunStatus.RUNNING, {}, []
            new.started_at = new.heartbeat_at = now
            session.add(new)

    def heartbeat(self, run_id: str, now: datetime) -> None:
        """Record that the run is alive."""
        with self._database.write() as session:
            _known(session, run_id).heartbeat_at = now

    @through_a_restart
    def close_dead_runs(self, now: datetime, month: date | None = None) -> None:
        """Close the running runs of dead processes as `interrupted`, and those that `finish` could not close.

        A process that seems dead gets time for a heartbeat; a run with a new heartbeat stays open. Each run
        of `month` on another host needs a new one, because the caller leaves what that run claims to it.
        """
        for run_id, error in list(self._unclosed.items()):
            with self._database.write() as session:
                over = session.get(schema.RunRow, run_id)
                if over and over.status == domain.RunStatus.RUNNING:
                    _close(session, over, error, now)
            self._unclosed.pop(run_id, None)
        with self._database.read() as session:
            is_running = sa.select(schema.RunRow).filter_by(status=domain.RunStatus.RUNNING)
            running = session.scalars(is_running).all()
        dead = [
            run
            for run in running
            if (run.month == month and run.host != liveness.this_process().host)
            or liveness.is_dead(_owner(run), run.heartbeat_at, now)
        ]
        if dead:
            self.check_writable()  # while nothing can be written, live runs send no heartbeat either
        liveness.wait_for_heartbeats(map(_owner, dead))
        for run in dead:
            with self._database.write() as session:
                found = session.get(schema.RunRow, run.run_id)
                silent = found == run  # no heartbeat since it was read
                if found and silent:
                    _close(session, found, domain.Interrupted(SILENT), now)
            if silent:
                logger.warning("Closed run %s: %s", run.run_id, SILENT)

    @through_a_restart
    def record_result(self, run_id: str) -> domain.Counts:
        """Count the run's alerts, store the counts and return them; raise `Interrupted` for a closed run."""
        with self._database.write() as session:
            return domain.total(_store_counts(session, _running(session, run_id)).values())

    @through_a_restart
    def claim_notification(self, run_id: str, address: str) -> bool:
        """Claim the month's notification to an address; return False while another run has claimed it.

        A claim ends with the notification or with its run. Raises `Interrupted` for a closed run.
        """
        with self._database.write() as session:
            run = _running(session, run_id)
            new = schema.NotificationRow(month=run.month, address=address, digest="", run_id=run_id)
            last = session.get(schema.NotificationRow, (run.month, address)) or new
            other = session.get(schema.RunRow, last.run_id)
            claimed = other and (other.status, other.support_notification) == (domain.RunStatus.RUNNING, None)
            if claimed and other is not run:
                return False
            last.run_id = run_id
            session.add(last)
        return True

    @through_a_restart
    def record_notification(
        self, run_id: str, notification: domain.Notification, *, address: str, digest: str
    ) -> None:
        """Store the notification with its run, and its digest for the address unless it failed."""
        with self._database.write() as session:
            run = _known(session, run_id)
            run.support_message = asdict(notification.message)
            run.support_notification = notification.status
            run.support_error = notification.error
            if notification.status is not domain.NotificationStatus.FAILED:
                session.merge(
                    schema.NotificationRow(month=run.month, address=address, digest=digest, run_id=run_id)
                )

    @through_a_restart
    def finish(self, run_id: str, error: domain.RiskAlertsError | None, now: datetime) -> None:
        """Close the run, as failed when it has an error; its claims become unconfirmed.

        If the ledger cannot be written now, the next search for dead runs closes the run with the same code.
        """
        try:
            with self._database.write() as session:
                _close(session, _known(session, run_id), error, now)
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
        added: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        over_limit = 0
        remaining = enumerate(alerts)
        with self._database.write() as session:
            run = _running(session, run_id)
            known = find_outcomes(session, run.month)
            flags = {"retry_unconfirmed": run.retry_unconfirmed, "dry_run": run.dry_run}
            run.source_version = assessment.source_version
            run.warnings = [asdict(warning) for warning in assessment.warnings]
            run.counts_by_type = schema.COUNTS.dump_python(dict(assessment.counts_by_type))
            while chunk := list(islice(remaining, PLANNED_AT_ONCE)):
                rows = []
                for position, alert in chunk:
                    delivery = domain.plan_delivery(alert, known.get(alert.key), **flags)
                    is_to_send = delivery.status in _TO_SEND
                    if delivery.status is domain.AlertStatus.FAILED:
                        outcome = _outcome(run, delivery, now) | {"region": alert.account_region}
                        (changed if alert.key in known else added).append(outcome)
                    elif is_to_send and limit and len(to_send) == limit:
                        # Set to failed now: one statement of `_close` for a million rows could time out.
                        over_limit += 1
                        delivery = delivery._replace(**_untried(domain.TooManyAlerts.code))
                    elif is_to_send:
                        to_send.append(alert)
                    rows.append(alert._asdict() | _result(run_id, delivery) | {"position": position})
                session.execute(sa.insert(schema.RunAlertRow), rows)
            if not (run.dry_run or over_limit):
                session.bulk_insert_mappings(schema.OutcomeRow, added)
                session.bulk_update_mappings(schema.OutcomeRow, changed)
        if over_limit:
            raise domain.TooManyAlerts(
                f"{limit + over_limit:,} alerts would be sent, more than MAX_ALERTS_PER_RUN ({limit}), so"
                " none was sent; check the source, or raise the limit"
            )
        return [] if run.dry_run else to_send

    @through_a_restart
    def claim(self, run_id: str, alert: domain.Alert, now: datetime) -> domain.Delivery:
        """Claim the right to send one alert: return `SENDING`, or the result that another run has recorded.

        Raises `Interrupted` for a closed run, because no later step would record a result of its claim.
        """
        with self._database.write() as session:
            run = _running(session, run_id)
            outcome = _find_outcome(session, alert.key, run.month)
            if outcome and outcome.status is domain.AlertStatus.SENDING and outcome.run_id == run_id:
                # A run claims an alert once, so this is the same claim: the answer to its commit was lost.
                return outcome
            delivery = domain.plan_delivery(alert, outcome, retry_unconfirmed=run.retry_unconfirmed)
            if delivery.status is domain.AlertStatus.PENDING:
                delivery = domain.claimed(alert, outcome)
                record = _outcome(run, delivery, now) | {"region": alert.account_region}
                write = session.bulk_update_mappings if outcome else session.bulk_insert_mappings
                write(schema.OutcomeRow, [record])
            session.bulk_update_mappings(schema.RunAlertRow, [_result(run_id, delivery)])
        return delivery

    @through_a_restart
    def record_answer(self, run_id: str, delivery: domain.Delivery, now: datetime) -> domain.Delivery:
        """Record the result of a claimed alert, also for a closed run, and return the recorded result."""
        with self._database.write() as session:
            run = _known(session, run_id)
            outcome = _find_outcome(session, delivery.key, run.month)
            if outcome and domain.accepts_answer(outcome, run_id, delivery.status):
                delivery = domain.merge_result(outcome, delivery)
                session.bulk_update_mappings(schema.OutcomeRow, [_outcome(run, delivery, now)])
            session.bulk_update_mappings(schema.RunAlertRow, [_result(run_id, delivery)])
            if run.status != domain.RunStatus.RUNNING:
                _store_counts(session, run)
        return delivery

    def resolve(self, resolution: domain.Resolution) -> OutcomeView:
        """Record a person's decision about an outcome, and return the outcome.

        Raises `OutcomeNotFound`, `AlreadyResolved` or `NotUnconfirmed`.
        """
        key, month = resolution.key, resolution.month
        with self._database.write() as session:
            found = session.get(schema.OutcomeRow, (month, key.account_id, key.alert_type))
            if found is None:
                raise domain.OutcomeNotFound(
                    f"No {key.alert_type} alert of account {key.account_id!r} in {month} is in the ledger;"
                    " check the account, the month and the alert type"
                )
            if found.status is not domain.AlertStatus.UNCONFIRMED:
                raise _not_resolvable(found)
            decided = asdict(resolution)
            decided |= decided.pop("key")._asdict() | {"run_id": found.run_id, "reason": found.reason}
            session.add(schema.ResolutionRow(**decided))
            found.status = domain.AlertStatus.FAILED
            if resolution.decision is domain.Decision.DELIVERED:
                # The best estimate of when Slack posted the message.
                found.status, found.sent_at = domain.AlertStatus.SENT, found.updated_at
            found.reason, found.error = domain.RESOLVED[resolution.decision], None
            found.updated_at = resolution.at
        return self.history.outcomes_of(month, [key])[key]


# Runs


def _known(session: Session, run_id: str) -> schema.RunRow:
    """Return a run; raise `LedgerError` for an unknown one."""
    run: schema.RunRow | None = session.scalars(_RUN, {"run_id": run_id}).one_or_none()
    if run is None:
        raise domain.LedgerError(
            f"The run {run_id} is no longer in the ledger: check whether the database was replaced"
        )
    return run


def _running(session: Session, run_id: str) -> schema.RunRow:
    """Return a running run; raise `Interrupted` when it is closed."""
    run = _known(session, run_id)
    if run.status != domain.RunStatus.RUNNING:
        raise domain.Interrupted("Another process closed the run because it seemed dead; run the month again")
    return run


def _owner(run: schema.RunRow) -> liveness.ProcessIdentity:
    return liveness.ProcessIdentity(run.host, run.pid, run.process_started)


def _store_counts(session: Session, run: schema.RunRow) -> dict[str, domain.Counts]:
    """Count the run's alerts, store the counts with the run, and return them by alert type."""
    counts = read_counts(session, run)
    run.counts_by_type = schema.COUNTS.dump_python(counts)
    return counts


def _close(session: Session, run: schema.RunRow, error: domain.RiskAlertsError | None, now: datetime) -> None:
    """Close the run, as failed when it has an error; its claims become unconfirmed."""
    lost = "The run ended between the request and its answer: look in the channel"
    for table, stamp in ((schema.OutcomeRow, {"updated_at": now}), (schema.RunAlertRow, {})):
        claims = sa.update(table).filter_by(run_id=run.run_id, status=domain.AlertStatus.SENDING)
        # A claim has a reason only when an earlier attempt may have been delivered.
        reason = sa.func.coalesce(table.reason, domain.PROCESS_DIED)
        unconfirmed = {"status": domain.AlertStatus.UNCONFIRMED, "reason": reason, "error": lost}
        session.execute(claims.values(unconfirmed | stamp))
    untried = {domain.AlertStatus.PENDING}
    if isinstance(error, domain.TooManyAlerts):
        # A real run would have sent none of the alerts that this dry run planned.
        untried.add(domain.AlertStatus.WOULD_SEND)
    failed = _untried(error.code if error else domain.Interrupted.code)
    alerts = sa.update(schema.RunAlertRow).filter_by(run_id=run.run_id)
    session.execute(alerts.where(schema.RUN_ALERTS.c.status.in_(untried)).values(failed))
    _store_counts(session, run)
    run.status = domain.RunStatus.FAILED if error else domain.RunStatus.SUCCEEDED
    run.error = {"code": error.code, "message": error.message} if error else None
    run.finished_at = now


# Alerts and outcomes


def _find_outcome(session: Session, key: domain.AlertKey, month: date) -> domain.Delivery | None:
    found = session.execute(_OUTCOME, {"month": month} | key._asdict()).one_or_none()
    return domain.Delivery(*found) if found else None


def _result(run_id: str, delivery: domain.Delivery) -> dict[str, Any]:
    """Return the columns of a result, in `run_alerts` and in `alert_outcomes`."""
    return delivery._replace(run_id=run_id)._asdict()


def _untried(code: str) -> dict[str, Any]:
    """Return the result of an alert that was not tried, because the run ended with this code."""
    error = "Not tried before the run ended; a later run of the month sends it"
    return {"status": domain.AlertStatus.FAILED, "reason": code, "error": error}


def _outcome(run: schema.RunRow, delivery: domain.Delivery, now: datetime) -> dict[str, Any]:
    return _result(run.run_id, delivery) | {"month": run.month, "updated_at": now}


def _not_resolvable(found: schema.OutcomeRow) -> domain.RiskAlertsError:
    alert = f"The {found.alert_type} alert of account {found.account_id!r} in {found.month}"
    if found.reason in domain.RESOLVED.values():
        return domain.AlreadyResolved(f"{alert} was resolved before ({found.reason}); nothing was changed")
    if found.status is domain.AlertStatus.SENDING:
        return domain.NotUnconfirmed(f"{alert} is being sent by a run now; look again when that run is over")
    return domain.NotUnconfirmed(f"{alert} is {found.status}, not unconfirmed; nothing was changed")
