"""The Arrow tables that the stages pass on, and the rules that several stages share."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from core.domain import months_before

INSTANT = pa.decimal128(30)
"""Nanoseconds since the epoch, UTC: any instant of a timestamp of any unit."""

ROWS = pa.schema(
    [
        ("account", pa.int32()),
        ("month", pa.date32()),
        ("at_risk", pa.bool_()),
        ("arr", pa.int64()),
        ("updated_at", INSTANT),
        ("position", pa.int64()),
    ]
)
"""Rows of the source.

`account` is the index of the id in `Window.accounts`. `arr` is filled in only for rows of the target month
that can be alerts. In earlier months, `updated_at` is null if all rows of that account and month agree on
`at_risk`, because then it does not matter which row wins. `position` is the order of the source: files in
name order, rows in file order.
"""

DETAILS = pa.schema(
    [
        ("position", pa.int64()),
        ("account_name", pa.large_string()),
        ("account_region", pa.large_string()),
        ("renewal_date", pa.date32()),
        ("account_owner", pa.large_string()),
    ]
)
"""Columns that only alerts need; `position` identifies the row."""

LONGEST_TEXT = 40_000
"""How many characters of a name, a region or an owner are kept: Slack accepts no longer message."""
LONGEST_ID = 2_500
"""The longest id in bytes: an entry of PostgreSQL's index takes at most 2,704 bytes for all its columns."""


@dataclass(frozen=True, slots=True)
class Need:
    """The rows that the alert rules need: of which accounts, and of which earlier months.

    The candidates are the accounts with an At Risk row in the month and, with `at_risk_before`, those with
    one in the month before. All their rows of the month are needed, and the details of those that pass
    `arr_threshold`. Candidates are followed back month by month as long as they are at risk: all of them for
    `look_back` months, and further back only those that pass.
    """

    arr_threshold: int
    at_risk_before: bool = False
    look_back: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The rows of a source on which the alerts of one month can depend.

    `accounts` (large_string, no two alike) are the candidates; see `Need`. `rows` (of `ROWS`) holds all their
    rows of the month, and of earlier months at least the rows that the alerts' streaks and duplicates need;
    `details` (of `DETAILS`) at least the rows of possible alerts.

    The rows of other accounts in the month cannot alert. They are only counted: all of them as `other_rows`,
    and those that lost to a row of the same account as `other_duplicates`. Rows without `account_id` are
    counted only as `rows_without_account_id`, for the month. `months_not_first_day` counts, among all
    `rows_scanned`, those whose month is not a first day. Rows that were read ahead and not needed are in
    neither: how many they are differs from machine to machine.
    """

    month: date
    accounts: pa.Array
    rows: pa.Table
    details: pa.Table
    source_version: str
    rows_scanned: int
    other_rows: int
    other_duplicates: int
    rows_without_account_id: int
    months_not_first_day: int


def concat(schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenate any number of tables of `schema`."""
    return pa.concat_tables([*tables] or [schema.empty_table()])


def prior_month(month: date) -> date | None:
    """Return the first day of the month before, or None before year 1."""
    return months_before(month, 1) if month > date.min else None


def may_hold(days: tuple[date, date] | None, month: date) -> bool:
    """Return whether rows with days in this range must be read for `month`; None means any days.

    Any day of the month counts, and the day before it: an export in another time zone has the month's rows
    there, and the warning `months_not_first_day` must count them.
    """
    if days is None:
        return True
    least, greatest = days
    reaches_month = month.toordinal() - 1 <= greatest.toordinal()
    return reaches_month and (least.year, least.month) <= (month.year, month.month)
