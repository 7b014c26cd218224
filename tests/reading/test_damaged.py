"""Damaged files never end or block the process, nor give a wrong answer where a checksum covers them."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.domain import SourceInvalid
from tests.reading.fuzz import ALLOWED, rounds
from tests.reading.stages import read
from tests.reading.worlds import MONTH, back, row, table


def test_damaged_file_gives_an_answer_or_a_clear_error() -> None:
    outcomes = rounds(seed=1, numbers=range(60))
    assert outcomes.keys() <= set(ALLOWED)
    assert outcomes["source_invalid"] > 10


def with_shorter_statistics(path: Path, value: bytes, length: int) -> None:
    """Cut each month in the statistics that equals `value` to `length` bytes."""
    content = path.read_bytes()
    footer = content[-8 - int.from_bytes(content[-8:-4], "little") : -8]
    # The header of a binary field, its length, and the value.
    cut = footer.replace(b"\x04" + value, bytes([length]) + value[:length])
    assert cut != footer
    path.write_bytes(content[: -8 - len(footer)] + cut + len(cut).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize("length", [0, 3])
def test_short_statistics_do_not_end_the_process(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(table([row("a1"), row("a1", back(MONTH, 1))]), path)
    days = (MONTH - date(1970, 1, 1)).days
    with_shorter_statistics(path, days.to_bytes(4, "little"), length)
    with pytest.raises(SourceInvalid, match="statistics of month"):
        read(path)
