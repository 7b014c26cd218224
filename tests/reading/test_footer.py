"""The facts of a footer decide which row groups are read, and how; they never change the answer."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.reading.stages import alerts_of, assess
from tests.reading.worlds import MONTH, back, row, table


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(1, id="the greatest, deprecated"),
        pytest.param(2, id="the least, deprecated"),
        pytest.param(5, id="the greatest"),
        pytest.param(6, id="the least"),
    ],
)
def test_one_bound_of_the_month_prunes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: int
) -> None:
    monkeypatch.setattr("core.sources.parquet.footer.TOGETHER_ROWS", 0)
    path = tmp_path / "data.parquet"
    pq.write_table(table([row(), row(month=back(MONTH, 1))]), path, row_group_size=1)
    content = path.read_bytes()
    for month in (MONTH, back(MONTH, 1)):
        value = b"\4" + (month - date(1970, 1, 1)).days.to_bytes(4, "little")
        # In Thrift's compact protocol: fields 1, 2, and 3 to 8 as the differences of their numbers.
        written = b"\x18" + value + b"\x18" + value + b"\x16\0"
        assert written in content
        # With 9 as a difference, the others have numbers that mean nothing.
        content = content.replace(written, bytes([field << 4 | 8]) + value + b"\x98" + value + b"\x16\0")
    path.write_bytes(content)
    (alert,) = alerts_of(assess(path))
    assert alert.duration_months == 2


def test_empty_row_group_is_left_out(tmp_path: Path) -> None:
    made = table([row("a1"), row("a2"), row("a3", status="Healthy"), row("a4")])
    with pq.ParquetWriter(tmp_path / "data.parquet", made.schema) as writer:
        for start, rows in ((0, 1), (1, 0), (1, 2), (3, 0), (3, 1)):
            writer.write_table(made.slice(start, rows))
    found = assess(tmp_path)
    assert [one.account_id for one in alerts_of(found)] == ["a1", "a2", "a4"]
    assert found.counts.rows_scanned == 4
