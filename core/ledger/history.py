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
from sqlalchemy import Connection, Row, Select, Table, and_, bindparam, func, or_, select, tuple_

from core.alerts import AlertView
from core.domain import (
    DEFAULT_ALERT_TYPE,
    UNKNOWN_REGION,
    AlertKey,
    AlertStatus,
    Counts,
    Delivery,
    InvalidRequest,
    OutcomeNotFound,
    OutcomeStatus,
    RunNotFound,
    RunStatus,
    count_alerts,
    total,
)
from core.ledger.database import Database
from core.ledger.schema import (
    ALERT_COLUMNS,
    COUNTS,
    NOTIFICATIONS,
    OUTCOMES,
    RESOLUTIONS,
    RESULT_COLUMNS,
    RUN_ALERTS,
    RUNS,
)
from core.ledger.views import (
    AlertPage,
    ChannelTable,
    DeliveryErrorView,
    OutcomePage,
    OutcomeView,
    ResolutionView,
    RunPage,
    RunSummary,
    RunView,
)

SAMPLE_SIZE = 10

# Built once, because writers use them too.
_RUN = select(RUNS).where(RUNS.c.run_id == bindparam("of_run_id"))
_ALERT_COUNTS = (
    select(RUN_ALERTS.c.alert_type, RUN_ALERTS.c.status, RUN_ALERTS.c.reason, func.count())
    .where(RUN_ALERTS.c.run_id == bindparam("of_run_id"))
    .group_by(RUN_ALERTS.c.alert_type, RUN_ALERTS.c.status, RUN_ALERTS.c.reason)
)
_DELIVERIES = select(*(OUTCOMES.c[name] for name in (*AlertKey._fields, *RESULT_COLUMNS, "run_id")))
_DELIVERY = _DELIVERIES.where(
    *(OUTCOMES.c[name] == bindparam(f"of_{name}") for name in ("month", *AlertKey._fields))
)
_OUTCOME_KEY = tuple_(OUTCOMES.c.account_id, OUTCOMES.c.alert_type)
_JOIN_ALERT = and_(
    RUN_ALERTS.c.run_id == OUTCOMES.c.run_id,
    RUN_ALERTS.c.account_id == OUTCOMES.c.account_id,
    RUN_ALERTS.c.alert_type == OUTCOMES.c.alert_type,
)
"""Joins an outcome with its alert in the run that recorded it."""

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
    """Of this list."""
    notified: bool
    """Whether the address has accepted the same list."""


class History:
    """The reads of the ledger, each in one consistent state."""

    def __init__(self, database: Database) -> None:
        """Read from an opened database."""
        self._database = database

    def run(self, run_id: str) -> RunView:
        """Return one run with samples of its alerts and errors; raise `RunNotFound`."""
        with self._database.read() as connection:
            row = _get_run(connection, run_id)
            alerts = select(RUN_ALERTS).where(RUN_ALERTS.c.run_id == run_id).order_by(RUN_ALERTS.c.position)
            errors = alerts.where(RUN_ALERTS.c.status.in_([AlertStatus.FAILED, AlertStatus.UNCONFIRMED]))
            return _run_view(
                RunView,
                connection,
                row,
                sample_alerts=_views(AlertView, connection.execute(alerts.limit(SAMPLE_SIZE))),
                sample_errors=_views(DeliveryErrorView, connection.execute(errors.limit(SAMPLE_SIZE))),
            )

    def runs(
        self,
        *,
        month: date | None = None,
        status: RunStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> RunPage:
        """Return a page of runs, newest first; without a limit, all of them.

        Raises `InvalidRequest` for an invalid cursor, as the other pages do.
        """
        query = _filtered(select(RUNS), RUNS, month=month, status=status)
        if cursor is not None:
            place = decode_cursor(cursor, _RUNS_CURSOR)
            query = query.where(tuple_(RUNS.c.started_at, RUNS.c.run_id) < tuple_(*place))
        with self._database.read() as connection:
            in_order = query.order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
            rows, next_cursor = _page(connection, in_order, limit, "started_at", "run_id")
            runs = [_run_view(RunSummary, connection, row) for row in rows]
        return RunPage(runs=runs, next_cursor=next_cursor)

    def alerts(
        self,
        run_id: str,
        *,
        status: AlertStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AlertPage:
        """Return a page of the run's alerts, in their order; without a limit, all of them.

        Raises `RunNotFound`, `InvalidRequest`.
        """
        query = _filtered(select(RUN_ALERTS), RUN_ALERTS, run_id=run_id, status=status)
        if cursor is not None:
            (position,) = decode_cursor(cursor, _ALERTS_CURSOR)
            query = query.where(RUN_ALERTS.c.position > position)
        with self._database.read() as connection:
            _get_run(connection, run_id)
            in_order = query.order_by(RUN_ALERTS.c.position)
            rows, next_cursor = _page(connection, in_order, limit, "position")
        return AlertPage(alerts=_views(AlertView, rows), next_cursor=next_cursor)

    def outcomes(
        self,
        *,
        month: date | None = None,
        status: OutcomeStatus | None = None,
        alert_type: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> OutcomePage:
        """Return a page of outcomes, newest month first; without a limit, all of them.

        Raises `InvalidRequest`.
        """
        query = _filtered(_outcomes(), OUTCOMES, month=month, status=status, alert_type=alert_type)
        if cursor is not None:
            reached, *alert = decode_cursor(cursor, _OUTCOMES_CURSOR)
            same_month = and_(OUTCOMES.c.month == reached, tuple_(*alert) < _OUTCOME_KEY)
            query = query.where(or_(OUTCOMES.c.month < reached, same_month))
        with self._database.read() as connection:
            in_order = query.order_by(OUTCOMES.c.month.desc(), OUTCOMES.c.account_id, OUTCOMES.c.alert_type)
            rows, next_cursor = _page(connection, in_order, limit, "month", "account_id", "alert_type")
            return OutcomePage(outcomes=_with_resolutions(connection, rows), next_cursor=next_cursor)

    def outcome(self, month: date, key: AlertKey) -> OutcomeView:
        """Return the outcome of one alert; raise `OutcomeNotFound`."""
        found = self.outcomes_of(month, [key]).get(key)
        if found is None:
            raise outcome_not_found(key, month)
        return found

    def outcomes_of(self, month: date, keys: Collection[AlertKey]) -> dict[AlertKey, OutcomeView]:
        """Return the outcomes of these alerts of a month; an alert without an outcome is left out."""
        query = _outcomes().where(OUTCOMES.c.month == month, _OUTCOME_KEY.in_(keys))
        with self._database.read() as connection:
            found = _with_resolutions(connection, connection.execute(query).all())
        return {AlertKey(view.account_id, view.alert_type): view for view in found}

    def deliveries(self, month: date) -> dict[AlertKey, Delivery]:
        """Return the delivery on record for each alert of a month that has an outcome."""
        with self._database.read() as connection:
            return find_outcomes(connection, month)

    def open_alerts(self, month: date, address: str) -> OpenAlerts:
        """Return the open alerts of a month, each as in the run that recorded its outcome."""
        query = (
            select(
                *(RUN_ALERTS.c[name] for name in ALERT_COLUMNS),
                *(OUTCOMES.c[name] for name in (*RESULT_COLUMNS, "run_id")),
            )
            .join(RUN_ALERTS, _JOIN_ALERT)
            .where(
                OUTCOMES.c.month == month,
                OUTCOMES.c.status.in_([OutcomeStatus.FAILED, OutcomeStatus.UNCONFIRMED]),
            )
            .order_by(OUTCOMES.c.account_id, OUTCOMES.c.alert_type)
        )
        last = select(NOTIFICATIONS.c.digest).where(
            NOTIFICATIONS.c.month == month, NOTIFICATIONS.c.address == address
        )
        with self._database.read() as connection:
            rows, accepted = connection.execute(query).all(), connection.scalar(last)
        digest = _digest(rows)
        return OpenAlerts(_views(AlertView, rows), digest, accepted == digest)

    def channels(self, run_id: str) -> ChannelTable:
        """Count the run's alerts by channel and status, sorted by channel; alerts without one come last."""
        query = (
            select(RUN_ALERTS.c.channel, RUN_ALERTS.c.status, func.count())
            .where(RUN_ALERTS.c.run_id == run_id)
            .group_by(RUN_ALERTS.c.channel, RUN_ALERTS.c.status)
        )
        with self._database.read() as connection:
            found = {(channel, status): number for channel, status, number in connection.execute(query)}
        channels = sorted({channel for channel, _ in found}, key=lambda name: (name is None, name or ""))
        statuses = [status for status in AlertStatus if any(status == shown for _, shown in found)]
        return ChannelTable(
            [status.replace("_", " ") for status in statuses],
            [
                (channel or "(no channel)", [found.get((channel, status), 0) for status in statuses])
                for channel in channels
            ],
        )

    def gauges(self) -> CollectorRegistry:
        """Return the ledger statistics as gauges for Prometheus, where 0 stands for none."""
        registry = CollectorRegistry()
        text = "Runs in the ledger, by status."
        runs = Gauge("risk_alerts_runs", text, ["status"], registry=registry)
        text = "Alerts of all months in the ledger, by alert type and status."
        outcomes = Gauge("risk_alerts_outcomes", text, ["alert_type", "status"], registry=registry)
        text = "The first day (UTC) of the latest month that a run succeeded for, no dry run."
        last_month = Gauge("risk_alerts_last_succeeded_month_timestamp_seconds", text, registry=registry)
        status, group = RUNS.c.status, (OUTCOMES.c.alert_type, OUTCOMES.c.status)
        succeeded = select(func.max(RUNS.c.month)).where(status == RunStatus.SUCCEEDED, ~RUNS.c.dry_run)
        with self._database.read() as connection:
            by_status = connection.execute(select(status, func.count()).group_by(status)).all()
            # The index on (run_id, status, alert_type) covers this query; the table is not read.
            by_type = connection.execute(select(*group, func.count()).group_by(*group)).all()
            month = connection.scalar(succeeded)
        # A gauge with labels begins with 0.
        for one in RunStatus:
            runs.labels(one)
        for found, number in by_status:
            runs.labels(found).set(number)
        for alert_type in {DEFAULT_ALERT_TYPE, *(row.alert_type for row in by_type)}:
            for outcome in OutcomeStatus:
                outcomes.labels(alert_type, outcome)
        for alert_type, outcome, number in by_type:
            outcomes.labels(alert_type, outcome).set(number)
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
        raise InvalidRequest("cursor: invalid; send the next_cursor of the page before, unchanged") from None


def _filtered(query: Select[Any], table: Table, **wanted: Any) -> Select[Any]:
    """Return the query for the rows with these values; None matches any value."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return query.where(*(table.c[name] == value for name, value in given.items()))


def _page(
    connection: Connection, query: Select[Any], limit: int | None, *place: str
) -> tuple[Sequence[Row[Any]], str | None]:
    """Return the rows of a page, and the cursor of the next page: the last row's values of these columns."""
    rows = connection.execute(query.limit(limit and limit + 1)).all()
    shown = rows[:limit]
    if len(shown) == len(rows):
        return rows, None
    return shown, encode_cursor(*(getattr(shown[-1], name) for name in place))


# Rows to views


def _view(view: type[V], row: Row[Any], **more: Any) -> V:
    return view.model_validate({**row._mapping, **more})  # noqa: SLF001


def _views(view: type[V], rows: Iterable[Row[Any]]) -> list[V]:
    return [_view(view, row) for row in rows]


def find_run(connection: Connection, run_id: str) -> Row[Any] | None:
    """Return a run, or None for an unknown one."""
    return connection.execute(_RUN, {"of_run_id": run_id}).one_or_none()


def read_counts(connection: Connection, run: Row[Any]) -> dict[str, Counts]:
    """Return the counts of a run by alert type: the stored ones of its scan, and those of its alerts."""
    groups = connection.execute(_ALERT_COUNTS, {"of_run_id": run.run_id})
    alerts = ((kind, AlertStatus(status), reason, number) for kind, status, reason, number in groups)
    return count_alerts(COUNTS.validate_python(run.counts_by_type), alerts)


def find_outcomes(connection: Connection, month: date) -> dict[AlertKey, Delivery]:
    """Return the outcomes of a month."""
    outcomes = map(_delivery, connection.execute(_DELIVERIES.where(OUTCOMES.c.month == month)))
    return {outcome.key: outcome for outcome in outcomes}


def find_outcome(connection: Connection, key: AlertKey, month: date) -> Delivery | None:
    """Return the outcome of one alert, or None."""
    place = {"of_month": month, "of_account_id": key.account_id, "of_alert_type": key.alert_type}
    found = connection.execute(_DELIVERY, place).one_or_none()
    return None if found is None else _delivery(found)


def _delivery(row: Iterable[Any]) -> Delivery:
    account_id, alert_type, status, *rest = row
    return Delivery(AlertKey(account_id, alert_type), AlertStatus(status), *rest)


def outcome_not_found(key: AlertKey, month: date) -> OutcomeNotFound:
    """Return the error for an unknown alert."""
    return OutcomeNotFound(
        f"No {key.alert_type} alert of account {key.account_id!r} in {month} is in the ledger;"
        " GET /outcomes lists the alerts that are"
    )


def _get_run(connection: Connection, run_id: str) -> Row[Any]:
    run = find_run(connection, run_id)
    if run is None:
        raise RunNotFound(f"No run {run_id!r} is in the ledger; GET /runs lists the runs that are")
    return run


def _run_view(view: type[V], connection: Connection, row: Row[Any], **samples: Any) -> V:
    # Until the run is closed, only the counts of its scan are stored.
    running = row.status == RunStatus.RUNNING
    counts = read_counts(connection, row) if running else COUNTS.validate_python(row.counts_by_type)
    return _view(view, row, counts=total(counts), counts_by_type=counts, **samples)


def _digest(rows: Iterable[Row[Any]]) -> str:
    """Return the digest of a list of open alerts; a list with another digest is news for support."""
    listed = []
    for row in rows:
        region = row.account_region if row.reason == UNKNOWN_REGION else None
        # A new attempt that may have been delivered is news.
        run_id = row.run_id if row.status == OutcomeStatus.UNCONFIRMED else None
        listed.append((row.account_id, row.alert_type, row.status, row.reason, row.channel, region, run_id))
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _outcomes() -> Select[Any]:
    """Select the outcomes, with the account's name from the run that recorded each."""
    return select(OUTCOMES, RUN_ALERTS.c.account_name).outerjoin(RUN_ALERTS, _JOIN_ALERT)


def _with_resolutions(connection: Connection, rows: Sequence[Row[Any]]) -> list[OutcomeView]:
    resolutions: dict[tuple[Any, ...], list[ResolutionView]] = defaultdict(list)
    if rows:
        key = tuple_(RESOLUTIONS.c.month, RESOLUTIONS.c.account_id, RESOLUTIONS.c.alert_type)
        query = select(RESOLUTIONS).where(key.in_([_outcome_key(row) for row in rows]))
        for row in connection.execute(query.order_by(RESOLUTIONS.c.at)):
            resolutions[_outcome_key(row)].append(_view(ResolutionView, row))
    return [_view(OutcomeView, row, resolutions=resolutions[_outcome_key(row)]) for row in rows]


def _outcome_key(row: Row[Any]) -> tuple[date, str, str]:
    return row.month, row.account_id, row.alert_type
