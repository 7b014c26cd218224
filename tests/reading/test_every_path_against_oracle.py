"""Each path through the reader gives the answer of the oracle."""

from dataclasses import replace
from operator import or_
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.reading.stages import found_and_expected, work_with
from tests.reading.worlds import EACH_RULE, Layout, Row, alert_types, layouts, rows_of_a_world

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
    "parquet.footer.REPETITIVE_BYTES": [13, 4, 2**20],  # 13: dictionaries of statuses, not of ids
    "parquet.footer.FIRST_READ": [(8, 8), (2**13, 2**16)],
    "reader.NEXT_MONTH_LIKELY": [1, 100],
    "reader.HASH_TABLE_ROWS": [0, 65_536],
}
"""Limits of the reader: small ones split even a small source."""


def follow(patch: pytest.MonkeyPatch, path: dict[str, Any], requests: int) -> None:
    """Make the reader work with these limits, and with so many requests at once."""
    for name, value in path.items():
        patch.setattr(f"core.sources.{name}", value)
    work_with(patch, requests)


@pytest.mark.parametrize("requests", [0, 8], ids=["local", "remote"])
@pytest.mark.parametrize("value", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("name", PATHS)
def test_each_limit_alone_matches_the_oracle(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, requests: int
) -> None:
    # Otherwise, only large row groups have dictionaries.
    follow(monkeypatch, {"parquet.row_groups.DICTIONARY_ROWS": 1, name: PATHS[name][value]}, requests)
    for layout in (Layout(row_group_size=7), Layout(files=2, row_group_size=5, statistics=False)):
        found, expected = found_and_expected(EACH_RULE, layout, types=["at_risk", "recovered"])
        assert found == expected


@pytest.mark.parametrize("requests", [0, 8], ids=["local", "remote"])
@given(
    rows=rows_of_a_world,
    layout=layouts,
    writing=st.builds(or_, encodings, writings),
    path=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PATHS.items()}),
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
        found, expected = found_and_expected(rows, replace(layout, writing=writing), threshold, types)
    assert found == expected
