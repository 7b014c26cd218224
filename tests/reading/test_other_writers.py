"""Files of DuckDB and Polars, with several options each, give the same answer as files of Arrow."""

from pathlib import Path

import pytest

from tests.reading.foreign import FOLDER, rows
from tests.reading.stages import answer, assess
from tests.reading.worlds import MONTH, oracle


@pytest.mark.parametrize("threshold", [0, 10_000])
@pytest.mark.parametrize("source", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_files_of_other_writers_are_read_alike(source: Path, threshold: int) -> None:
    expected = oracle(rows(), MONTH, threshold)
    assert max(alert["duration_months"] for alert in expected.alerts) > 4
    assert expected.duplicates > 10
    assert answer(assess(source, arr_threshold=threshold), expected.not_first_days) == expected
