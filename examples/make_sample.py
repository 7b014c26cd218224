"""Generate a monthly account status file with every edge case ("trap") of the data rules.

    python examples/make_sample.py --out .demo/monthly_account_status.parquet

The rows are the same each time. `TRAPS` lists the accounts that are edge cases, with the
expected result of the last month; generated ordinary customers fill up the file.
"""

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

MONTHS = 24
ACCOUNTS = 400
SEED = 2026
ROW_GROUP_ROWS = 2000

SCHEMA = pa.schema(
    [
        ("account_id", pa.string()),
        ("account_name", pa.string()),
        ("account_region", pa.string()),
        ("month", pa.date32()),
        ("status", pa.string()),
        ("renewal_date", pa.date32()),
        ("account_owner", pa.string()),
        ("arr", pa.int64()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)

STATUSES = {
    "H": "Healthy",
    "W": "Watch",
    "R": "At Risk",
    "r": "at risk",  # another spelling of `At Risk` is not at risk
}
NO_ROW = "."

Record = dict[str, Any]
"""A row of the file."""

ANY_ARR = -1
"""Stands for a random ARR well above the default threshold."""
ANYONE = "anyone"
"""Stands for a random owner."""

NAMES = """
    Ana Sousa, Ben Whitfield, Chidi Okafor, Dana Levy, Elif Kaya, Freya Lindqvist, Hiro Tanaka, Imani Njoroge,
    Jonas Weber, Lucía Ferrer, Mei-Ling Chua, Niamh O'Connor, Priya Raman, Tom Brandt
"""
OWNERS = tuple(name.strip() for name in NAMES.split(","))
REGIONS = ("AMER", "EMEA", "APAC")
REGION_WEIGHTS = (50, 30, 20)
FIRST_WORDS = """
    Alder Amber Atlas Beacon Birch Bluewater Bright Cardinal Cascade Cedar Cobalt Copper Crescent
    Delta Ember Falcon Fjord Granite Harbor Helios Highland Indigo Juniper Keystone Lakeside Lumen
    Marlin Meridian Nimbus Northgate Oakmont Onyx Orchard Pinnacle Quarry Redwood Riverbend Saffron
    Sierra Solstice Stonebridge Summit Tidewater Umbra Vantage Verdant Westfield Willow Zephyr
"""
SECOND_WORDS = """
    Analytics Apparel Aviation Biotech Brewing Capital Chemicals Clinics Components Dental
    Diagnostics Energy Farms Financial Foods Freight Gaming Glass Hospitality Insurance Instruments
    Labs Learning Logistics Materials Media Mobility Networks Optics Outfitters Packaging Pharma
    Power Printing Properties Publishing Robotics Security Semiconductors Shipping Software Steel
    Studios Telecom Textiles Travel
"""
COMPANIES = tuple(product(FIRST_WORDS.split(), SECOND_WORDS.split()))
LAST_WORDS = {
    "AMER": ("Inc.", "Corp.", "LLC", "Co.", "Group"),
    "EMEA": ("GmbH", "Ltd", "plc", "S.A.", "AB", "B.V."),
    "APAC": ("Pty Ltd", "K.K.", "Pte Ltd", "Holdings"),
}

# The probabilities of a customer's next status: mostly the same one.
TRANSITIONS = {
    "H": (("H", 957), ("W", 41), ("R", 2)),
    "W": (("W", 660), ("H", 280), ("R", 60)),
    "R": (("R", 740), ("W", 180), ("H", 80)),
}


class Row(NamedTuple):
    """A row of a month in which the account has several rows or an unusual one."""

    status: str
    hours: int | None = 0
    """Time after the usual `updated_at`; `None`: the row has no `updated_at`."""
    arr: int | None = None
    """Replaces the account's ARR in this row."""


@dataclass(frozen=True)
class Trap:
    """An account that is an edge case, and its expected result in the last month."""

    why: str
    account_id: str | None
    name: str
    history: str
    """Its last statuses, target month last, in the letters of `STATUSES`; `.` is a month without a row."""
    months: int | None
    """Months at risk in the last month; `None`: it is not at risk."""
    region: str | None = "AMER"
    arr: int | None = ANY_ARR
    owner: str | None = ANYONE
    renews: bool = True
    before: str = "H"
    """The status of each month before `history`."""


# The rows of such months, in file order, by account and months back.
ROWS: dict[str | None, dict[int, tuple[Row, ...]]] = {
    "ACC-90011": {0: (Row("H", 52), Row("R"))},
    "ACC-90012": {0: (Row("R", 30), Row("H"))},
    "ACC-90013": {1: (Row("R"), Row("H", 75))},
    "ACC-90014": {1: (Row("R", 41), Row("H"), Row("W", 12))},
    "ACC-90015": {0: (Row("H"), Row("R"))},
    "ACC-90016": {0: (Row("R"), Row("H"))},
    "ACC-90017": {0: (Row("R"), Row("R"))},
    "ACC-90018": {0: (Row("R"), Row("H", None))},
    "ACC-90019": {0: (Row("R", None),)},
    "ACC-90020": {0: (Row("R", 0, 8_000), Row("R", 20, 52_000))},
}

TRAPS = (
    # Streaks.
    Trap("the specification's example", "ACC-90001", "Northwind Robotics Inc.", "RRHR", 1),
    Trap("a missing month ends the streak", "ACC-90002", "Halcyon Freight GmbH", "RRR.RR", 2, region="EMEA"),
    Trap("a streak over the turn of a year", "ACC-90003", "Kestrel Foods plc", "HRRRRR", 5, region="EMEA"),
    Trap("a streak of over a year", "ACC-90004", "Baobab Telecom K.K.", "H" + "R" * 13, 13, region="APAC"),
    Trap(
        "at risk in every month",
        "ACC-90005",
        "Everglade Insurance Corp.",
        "R" * MONTHS,
        MONTHS,
        arr=1_250_000,
    ),
    Trap("a customer since this month only", "ACC-90006", "Fledgling Labs LLC", "R", 1, before=NO_ROW),
    Trap("at risk last month, healthy now", "ACC-90007", "Phoenix Textiles Co.", "RRRH", None),
    Trap("at risk last month, no row now", "ACC-90008", "Departed Media B.V.", "RRR.", None, region="EMEA"),
    Trap("a status in the wrong case is not At Risk", "ACC-90009", "Lowercase Studios Inc.", "RRr", None),
    Trap("a wrong case in the past ends the streak", "ACC-90010", "Mixedcase Optics Inc.", "RRrR", 1),
    # Duplicates: the latest updated_at wins, wherever it is in the file.
    Trap("a later row takes the risk back", "ACC-90011", "Corrected Energy Ltd", "RRR", None, region="EMEA"),
    Trap("a later row puts it at risk", "ACC-90012", "Escalated Pharma Ltd", "HHH", 1, region="EMEA"),
    Trap("a later past row ends it", "ACC-90013", "Hindsight Software Pte Ltd", "RRR", 1, region="APAC"),
    Trap("a later past row lengthens it", "ACC-90014", "Restated Steel K.K.", "HRHR", 3, region="APAC"),
    Trap("equal updated_at: the later row is at risk", "ACC-90015", "Photofinish Gaming Inc.", "HHH", 1),
    Trap("equal updated_at: the later row is healthy", "ACC-90016", "Deadheat Travel Inc.", "RRR", None),
    Trap("the very same row twice is one alert", "ACC-90017", "Echo & Echo Printing LLC", "HRR", 2),
    Trap("a null updated_at loses", "ACC-90018", "Undated Shipping AB", "WWRR", 2, region="EMEA"),
    Trap("a null updated_at in the only row", "ACC-90019", "Timeless Glass S.A.", "HR", 1, region="EMEA"),
    Trap(
        "the winning row's ARR", "ACC-90020", "Upsold Networks Pty Ltd", "HWR", 1, region="APAC", arr=52_000
    ),
    # Regions without a channel.
    Trap("a null region", "ACC-90021", "Nowhere Analytics Inc.", "HRR", 2, region=None, arr=210_000),
    Trap("an empty region", "ACC-90022", "Blank Slate Learning Co.", "HR", 1, region=""),
    Trap("a region that no channel is for", "ACC-90023", "Andes Minería S.A.", "HRRR", 3, region="LATAM"),
    Trap("a region in the wrong case", "ACC-90024", "Smallcaps Capital LLC", "HR", 1, region="amer"),
    # ARR, and what may be unknown.
    Trap("an unknown ARR alerts", "ACC-90025", "Opaque Holdings", "HRR", 2, region="APAC", arr=None),
    Trap("one dollar below the usual threshold", "ACC-90026", "Almost Clinics Inc.", "HRR", 2, arr=9_999),
    Trap("exactly the usual threshold", "ACC-90027", "Threshold Dental Inc.", "HR", 1, arr=10_000),
    Trap("no renewal date", "ACC-90028", "Evergreen Farms Ltd", "HR", 1, region="EMEA", renews=False),
    Trap("no owner", "ACC-90029", "Orphan Aviation Corp.", "HRR", 2, owner=None),
    # Text that may break a message, a link or a table.
    Trap("an account_id that a URL cannot hold as it is", "ACC/90030?v=1&x#ü %", "Slash/Query Labs", "HR", 1),
    Trap("a name with &, < and >", "ACC-90031", "Barnes & <Noble> Outfitters", "HR", 1),
    Trap("a name that would ping everyone", "ACC-90032", "<!channel> Labs Pty Ltd", "HR", 1, region="APAC"),
    Trap("an emoji in a name", "ACC-90033", "🦊 Firefox & Söhne GmbH", "HR", 1, region="EMEA"),
    Trap("a line break in a name", "ACC-90034", "Two Lines\nARR: $1 Ltd", "HRR", 2, region="EMEA"),
    Trap("Slack's markup in a name", "ACC-90035", "*Bold* _Brew_ ~Co~ `LLC`", "HR", 1),
    # Rows without an account, which cannot alert.
    Trap("no account_id, at risk", None, "Anonymous Freight Inc.", "R", None, before=NO_ROW),
    Trap("no account_id, healthy", None, "Unnamed Apparel Inc.", "HH", None, before=NO_ROW),
)


def write_sample(path: Path) -> None:
    """Write the sample to `path`, in month order, in row groups of a few thousand rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(sample_table(), path, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def sample_table() -> pa.Table:
    """Return the rows of the sample: those of `TRAPS`, and ordinary customers up to `ACCOUNTS` accounts."""
    rng = random.Random(SEED)  # noqa: S311  # the sample is the same each time on purpose
    calendar = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(1, MONTHS + 1)]
    by_month: dict[date, list[list[Record]]] = {month: [] for month in calendar}
    for trap in TRAPS:
        _add(by_month, _trap_rows(trap, calendar, rng))
    for account in _crowd(ACCOUNTS - len(TRAPS), rng):
        _add(by_month, _crowd_rows(account, calendar, rng))
    rows: list[Record] = []
    for groups in by_month.values():
        # Accounts are shuffled. The rows of one account stay together, because their order decides ties.
        rng.shuffle(groups)
        rows.extend(row for group in groups for row in group)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@dataclass(frozen=True)
class _Account:
    account_id: str | None
    name: str
    region: str | None
    arr: int | None
    owner: str | None
    renewal: date | None
    """One of its renewal dates; there is one each year."""


def _add(by_month: dict[date, list[list[Record]]], rows: Iterator[list[Record]]) -> None:
    for group in rows:
        by_month[group[0]["month"]].append(group)


def _trap_rows(trap: Trap, calendar: list[date], rng: random.Random) -> Iterator[list[Record]]:
    account = _Account(
        account_id=trap.account_id,
        name=trap.name,
        region=trap.region,
        arr=rng.randrange(18_000, 260_000) if trap.arr == ANY_ARR else trap.arr,
        owner=rng.choice(OWNERS) if trap.owner == ANYONE else trap.owner,
        renewal=_some_day(rng) if trap.renews else None,
    )
    letters = trap.before * (len(calendar) - len(trap.history)) + trap.history
    for back, (month, letter) in enumerate(zip(reversed(calendar), reversed(letters), strict=True)):
        usual = () if letter == NO_ROW else (Row(letter),)
        updated_at = _usual_update(month, rng)
        if rows := ROWS.get(trap.account_id, {}).get(back, usual):
            yield [_record(account, month, row, updated_at) for row in rows]


def _crowd(count: int, rng: random.Random) -> Iterator[_Account]:
    names = rng.sample(COMPANIES, count)
    for number, words in enumerate(names, start=1):
        region = rng.choices(REGIONS, REGION_WEIGHTS)[0]
        yield _Account(
            account_id=f"ACC-{10_000 + number * 7}",
            name=" ".join((*words, rng.choice(LAST_WORDS[region]))),
            region=region,
            arr=None if _one_in(100, rng) else round(rng.lognormvariate(math.log(42_000), 1.1)),
            owner=None if _one_in(25, rng) else rng.choice(OWNERS),
            renewal=None if _one_in(30, rng) else _some_day(rng),
        )


def _crowd_rows(account: _Account, calendar: list[date], rng: random.Random) -> Iterator[list[Record]]:
    # A third of the customers joined after the first month, and one in thirty left.
    joined = rng.randrange(len(calendar)) if _one_in(3, rng) else 0
    left = rng.randrange(joined, len(calendar)) + 1 if _one_in(30, rng) else len(calendar)
    letter = rng.choices("HWR", (88, 8, 4))[0]
    for month in calendar[joined:left]:
        letter = _next_letter(letter, rng)
        if _one_in(250, rng):
            continue  # a month that the export left out
        updated_at = _usual_update(month, rng)
        rows = [Row(letter)]
        if _one_in(50, rng):
            rows.insert(rng.randrange(2), Row(_next_letter(letter, rng), -rng.randrange(1, 200)))
        yield [_record(account, month, row, updated_at) for row in rows]


def _one_in(count: int, rng: random.Random) -> bool:
    return rng.randrange(count) == 0


def _next_letter(letter: str, rng: random.Random) -> str:
    choices = TRANSITIONS[letter]
    return rng.choices([name for name, _ in choices], [weight for _, weight in choices])[0]


def _record(account: _Account, month: date, row: Row, updated_at: datetime) -> Record:
    return {
        "account_id": account.account_id,
        "account_name": account.name,
        "account_region": account.region,
        "month": month,
        "status": STATUSES[row.status],
        "renewal_date": _next_renewal(account.renewal, month),
        "account_owner": account.owner,
        "arr": account.arr if row.arr is None else row.arr,
        "updated_at": None if row.hours is None else updated_at + timedelta(hours=row.hours),
    }


def _usual_update(month: date, rng: random.Random) -> datetime:
    """Return a time in the last week of the month."""
    start = datetime(month.year, month.month, 21, tzinfo=UTC)
    return start + timedelta(seconds=rng.randrange(7 * 86_400))


def _some_day(rng: random.Random) -> date:
    return date(2000, 1, 1) + timedelta(days=rng.randrange(365))


def _next_renewal(renewal: date | None, month: date) -> date | None:
    if renewal is None:
        return None
    # No renewal is on February 29, which most years do not have.
    this_year = renewal.replace(year=month.year, day=min(renewal.day, 28))
    return this_year if this_year >= month else this_year.replace(year=month.year + 1)


def main() -> None:
    """Write the sample to the file that the arguments name."""
    parser = argparse.ArgumentParser(description="Make a sample account status file with every edge case.")
    parser.add_argument("--out", type=Path, default=Path(".demo/monthly_account_status.parquet"))
    out = parser.parse_args().out
    write_sample(out)
    print(f"{out}: {pq.read_metadata(out).num_rows} rows, {MONTHS} months")


if __name__ == "__main__":
    main()
