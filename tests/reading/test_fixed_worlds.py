"""The same worlds in each run: no path of the reader depends on the luck of a property test."""

from datetime import date, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from core.sources.workers import Workers
from tests.reading.test_rules_against_oracle import ask
from tests.reading.worlds import EPOCH, MONTH, STATUSES, Layout, Row, back, row

TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
DATE_TYPES = [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC")]
ARR_TYPES = [
    *(pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.decimal128(12, 2), pa.decimal32(7, 0)),
]
TIMES = [None, *(EPOCH + timedelta(seconds=second) for second in (-1, 0, 0, 0, 1))]
IDS = ["a1", "a2", "a3", "a4", "a5", "a1", "a2", "ä", "\U0001f6a9", "b\0", "b\ufffd", "a" * 70, "", None]
OTHER_MONTHS = [back(MONTH, 12), date(2026, 2, 1), date(2025, 12, 15), date(2025, 12, 31), date(2026, 1, 31)]
PATHS = {
    "parquet.row_groups.BATCH_ROWS": [1, 2, 3, 5, 65_536],
    "parquet.row_groups.LOOK_UP_BATCH_ROWS": [1, 2, 3, 5, 262_144],
    "parquet.row_groups.DICTIONARY_ROWS": [1, 20_000],
    "parquet.row_groups.BATCH_BYTES": [1, 200, 2**26],
    "parquet.footer.DICTIONARY_READ_BYTES": [0, 2**24],
    "parquet.footer.REPETITIVE_BYTES": [0, 4, 2**20],
    "parquet.footer.FIRST_READ": [(8, 8), (2**13, 2**16)],
    "reader.NEXT_MONTH_LIKELY": [1, 100],
    "reader.HASH_TABLE_ROWS": [0, 65_536],
}
"""Limits of the reader: small ones split even a small source."""


def rows_of(random: Random) -> list[Row]:
    """Return rows with duplicates, ties, nulls and days that are not first; often of accounts at risk."""
    ids = random.choice([IDS, ["a1", "a2", "a3"], [f"a{number}" for number in range(9)]])
    statuses = random.choice([STATUSES, ["At Risk", "At Risk", "Healthy"]])
    months = [
        *(back(MONTH, age) for age in (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)),
        *random.choice([OTHER_MONTHS, []]),
    ]
    found = [
        row(
            random.choice(ids),
            random.choice(months),
            random.choice(statuses),
            account_name=random.choice(["Acme", "Zoë\0", None]),
            account_region=random.choice(["EMEA", "LATAM", "", None]),
            renewal_date=random.choice([None, date(2026, 6, 1), date(1700, 2, 28)]),
            arr=random.choice([None, -5, 9_999, 10_000, 10_001, 50_000]),
            updated_at=random.choice(TIMES),
        )
        for _ in range(random.choice([10, 30, 60]))
    ]
    # Many sources are sorted.
    key = random.choice([lambda one: one["month"], lambda one: one["account_id"] or "", lambda _: 0])
    return sorted(found, key=key)


def layout_of(random: Random) -> Layout:
    writing: dict[str, Any] = {
        "compression": random.choice(["none", "snappy", "zstd"]),
        "data_page_version": random.choice(["1.0", "2.0"]),
        "data_page_size": random.choice([1, 2**20]),
        "write_page_checksum": random.choice([True, False]),
        "use_dictionary": random.choice([True, False]),
        "use_deprecated_int96_timestamps": random.random() < 0.2,
    }
    texts = TEXT_TYPES
    if not writing["use_dictionary"]:
        encodings = random.choice([None, "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
        if encodings:
            writing["column_encoding"] = dict.fromkeys(("account_id", "status"), encodings)
            texts = TEXT_TYPES[:-1]  # Arrow cannot read such a dictionary.
    return Layout(
        files=random.choice([1, 2, 3]),
        hive=random.random() < 0.25,
        row_group_size=random.choice([1, 2, 5, 12, 1000]),
        statistics=random.random() < 0.75,
        owner=random.random() < 0.9,
        zone=random.choice(["UTC", "UTC", "Europe/Berlin", "America/New_York"]),
        types={
            **{name: random.choice(texts) for name in ("account_id", "status", "account_region")},
            **{name: random.choice(DATE_TYPES) for name in ("month", "renewal_date")},
            "arr": random.choice(ARR_TYPES),
            "updated_at": pa.timestamp(random.choice(["s", "ms", "us", "ns"]), random.choice([None, "UTC"])),
        },
        writing=writing,
    )


@pytest.mark.parametrize("seed", range(80))
def test_fixed_world_matches_the_oracle(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same world each time
    for name, values in PATHS.items():
        monkeypatch.setattr(f"core.sources.{name}", random.choice(values))
    requests = random.choice([0, 8])
    monkeypatch.setattr("core.sources.reader.Workers", lambda _: Workers(requests))
    threshold = random.choice([0, 10_000])
    types = random.choice([["at_risk"], ["at_risk", "recovered"], ["recovered"]])
    found, expected = ask(rows_of(random), layout_of(random), threshold, types)
    assert found == expected
