"""Generated account rows ("worlds"), ways to write them, and a slow, simple oracle.

The oracle follows the contract over lists of dicts, and shares no code with the service.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

Row = dict[str, Any]

MONTH = date(2026, 1, 1)
STATUSES = ["At Risk", "At Risk", "At Risk", "Healthy", "at risk", "At Risk ", "Churned", None]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IDS = ["a1", "a2", "a3", "a4", "a5", "a1", "a2", "ä", "\U0001f6a9", "b\0", "b\ufffd", "a" * 70, "", None]

TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
DATE_TYPES = [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC")]
ARR_TYPES = [
    *(pa.int64(), pa.int32(), pa.float64(), pa.float32()),
    *(pa.decimal32(7, 0), pa.decimal128(12, 2), pa.decimal256(40, 2)),
]
TIME_TYPES = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")]


def back(month: date, count: int) -> date:
    for _ in range(count):
        month = (month - timedelta(days=1)).replace(day=1)
    return month


def row(
    account_id: str | None = "a1", month: date = MONTH, status: str | None = "At Risk", **others: Any
) -> Row:
    return {
        "account_id": account_id,
        "account_name": f"Name of {account_id}",
        "account_region": "EMEA",
        "month": month,
        "status": status,
        "renewal_date": date(2026, 6, 1),
        "account_owner": "Olga",
        "arr": 50_000,
        "updated_at": datetime(2026, 1, 5, 12, tzinfo=UTC),
    } | others


@dataclass(frozen=True)
class Answer:
    """The right answer for a world."""

    alerts: list[dict[str, Any]]
    found: int
    below_threshold: int
    duplicates: int
    nameless: int
    month_missing: bool
    not_first_days: range
    """The lowest and highest possible count of rows that are not on a first day; it depends on the layout."""


def oracle(rows: list[Row], month: date, threshold: int, types: Sequence[str] = ("at_risk",)) -> Answer:
    rows = [{name: _without_nul(value) for name, value in r.items()} for r in rows]
    by_key, winner = _winners(rows)
    duplicates = sum(len(found) - 1 for (_, m), found in by_key.items() if m == month)

    def is_at_risk(account: str, months_back: int) -> bool:
        r = winner.get((account, back(month, months_back)))
        return r is not None and r["status"] == "At Risk"

    found = []
    for account in sorted(a for a, m in winner if m == month):
        if "at_risk" in types and is_at_risk(account, 0):
            found.append((account, "at_risk", 0))
        if "recovered" in types and not is_at_risk(account, 0) and is_at_risk(account, 1):
            found.append((account, "recovered", 1))
    alerts = []
    for account, alert_type, newest in found:
        r = winner[account, month]
        if r["arr"] is not None and r["arr"] < threshold:
            continue
        oldest = newest
        while is_at_risk(account, oldest + 1):
            oldest += 1
        # The month that ended the streak counts too.
        for months_back in range(1, oldest + 2):
            duplicates += len(by_key.get((account, back(month, months_back)), [None])) - 1
        alerts.append(
            {
                "account_id": account,
                "account_name": r["account_name"] or account,
                "account_region": r["account_region"],
                "arr": r["arr"],
                "renewal_date": r["renewal_date"],
                "account_owner": r["account_owner"],
                "duration_months": oldest - newest + 1,
                "risk_start_month": back(month, oldest),
                "alert_type": alert_type,
                "channel": None,
            }
        )
    return Answer(
        alerts=alerts,
        found=len(found),
        below_threshold=len(found) - len(alerts),
        duplicates=duplicates,
        nameless=sum(1 for r in rows if not r["account_id"] and r["month"] == month),
        month_missing=not any(r["month"] == month for r in rows),
        not_first_days=_not_first_days(rows, month),
    )


def _without_nul(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _winners(rows: list[Row]) -> tuple[dict[tuple[str, date], list[Row]], dict[tuple[str, date], Row]]:
    named = [r for r in rows if r["account_id"]]
    by_key: dict[tuple[str, date], list[Row]] = {}
    for r in named:
        by_key.setdefault((r["account_id"], r["month"]), []).append(r)
    winner = {}
    for key, candidates in by_key.items():
        best = candidates[0]
        for r in candidates[1:]:
            if (r["updated_at"] or datetime.min.replace(tzinfo=UTC)) >= (
                best["updated_at"] or datetime.min.replace(tzinfo=UTC)
            ):
                best = r
        winner[key] = best
    return by_key, winner


def _not_first_days(rows: list[Row], month: date) -> range:
    others = [r["month"] for r in rows if r["month"].day != 1]
    near = [day for day in others if day.replace(day=1) == month or day + timedelta(days=1) == month]
    return range(len(near), len(others) + 1)


@dataclass(frozen=True)
class Layout:
    """How a world is written."""

    files: int = 1
    hive: bool = False
    row_group_size: int = 1000
    statistics: bool = True
    owner: bool = True
    types: dict[str, pa.DataType] = field(default_factory=dict)
    writing: dict[str, Any] = field(default_factory=dict)
    zone: str = "UTC"


TYPES: dict[str, pa.DataType] = {
    "account_id": pa.string(),
    "account_name": pa.string(),
    "account_region": pa.string(),
    "month": pa.date32(),
    "status": pa.string(),
    "renewal_date": pa.date32(),
    "account_owner": pa.string(),
    "arr": pa.int64(),
    "updated_at": pa.timestamp("us"),
}


def table(
    rows: list[Row], types: dict[str, pa.DataType] | None = None, zone: str = "UTC", *, int96: bool = False
) -> pa.Table:
    kinds = TYPES | (types or {})
    columns = {name: [r[name] for r in rows] for name in kinds}
    return pa.table({name: _column(columns[name], kind, zone, int96) for name, kind in kinds.items()})


def _column(values: list[Any], kind: pa.DataType, zone: str, int96: bool) -> pa.Array:  # noqa: FBT001
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    if pa.types.is_decimal(kind):
        return pa.array([None if v is None else Decimal(v) for v in values], kind)
    if pa.types.is_floating(kind):
        return pa.array([float("nan") if v is None else float(v) for v in values], kind)
    if pa.types.is_timestamp(kind):
        if values and all(v is None or type(v) is date for v in values):
            midnight = time(tzinfo=ZoneInfo(zone) if kind.tz or int96 else UTC)
            values = [None if v is None else datetime.combine(v, midnight) for v in values]
        per_second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[kind.unit]
        ticks = [
            None if v is None else (v - EPOCH) // timedelta(microseconds=1) * per_second // 10**6
            for v in values
        ]
        return pa.array(ticks, pa.int64()).cast(kind)
    return pa.array(values, kind)


def write(rows: list[Row], root: Path, layout: Layout) -> list[Row]:
    """Write the world into `root`; return its rows in the order of the source."""
    order: list[Row] = []
    for name, part in _parts(rows, layout):
        int96 = layout.writing.get("use_deprecated_int96_timestamps", False)
        columns = table(part, layout.types, layout.zone, int96=int96)
        if layout.hive:
            columns = columns.drop_columns("month")
        if not layout.owner:
            columns = columns.drop_columns("account_owner")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            columns,
            path,
            row_group_size=layout.row_group_size,
            write_statistics=layout.statistics,
            **layout.writing,
        )
        order.extend(part if layout.owner else [r | {"account_owner": None} for r in part])
    return order


def _parts(rows: list[Row], layout: Layout) -> Iterator[tuple[str, list[Row]]]:
    if layout.hive:
        for month in sorted({r["month"] for r in rows}):
            yield f"month={month}/part-0.parquet", [r for r in rows if r["month"] == month]
        return
    size = -(-len(rows) // layout.files) or 1
    for number in range(layout.files):
        yield f"part-{number}.parquet", rows[number * size : (number + 1) * size]


# Whole seconds fit every unit, and few distinct values make ties.
_times = st.none() | st.sampled_from([-1, 0, 1, 2, 1_700_000_000]).map(lambda s: EPOCH + timedelta(seconds=s))
_months = st.integers(0, 14).map(lambda n: back(MONTH, n)) | st.just(date(2026, 2, 1))
_days = st.sampled_from([date(2025, 12, 15), date(2025, 12, 31), date(2026, 1, 2), date(2026, 1, 31)])
_names = st.sampled_from(["Acme", "Zoë", "<!channel>", None]) | st.text(max_size=3)

# Either all kinds of rows, mostly one or two of each account …
_mixed = st.lists(
    st.builds(
        row,
        account_id=st.sampled_from(IDS),
        month=st.integers(0, 3).map(lambda n: back(MONTH, n)) | _months | _days,
        status=st.sampled_from(STATUSES),
        account_name=_names,
        account_region=st.sampled_from(["EMEA", "LATAM", "", None]),
        renewal_date=st.none() | st.just(date(2026, 6, 1)) | st.just(date(1700, 2, 28)),
        account_owner=st.sampled_from(["Olga", "", None]),
        arr=st.sampled_from([None, 0, 9_999, 10_000, 10_001, -5]),
        updated_at=_times,
    ),
    min_size=1,
    max_size=40,
)
# … or few accounts that are often at risk, which makes streaks and months with contradictory rows.
_dense = st.integers(12, 30).flatmap(
    lambda size: st.lists(
        st.builds(
            row,
            account_id=st.sampled_from(["a1", "a2", "a3"]),
            month=st.integers(0, 4).map(lambda n: back(MONTH, n)),
            status=st.sampled_from(["At Risk", "At Risk", "At Risk", "Healthy"]),
            updated_at=_times,
        ),
        min_size=size,
        max_size=size,
    )
)
rows_of_a_world = _mixed | _dense

layouts = st.builds(
    Layout,
    files=st.integers(1, 3),
    hive=st.booleans(),
    row_group_size=st.sampled_from([1, 2, 5, 1000]),
    statistics=st.booleans(),
    owner=st.booleans(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
    types=st.fixed_dictionaries(
        {
            **dict.fromkeys(("account_id", "status", "account_region"), st.sampled_from(TEXT_TYPES)),
            **dict.fromkeys(("month", "renewal_date"), st.sampled_from(DATE_TYPES)),
            "arr": st.sampled_from(ARR_TYPES),
            "updated_at": st.sampled_from(TIME_TYPES),
        }
    ),
)
alert_types = st.sampled_from([["at_risk"], ["at_risk", "recovered"], ["recovered"]])

EACH_RULE = [
    *(row("streak", back(MONTH, age)) for age in range(3)),
    *(row("streak", back(MONTH, 3), "Healthy") for _ in range(2)),
    *(row("other", status="Healthy") for _ in range(3)),
    *(row("twice", arr=arr) for arr in (1, None)),
    *(row("untimed", status=status, updated_at=at) for status, at in (("Healthy", EPOCH), ("At Risk", None))),
    *(row("tied", status=status) for status in ("At Risk", "Healthy")),
    *(row("edge", arr=arr) for arr in (9_999, 10_000)),
    *(row("well again", back(MONTH, age)) for age in (1, 1, 2)),
    row("well again", status="Healthy"),
    row("well but small", back(MONTH, 1)),
    row("well but small", status="Healthy", arr=9_999),
    row("gone", back(MONTH, 1)),
    row("below", arr=9_999),
    *(row(f"status {status}", status=status) for status in ("at risk", "AT RISK", "At Risk ", None)),
    row("nameless", account_name=None, account_region=None, renewal_date=None, account_owner=None),
    *(row(f"named {name!r}", account_name=name) for name in ("", "N")),
    row("nul \ufffd", account_name="N\0", account_region="\0", account_owner="\0O"),
    row("nul \0", back(MONTH, 1)),
    row(None),
    row(""),
]
"""Rows for which each rule matters."""
