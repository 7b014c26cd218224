from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sources.parquet.ranges import WASTE, Pieces, coalesce

ranges = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300)).map(lambda r: (r[0], r[0] + r[1])))


def size(of: list[tuple[int, int]]) -> int:
    return len({byte for start, end in of for byte in range(start, end)})


@given(needed=ranges)
def test_requests_cover_the_needed_ranges_once(needed: list[tuple[int, int]]) -> None:
    asked = coalesce(needed)
    for start, end in needed:
        assert start == end or any(first <= start and end <= last for first, last in asked)
    assert all(before[1] < after[0] for before, after in pairwise(asked))
    most = size(needed) + WASTE * sum(end - start for start, end in needed)
    assert size(asked) == sum(end - start for start, end in asked) <= most


@pytest.mark.parametrize(
    ("needed", "asked"),
    [
        ([(0, 10), (10, 20)], [(0, 20)]),
        ([(0, 100), (104, 200), (215, 300)], [(0, 200), (215, 300)]),
        ([(0, 40), (43, 83), (86, 126), (129, 169)], [(0, 126), (129, 169)]),
        ([(220, 240), (200, 300), (0, 100)], [(0, 100), (200, 300)]),
        ([(0, 50), (50, 100), (110, 210)], [(0, 210)]),
        ([(0, 50), (40, 100), (111, 211)], [(0, 100), (111, 211)]),
        ([(5, 5)], []),
    ],
)
def test_small_gaps_are_read_and_large_ones_skipped(
    needed: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    assert coalesce(needed) == asked


def test_only_fetched_ranges_can_be_read() -> None:
    file = Pieces(100, [(10, b"abcd"), (50, pa.py_buffer(b"xy"))])
    assert (file.seek(50), file.seek(11), bytes(file.read(2))) == (50, 11, b"bc")
    assert file.tell() == 13
    assert (file.seek(-50, 2), bytes(file.read(2))) == (50, b"xy")
    for size, part in ((None, b"ab"), (-1, b"ab"), (0, b""), (1, b"a")):
        assert bytes(Pieces(2, [(0, b"ab")]).read(size)) == part
    for start, count in ((9, 2), (13, 2), (20, 1), (50, 3)):
        file.seek(start)
        with pytest.raises(EOFError, match=f"^bytes {start} to {start + count} lie outside"):
            file.read(count)


def test_bytes_are_read_without_a_copy() -> None:
    part = b"abcd"
    read = Pieces(4, [(0, part)]).read()
    assert read == part
    assert read.obj is part
