"""The reads of the ledger: runs, their alerts and outcomes, page by page."""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Gauge
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter
from pydantic_core import to_json
from sqlalchemy import Row, Select, String, Table, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from core import domain
from core.alerts import AlertView, OpenReason, open_by_reason
from core.ledger import views
from core.ledger.database import Database
from core.ledger.schema import COUNTS, NOTIFICATIONS, OUTCOMES, RESOLUTIONS, RUN_ALERTS, RUNS, RunRow

SAMPLE_SIZE = 10

SELECT_DELIVERIES = select(*(OUTCOMES.c[name] for name in domain.Delivery._fields))

_ALERTS = select(RUN_ALERTS).order_by(RUN_ALERTS.c.position)
_ALERT_KEY = tuple_(OUTCOMES.c.account_id, OUTCOMES.c.alert_type)
_FACTS = [column for column in RUN_ALERTS.c if column.name not in OUTCOMES.c]
_SAME_ALERT = and_(*(OUTCOMES.c[key.name] == key for key in RUN_ALERTS.primary_key))
_OUTCOMES = select(OUTCOMES, *_FACTS).outerjoin(RUN_ALERTS, _SAME_ALERT)
"""Outcomes, each with the facts of its alert in the run that recorded it."""
_OPEN = [domain.AlertStatus.FAILED, domain.AlertStatus.UNCONFIRMED]

# The content of cursors. The bounds are those of the database and of Python's conversion to UTC.
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_RUNS_CURSOR = TypeAdapter(tuple[Annotated[AwareDatetime, Field(gt=_EARLIEST, lt=_LATEST)], str])
_ALERTS_CURSOR = TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**31)]])
_OUTCOMES_CURSOR = TypeAdapter(tuple[date, str, str])

T = TypeVar("T")
V = TypeVar("V", bound=BaseModel)


class OpenAlerts(NamedTuple):
    """The failed and unconfirmed alerts of a month."""

    alerts: list[AlertView]
    digest: str
    """The digest of this list."""
    notified: bool
    """Whether the address has accepted the same list."""


class History:
    """The reads of the ledger, each in one consistent state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, run_id: str) -> views.RunView:
        """Return one run with samples of its alerts and errors; raise `RunNotFound`."""
        with self._database.read() as session:
            row = _get_run(session, run_id)
            alerts = _filtered(_ALERTS, RUN_ALERTS, run_id=run_id)
            errors = alerts.where(RUN_ALERTS.c.status.in_(_OPEN))
            shown = _views(AlertView, session.execute(alerts.limit(SAMPLE_SIZE)))
            failed = _views(views.DeliveryErrorView, session.execute(errors.limit(SAMPLE_SIZE)))
            return _run_view(views.RunView, session, row, sample_alerts=shown, sample_errors=failed)

    def runs(
        self,
        *,
        month: date | None = None,
        status: domain.RunStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> views.RunPage:
        """Return a page of runs, newest first; without a limit, all of them.

        Raises `InvalidRequest` for an invalid cursor, as the other pages do.
        """
        query = _filtered(select(RUNS), RUNS, month=month, status=status)
        if cursor is not None:
            place = decode_cursor(cursor, _RUNS_CURSOR)
            query = query.where(tuple_(RUNS.c.started_at, RUNS.c.run_id) < tuple_(*place))
        with self._database.read() as session:
            in_order = query.order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
            rows, next_cursor = _page(session, in_order, limit, "started_at", "run_id")
            runs = [_run_view(views.RunSummary, session, row) for row in rows]
        return views.RunPage(runs=runs, next_cursor=next_cursor)

    def alerts(
        self,
        run_id: str,
        *,
        status: domain.AlertStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> views.AlertPage:
        """Return a page of the run's alerts, in their order; raise `RunNotFound` for an unknown run."""
        query = _filtered(_ALERTS, RUN_ALERTS, run_id=run_id, status=status)
        if cursor is not None:
            (position,) = decode_cursor(cursor, _ALERTS_CURSOR)
            query = query.where(RUN_ALERTS.c.position > position)
        with self._database.read() as session:
            _get_run(session, run_id)
            rows, next_cursor = _page(session, query, limit, "position")
        return views.AlertPage(alerts=_views(AlertView, rows), next_cursor=next_cursor)

    def open_of(self, run_id: str, limit: int) -> list[OpenReason]:
        """Return the run's failed and unconfirmed alerts by reason, at most `limit` of each status."""
        queries = [_filtered(_ALERTS, RUN_ALERTS, run_id=run_id, status=status) for status in _OPEN]
        with self._database.read() as session:
            rows = [row for query in queries for row in session.execute(query.limit(limit))]
            found = _count(session, RUN_ALERTS, "reason", "status", run_id=run_id)
        numbers = {(reason, status): number for (reason, status), number in found.items() if status in _OPEN}
        return open_by_reason(_views(AlertView, rows), numbers)

    def outcomes(
        self,
        *,
        month: date | None = None,
        status: domain.OutcomeStatus | None = None,
        alert_type: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> views.OutcomePage:
        """Return a page of outcomes, newest month first."""
        query = _filtered(_OUTCOMES, OUTCOMES, month=month, status=status, alert_type=alert_type)
        if cursor is not None:
            reached, *alert = decode_cursor(cursor, _OUTCOMES_CURSOR)
            same_month = and_(OUTCOMES.c.month == reached, tuple_(*alert) < _ALERT_KEY)
            query = query.where(or_(OUTCOMES.c.month < reached, same_month))
        with self._database.read() as session:
            in_order = query.order_by(OUTCOMES.c.month.desc(), OUTCOMES.c.account_id, OUTCOMES.c.alert_type)
            rows, next_cursor = _page(session, in_order, limit, "month", "account_id", "alert_type")
            return views.OutcomePage(outcomes=_with_resolutions(session, rows), next_cursor=next_cursor)

    def outcomes_of(
        self, month: date, keys: Collection[domain.AlertKey]
    ) -> dict[domain.AlertKey, views.OutcomeView]:
        """Return the outcomes of these alerts of a month; an alert without an outcome is left out."""
        query = _OUTCOMES.where(OUTCOMES.c.month == month, _ALERT_KEY.in_(keys))
        with self._database.read() as session:
            found = _with_resolutions(session, session.execute(query).all())
        return {domain.AlertKey(view.account_id, view.alert_type): view for view in found}

    def deliveries(self, month: date) -> dict[domain.AlertKey, domain.Delivery]:
        """Return the delivery on record for each alert of a month that has an outcome."""
        with self._database.read() as session:
            return find_outcomes(session, month)

    def open_alerts(self, month: date, address: str) -> OpenAlerts:
        """Return the open alerts of a month, each as in the run that recorded its outcome."""
        # If somebody has deleted the row of the alert in that run, there is nothing to show.
        is_open = OUTCOMES.c.status.in_(_OPEN), RUN_ALERTS.c.run_id.is_not(None)
        query = _filtered(_OUTCOMES, OUTCOMES, month=month).where(*is_open)
        last = _filtered(select(NOTIFICATIONS.c.digest), NOTIFICATIONS, month=month, address=address)
        with self._database.read() as session:
            rows = session.execute(query.order_by(OUTCOMES.c.account_id, OUTCOMES.c.alert_type)).all()
            accepted = session.scalar(last)
        digest = _digest(rows)
        return OpenAlerts(_views(AlertView, rows), digest, accepted == digest)

    def channels(self, run_id: str) -> views.ChannelTable:
        """Count the run's alerts by channel and status, sorted by channel; those without a channel last."""
        with self._database.read() as session:
            found = _count(session, RUN_ALERTS, "channel", "status", run_id=run_id)
        channels = sorted({channel for channel, _ in found}, key=lambda name: (name is None, name))
        statuses = [status for status in domain.AlertStatus if any(status == shown for _, shown in found)]
        rows = {channel: [found.get((channel, status), 0) for status in statuses] for channel in channels}
        return views.ChannelTable(
            columns=[status.replace("_", " ") for status in statuses],
            rows=[(channel or "(no channel)", numbers) for channel, numbers in rows.items()],
        )

    def gauges(self) -> CollectorRegistry:
        """Return the ledger statistics as gauges for Prometheus, where 0 stands for none."""
        registry = CollectorRegistry()
        runs = Gauge("risk_alerts_runs", "Runs in the ledger, by status.", ["status"], registry=registry)
        text = "Alerts of all months in the ledger, by alert type and status."
        outcomes = Gauge("risk_alerts_outcomes", text, ["alert_type", "status"], registry=registry)
        text = "The first day (UTC) of the latest month with rows and a succeeded run that was no dry run."
        last_month = Gauge("risk_alerts_last_succeeded_month_timestamp_seconds", text, registry=registry)
        succeeded = RUNS.c.status == domain.RunStatus.SUCCEEDED, ~RUNS.c.dry_run
        # A run before a late export succeeds, but its month is still to be run.
        found_rows = RUNS.c.warnings.cast(String).not_like(f"%{domain.MONTH_NOT_IN_SOURCE}%")
        with self._database.read() as session:
            by_status = _count(session, RUNS, "status")
            # The index on (run_id, status, alert_type) covers this query; the table is not read.
            by_type = _count(session, OUTCOMES, "alert_type", "status")
            month = session.scalar(select(func.max(RUNS.c.month)).where(*succeeded, found_rows))
        for status in domain.RunStatus:
            runs.labels(status).set(by_status.get((status,), 0))
        for alert_type in {domain.DEFAULT_ALERT_TYPE, *(alert_type for alert_type, _ in by_type)}:
            for outcome in domain.OutcomeStatus:
                outcomes.labels(alert_type, outcome).set(by_type.get((alert_type, outcome), 0))
        if month:
            last_month.set(datetime.combine(month, time(), UTC).timestamp())
        return registry


# Pages


def encode_cursor(*place: Any) -> str:
    """Return the cursor for a page that ends at these values."""
    return base64.urlsafe_b64encode(to_json(place)).decode().rstrip("=")


def decode_cursor(cursor: str, kind: TypeAdapter[T]) -> T:
    """Return the content of a cursor; raise `InvalidRequest` unless it is of this kind."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return kind.validate_json(base64.b64decode(padded, altchars=b"-_", validate=True), strict=True)
    except ValueError:
        raise domain.InvalidRequest("cursor: invalid; send the next_cursor of the page before") from None


def _filtered(query: Select[Any], table: Table, **wanted: Any) -> Select[Any]:
    """Return the query for the rows with these values; None matches any value."""
    return query.where(*(table.c[name] == value for name, value in wanted.items() if value is not None))


def _count(session: Session, table: Table, *by: str, **wanted: Any) -> dict[tuple[Any, ...], int]:
    """Count the rows with the wanted values, for each combination of values of the columns `by`."""
    columns = [table.c[name] for name in by]
    query = _filtered(select(*columns, func.count()).group_by(*columns), table, **wanted)
    return {tuple(values): number for *values, number in session.execute(query)}


def _page(
    session: Session, query: Select[Any], limit: int | None, *place: str
) -> tuple[Sequence[Row[Any]], str | None]:
    """Return the rows of a page, and the cursor of the next page: the last row's values of these columns."""
    rows = session.execute(query.limit(limit and limit + 1)).all()
    shown = rows[:limit]
    if len(shown) == len(rows):
        return rows, None
    return shown, encode_cursor(*(getattr(shown[-1], name) for name in place))


# Rows to views


def _view(view: type[V], row: Row[Any], **more: Any) -> V:
    return view.model_validate({**row._mapping, **more})  # noqa: SLF001


def _views(view: type[V], rows: Iterable[Row[Any]]) -> list[V]:
    return [_view(view, row) for row in rows]


def read_counts(session: Session, run: Row[Any] | RunRow) -> dict[str, domain.Counts]:
    """Return the counts of a run by alert type: the stored ones of its scan, and those of its alerts."""
    counted = _count(session, RUN_ALERTS, "alert_type", "status", "reason", run_id=run.run_id)
    alerts = ((*group, number) for group, number in counted.items())
    return domain.count_alerts(COUNTS.validate_python(run.counts_by_type), alerts)


def find_outcomes(session: Session, month: date) -> dict[domain.AlertKey, domain.Delivery]:
    """Return the outcomes of a month."""
    rows = session.execute(SELECT_DELIVERIES.where(OUTCOMES.c.month == month))
    return {outcome.key: outcome for outcome in (domain.Delivery(*row) for row in rows)}


def _get_run(session: Session, run_id: str) -> Row[Any]:
    run = session.execute(select(RUNS).where(RUNS.c.run_id == run_id)).one_or_none()
    if run is None:
        raise domain.RunNotFound(f"No run {run_id!r} is in the ledger; GET /runs lists every run")
    return run


def _run_view(view: type[V], session: Session, row: Row[Any], **samples: Any) -> V:
    # Until the run is closed, only the counts of its scan are stored.
    running = row.status == domain.RunStatus.RUNNING
    counts = read_counts(session, row) if running else COUNTS.validate_python(row.counts_by_type)
    return _view(view, row, counts=domain.total(counts.values()), counts_by_type=counts, **samples)


def _digest(rows: Iterable[Row[Any]]) -> str:
    """Return the digest of a list of open alerts; a list with another digest is news for support."""
    listed = []
    for row in rows:
        facts = (row.account_name, row.account_region, row.arr, row.duration_months, row.channel)
        # A new attempt that may have been delivered is news.
        run_id = row.run_id if row.status == domain.OutcomeStatus.UNCONFIRMED else None
        listed.append((row.account_id, row.alert_type, *facts, row.status, row.reason, run_id))
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _with_resolutions(session: Session, rows: Sequence[Row[Any]]) -> list[views.OutcomeView]:
    resolutions: dict[tuple[Any, ...], list[views.ResolutionView]] = defaultdict(list)
    # By month, because a statement takes a limited number of values; people make few decisions.
    query = select(RESOLUTIONS).where(RESOLUTIONS.c.month.in_({row.month for row in rows}))
    for row in session.execute(query.order_by(RESOLUTIONS.c.at)):
        resolutions[_outcome_key(row)].append(_view(views.ResolutionView, row))
    return [_view(views.OutcomeView, row, resolutions=resolutions[_outcome_key(row)]) for row in rows]


def _outcome_key(row: Row[Any]) -> tuple[date, str, str]:
    return row.month, row.account_id, row.alert_type
