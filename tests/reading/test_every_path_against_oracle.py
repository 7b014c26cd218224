"""Each path through the reader gives the answer of the oracle."""

from dataclasses import replace
from datetime import date, timedelta
from operator import or_
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.sources.workers import Workers
from tests.reading.test_rules_against_oracle import alert_types, ask
from tests.reading.worlds import (
    ARR_TYPES,
    DATE_TYPES,
    EPOCH,
    IDS,
    MONTH,
    STATUSES,
    TEXT_TYPES,
    TIME_TYPES,
    Layout,
    Row,
    back,
    layouts,
    row,
    rows_of_a_world,
)

encodings = st.sampled_from(
    [
        {"use_dictionary": True},
        {"use_dictionary": False},
        # The string encoding of other writers in version 2 of the format: only the difference to the previous
        # value.
        *(
            {"use_dictionary": False, "column_encoding": dict.fromkeys(("account_id", "status"), delta)}
            for delta in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")
        ),
    ]
)
writings = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "gzip", "brotli", "lz4", "zstd"]),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "data_page_size": st.sampled_from([1, 2**20]),
        "write_page_checksum": st.booleans(),
        "write_page_index": st.booleans(),
        "version": st.sampled_from(["1.0", "2.4", "2.6"]),
        "use_deprecated_int96_timestamps": st.booleans(),
    }
)
PATHS: dict[str, list[Any]] = {
    "parquet.row_groups.BATCH_ROWS": [1, 2, 3, 5, 65_536],
    "parquet.row_groups.LOOK_UP_BATCH_ROWS": [1, 2, 3, 5, 262_144],
    "parquet.row_groups.DICTIONARY_ROWS": [1, 20_000],
    "parquet.footer.BATCH_BYTES": [1, 200, 2**26],
    "parquet.footer.DICTIONARY_READ_BYTES": [0, 2**24],
    "parquet.footer.REPETITIVE_BYTES": [0, 4, 2**20],
    "parquet.footer.FIRST_READ": [(8, 8), (2**13, 2**16)],
    "reader.NEXT_MONTH_LIKELY": [1, 100],
    "reader.HASH_TABLE_ROWS": [0, 65_536],
}
"""Limits of the reader: small ones split even a small source."""


def follow(patch: pytest.MonkeyPatch, path: dict[str, Any], requests: int) -> None:
    """Make the reader work with these limits, and with so many requests at once."""
    for name, value in path.items():
        patch.setattr(f"core.sources.{name}", value)
    patch.setattr("core.sources.reader.Workers", lambda _: Workers(requests))


@given(
    rows=rows_of_a_world,
    layout=layouts,
    writing=st.builds(or_, encodings, writings),
    path=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PATHS.items()}),
    requests=st.sampled_from([0, 8]),
    threshold=st.sampled_from([0, 10_000]),
    types=alert_types,
)
def test_every_reader_path_matches_the_oracle(
    rows: list[Row],
    layout: Layout,
    writing: dict[str, Any],
    path: dict[str, Any],
    requests: int,
    threshold: int,
    types: list[str],
) -> None:
    # Arrow cannot read such a file.
    assume("column_encoding" not in writing or not any(map(pa.types.is_dictionary, layout.types.values())))
    with pytest.MonkeyPatch.context() as patch:
        follow(patch, path, requests)
        found, expected = ask(rows, replace(layout, writing=writing), threshold, types)
    assert found == expected


@given(rows=rows_of_a_world, row_group_size=st.sampled_from([3, 1000]))
def test_kept_bytes_give_the_same_answer(rows: list[Row], row_group_size: int) -> None:
    """With `recovered`, three passes read the month before, each with other columns."""
    with pytest.MonkeyPatch.context() as patch:
        follow(patch, {}, 8)
        found, expected = ask(rows, Layout(row_group_size=row_group_size), types=["at_risk", "recovered"])
    assert found == expected


# The same worlds in each run: no path of the reader depends on the luck of a property test.

TIMES = [None, *(EPOCH + timedelta(seconds=second) for second in (-1, 0, 0, 0, 1))]
OTHER_MONTHS = [back(MONTH, 12), date(2026, 2, 1), date(2025, 12, 15), date(2025, 12, 31), date(2026, 1, 31)]


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
            "updated_at": random.choice(TIME_TYPES),
        },
        writing=writing,
    )


@pytest.mark.parametrize("seed", range(80))
def test_fixed_world_matches_the_oracle(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same world each time
    path = {name: random.choice(values) for name, values in PATHS.items()}
    follow(monkeypatch, path, random.choice([0, 8]))
    threshold = random.choice([0, 10_000])
    types = random.choice([["at_risk"], ["at_risk", "recovered"], ["recovered"]])
    found, expected = ask(rows_of(random), layout_of(random), threshold, types)
    assert found == expected
