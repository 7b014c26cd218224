"""Count the months at risk without a gap, and find the alerts."""

import logging
from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task

from core.alerts import ALERTS, AlertRule, Assessment, passes_threshold, rules_named
from core.domain import MONTH_NOT_IN_SOURCE, RunWarning, count_found, months_before
from core.runtime import Settings
from core.sources import Window

logger = logging.getLogger(__name__)


@task
def compute_streaks(window: Window, winners: pa.Table, settings: Settings) -> Assessment:
    """Return the accounts that alert, with their streaks, and the warnings about the data.

    `winners` is the result of `dedupe` for the window's rows.
    """
    is_earlier = pc.less(winners["month"], window.month)
    history = winners.select(["account", "month", "at_risk", "superseded"]).filter(is_earlier)
    history = history.append_column("back", _months_back(history["month"], window.month))
    streaks = _streaks(history.filter(history["at_risk"]))
    in_month = winners.filter(pc.invert(is_earlier))
    in_month = in_month.append_column("months_at_risk_before", _months_at_risk(in_month["account"], streaks))
    passing = passes_threshold(in_month["arr"], settings.arr_threshold)

    chosen, alerts, found = [], [], {}
    for rule in rules_named(settings.alert_types):
        mask = rule.find(in_month)
        rows = in_month.filter(pc.and_(mask, passing))
        accounts = pc.sum(mask).as_py() or 0
        found[rule.type] = accounts, accounts - rows.num_rows
        logger.info("%s: %d accounts, %d below the threshold", rule.type, *found[rule.type])
        chosen.append(rows)
        alerts.append(_alerts(rule, window, rows))
    in_streaks = _rows_of_streaks(history, streaks, pa.concat_tables(chosen)["account"])
    duplicates = sum(pc.sum(rows["superseded"]).as_py() or 0 for rows in (in_month, in_streaks))
    counts = count_found(window.rows_scanned, duplicates + window.other_duplicates, found)
    in_order = pa.concat_tables(alerts).sort_by([("account_id", "ascending"), ("alert_type", "ascending")])
    warnings = tuple(_warnings(window, in_month))
    for warning in warnings:
        logger.warning("%s: %s", warning.code, warning.message)
    return Assessment(window.source_version, counts, warnings, in_order)


def _months_back(months: pa.ChunkedArray, month: date) -> pa.ChunkedArray:
    """Count the months from each of `months` (date32) to `month`."""
    numbers = pc.add(pc.multiply(pc.year(months), 12), pc.month(months))
    return pc.subtract(month.year * 12 + month.month, numbers)


def _streaks(at_risk: pa.Table) -> pa.Table:
    """Return for each `account` its number of `months` at risk without a gap, up to the month before.

    `at_risk` has the winning At Risk rows of earlier months; `back` counts months before the target month.
    """
    rows = at_risk.select(["account", "back"]).sort_by([("account", "ascending"), ("back", "ascending")])
    # Within a streak, `back` and the row number both grow by one per row, so their difference is constant.
    rows = rows.append_column("streak", pc.subtract(pa.arange(0, rows.num_rows), rows["back"]))
    streaks = rows.group_by(["account", "streak"]).aggregate([("back", "min"), ("back", "max")])
    newest = streaks.filter(pc.equal(streaks["back_min"], 1))
    return pa.table({"account": newest["account"], "months": newest["back_max"]})


def _months_at_risk(accounts: pa.ChunkedArray, streaks: pa.Table) -> pa.ChunkedArray:
    """Return the months of each account's streak; 0 for an account without one."""
    place = pc.index_in(accounts, value_set=streaks["account"])
    return pc.fill_null(streaks["months"].take(place), 0)


def _rows_of_streaks(history: pa.Table, streaks: pa.Table, accounts: pa.ChunkedArray) -> pa.Table:
    """Return the rows of `accounts`, back to the month that ended each streak."""
    rows = history.filter(pc.is_in(history["account"], value_set=accounts))
    return rows.filter(pc.less_equal(rows["back"], pc.add(_months_at_risk(rows["account"], streaks), 1)))


def _alerts(rule: AlertRule, window: Window, chosen: pa.Table) -> pa.Table:
    """Make the alerts (of `ALERTS`) of a rule from the winning rows that it chose."""
    details = window.details.take(pc.index_in(chosen["position"], value_set=window.details["position"]))
    account_id = window.accounts.take(chosen["account"])
    name = details["account_name"]
    # The column is required, but a missing value in it must not lose an alert.
    has_name = pc.fill_null(pc.greater(pc.binary_length(name), 0), fill_value=False)
    back = chosen["months_at_risk_before"]
    longest = pc.max(back).as_py() or 0
    starts = pa.array([months_before(window.month, number) for number in range(longest + 1)])
    columns = dict(zip(details.column_names, details.columns, strict=True)) | {
        "alert_type": pa.repeat(rule.type, chosen.num_rows),
        "account_id": account_id,
        "account_name": pc.if_else(has_name, name, account_id),
        "arr": chosen["arr"],
        "duration_months": pc.add(back, rule.anchor + 1),
        "risk_start_month": starts.take(back),
    }
    return pa.table([columns[field] for field in ALERTS.names], schema=ALERTS)


def _warnings(window: Window, in_month: pa.Table) -> Iterator[RunWarning]:
    count = window.rows_without_account_id
    if not in_month.num_rows and not window.other_rows and not count:
        yield RunWarning(MONTH_NOT_IN_SOURCE, f"No rows for {window.month} in the source: check the export")
    if count:
        message = f"Rows of {window.month} without account_id: {count}; they cannot alert: fix the export"
        yield RunWarning("rows_without_account_id", message, count)
    if number := window.months_not_first_day:
        message = (
            f"Rows whose month is not a first day are left out: {number};"
            " write month as YYYY-MM-01, or set SOURCE_TIMEZONE to the time zone in which month is midnight"
        )
        yield RunWarning("months_not_first_day", message, number)
