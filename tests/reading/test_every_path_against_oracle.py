from dataclasses import replace
from operator import or_
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.sources.workers import Workers
from tests.reading.test_rules_against_oracle import alert_types, ask
from tests.reading.worlds import Layout, Row, layouts, rows_of_a_world

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
paths = st.fixed_dictionaries(
    {
        "core.sources.parquet.row_groups.BATCH_ROWS": st.sampled_from([1, 2, 3, 5, 262_144]),
        "core.sources.parquet.row_groups.LOOK_UP_BATCH_ROWS": st.sampled_from([1, 2, 3, 5, 262_144]),
        "core.sources.parquet.row_groups.DICTIONARY_ROWS": st.sampled_from([1, 20_000]),
        "core.sources.parquet.row_groups.BATCH_BYTES": st.sampled_from([1, 2**26]),
        "core.sources.parquet.footer.DICTIONARY_READ_BYTES": st.sampled_from([0, 2**24]),
        "core.sources.parquet.footer.REPETITIVE_BYTES": st.sampled_from([0, 4, 2**20]),
        "core.sources.reader.NEXT_MONTH_LIKELY": st.sampled_from([1, 100]),
        "core.sources.reader.HASH_TABLE_ROWS": st.sampled_from([0, 65_536]),
    }
)


@given(
    rows=rows_of_a_world,
    layout=layouts,
    writing=st.builds(or_, encodings, writings),
    path=paths,
    requests=st.sampled_from([0, 8]),
    threshold=st.sampled_from([0, 10_000]),
    types=alert_types,
)
def test_every_reader_path_matches_the_oracle(
    rows: list[Row],
    layout: Layout,
    writing: dict[str, Any],
    path: dict[str, int],
    requests: int,
    threshold: int,
    types: list[str],
) -> None:
    # Arrow cannot read such a file.
    assume("column_encoding" not in writing or not any(map(pa.types.is_dictionary, layout.types.values())))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in path.items():
            patch.setattr(name, value)
        patch.setattr("core.sources.reader.Workers", lambda _: Workers(requests))
        found, expected = ask(rows, replace(layout, writing=writing), threshold, types)
    assert found == expected


@given(rows=rows_of_a_world, row_group_size=st.sampled_from([3, 1000]))
def test_kept_bytes_give_the_same_answer(rows: list[Row], row_group_size: int) -> None:
    """With `recovered`, three passes read the month before, each with other columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.sources.reader.Workers", lambda _: Workers(8))
        found, expected = ask(rows, Layout(row_group_size=row_group_size), types=["at_risk", "recovered"])
    assert found == expected
