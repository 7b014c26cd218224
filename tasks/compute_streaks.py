"""Months at risk, without a gap, up to the month; and with them the alerts."""

import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import DEFAULT_ALERT_TYPE, Alert, Assessment, Found, RunWarning, Scan, months_before
from core.runtime import Settings
from core.window import Window, month_before, passes_threshold

logger = logging.getLogger(__name__)


@task(name="compute_streaks", cache_policy=NO_CACHE, persist_result=False)
def compute_streaks(window: Window, winners: pa.Table, settings: Settings) -> Assessment:
    """Find the alerts of the window; see `assess`."""
    assessment = assess(window, winners, settings.arr_threshold)
    logger.info(
        "%d accounts at risk, %d below the threshold, %d alerts, %d duplicates",
        *assessment.scan.found[DEFAULT_ALERT_TYPE],
        len(assessment.alerts),
        assessment.scan.duplicates_found,
    )
    return assessment


def assess(window: Window, winners: pa.Table, arr_threshold: int) -> Assessment:
    """Decide which accounts alert, since when they are at risk, and what a person should know of the data.

    `winners` is what `winning_rows` made of the window's rows.
    """
    in_month = _of_month(winners, window.month)
    at_risk = in_month.filter(in_month["at_risk"])
    alerting = at_risk.filter(passes_threshold(at_risk["arr"], arr_threshold))
    durations, duplicates = _streaks(winners, alerting["account"], window.month)
    scan = Scan(
        rows_scanned=window.rows_scanned,
        duplicates_found=_beaten(in_month) + window.other_duplicates + duplicates,
        found={DEFAULT_ALERT_TYPE: Found(at_risk.num_rows, at_risk.num_rows - alerting.num_rows)},
    )
    alerts = sorted(_alerts(window, alerting, durations), key=lambda alert: alert.account_id)
    return Assessment(window.source_version, scan, tuple(_warnings(window, in_month)), tuple(alerts))


def _streaks(winners: pa.Table, alive: pa.ChunkedArray, month: date) -> tuple[dict[int, int], int]:
    """Months at risk up to `month` of each account in `alive`, and the duplicates met on the way there.

    Steps back month by month with the accounts whose streak still holds; the month that ends a streak,
    where it has rows, is still looked at.
    """
    durations: dict[int, int] = {}
    duplicates, length = 0, 1
    earlier = month_before(month)
    while len(alive):
        if earlier is None:
            durations.update(dict.fromkeys(alive.to_pylist(), length))
            break
        rows = _of_month(winners, earlier)
        rows = rows.filter(pc.is_in(rows["account"], value_set=alive))
        duplicates += _beaten(rows)
        holds = pc.is_in(alive, value_set=rows.filter(rows["at_risk"])["account"])
        durations.update(dict.fromkeys(alive.filter(pc.invert(holds)).to_pylist(), length))
        alive = alive.filter(holds)
        length += 1
        earlier = month_before(earlier)
    return durations, duplicates


def _alerts(window: Window, alerting: pa.Table, durations: dict[int, int]) -> Iterator[Alert]:
    found = pc.index_in(alerting["position"], value_set=window.details["position"])
    details = window.details.take(found)
    start = {months: months_before(window.month, months - 1) for months in set(durations.values())}
    for account, account_id, arr, name, region, renewal_date, owner in zip(
        alerting["account"].to_pylist(),
        window.accounts.take(alerting["account"]).to_pylist(),
        alerting["arr"].to_pylist(),
        details["account_name"].to_pylist(),
        details["account_region"].to_pylist(),
        _dates(details["renewal_date"]),
        details["account_owner"].to_pylist(),
        strict=True,
    ):
        yield Alert(
            account_id=account_id,
            # The column is required, but an alert must not be lost for a hole in it.
            account_name=name or account_id,
            account_region=region,
            arr=arr,
            renewal_date=renewal_date,
            account_owner=owner,
            duration_months=durations[account],
            risk_start_month=start[durations[account]],
            alert_type=DEFAULT_ALERT_TYPE,
        )


def _dates(days: pa.ChunkedArray) -> list[date | None]:
    """Make dates of days, ten times as fast as Arrow does."""
    epoch = date(1970, 1, 1).toordinal()
    return [
        None if number is None else date.fromordinal(epoch + number)
        for number in days.cast(pa.int32()).to_pylist()
    ]


def _warnings(window: Window, in_month: pa.Table) -> Iterator[RunWarning]:
    count = window.rows_without_account_id
    if not in_month.num_rows and not window.other_rows and not count:
        yield RunWarning("month_not_in_source", f"The source has no rows for {window.month}")
    if count:
        yield RunWarning(
            "rows_without_account_id",
            f"Rows of {window.month} without account_id, which can't be alerted: {count}",
            count,
        )
    if window.months_not_first_day:
        yield RunWarning(
            "months_not_first_day",
            f"Rows that count for no month, as theirs is not a first day: {window.months_not_first_day};"
            " write month as YYYY-MM-01, or set SOURCE_TIMEZONE to the time zone in which it is midnight",
            window.months_not_first_day,
        )


def _of_month(rows: pa.Table, month: date) -> pa.Table:
    return rows.filter(pc.equal(rows["month"], month))


def _beaten(rows: pa.Table) -> int:
    total: Any = pc.sum(rows["beaten"]).as_py()
    return int(total or 0)
