"""Ids of one length, decoded as values of a fixed width and looked up as such.

In Parquet's plain encoding a string is its length in four bytes and then its bytes. Where all ids of a row
group have one length, their pages are those of fixed-width values too, which Arrow decodes in two thirds of
the time and looks up in half (docs/performance.md). Each value then begins with its length, which shows
whether the guess was right.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import acero

from core.sources.parquet.footer import BYTE_ARRAY, MAGIC, RowGroup
from core.sources.parquet.ranges import Pieces
from core.sources.parquet.thrift import BINARY, LIST, STRUCT, struct_bytes

I32, I64 = 5, 6
FIXED_LEN_BYTE_ARRAY = 7
REQUIRED, OPTIONAL = 0, 1
LENGTH = 4
LONGEST = 64
"""Bytes of an id that may be looked up so."""
PLAIN_ENCODINGS = frozenset({0, 2, 3, 4, 8})
"""PLAIN and its dictionaries, and how levels are written; ids in any other are read as strings."""


class OtherLengthError(Exception):
    """An id has another length."""


def id_length(group: RowGroup) -> int | None:
    """Return the length in bytes that the ids of a row group seem to have, or None."""
    if len(group.parts) > 1:
        return None
    [chunk] = group.chunks("account_id")
    lengths = {len(value) for value in (chunk.least, chunk.greatest) if value is not None}
    is_plain = chunk.physical_type == BYTE_ARRAY and PLAIN_ENCODINGS.issuperset(chunk.encodings)
    return lengths.pop() if is_plain and len(lengths) == 1 and max(lengths) in range(1, LONGEST + 1) else None


def metadata(group: RowGroup, length: int, *, nullable: bool) -> pq.FileMetaData:
    """Write a footer that has the ids of this row group alone, as values of a fixed width."""
    [chunk] = group.chunks("account_id")
    start, end = chunk.range
    column = {
        1: (I32, FIXED_LEN_BYTE_ARRAY),
        2: (LIST, (I32, chunk.encodings)),
        3: (LIST, (BINARY, [b"id"])),
        4: (I32, chunk.codec),
        5: (I64, chunk.values),
        6: (I64, chunk.size),
        7: (I64, end - start),
        9: (I64, chunk.data_page),
    }
    if start < chunk.data_page:
        column[11] = (I64, start)
    root = {4: (BINARY, b"schema"), 5: (I32, 1)}
    leaf = {
        1: (I32, FIXED_LEN_BYTE_ARRAY),
        2: (I32, LENGTH + length),
        3: (I32, OPTIONAL if nullable else REQUIRED),
        4: (BINARY, b"id"),
    }
    chunks = [struct_bytes({2: (I64, start), 3: (STRUCT, struct_bytes(column))})]
    row_group = {1: (LIST, (STRUCT, chunks)), 2: (I64, chunk.size), 3: (I64, group.rows)}
    footer = struct_bytes(
        {
            1: (I32, 1),
            2: (LIST, (STRUCT, [struct_bytes(root), struct_bytes(leaf)])),
            3: (I64, group.rows),
            4: (LIST, (STRUCT, [struct_bytes(row_group)])),
        }
    )
    return pq.read_metadata(pa.BufferReader(MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC))


def fixed_ids(
    group: RowGroup, length: int, *, nullable: bool, pieces: Pieces, rows: int
) -> Iterator[pa.Array]:
    """Decode the ids of a row group, so many rows at a time, each id with its length in front.

    Raises `OtherLengthError`, or whatever Arrow makes of pages that hold ids of other lengths.
    """
    parquet = pq.ParquetFile(
        pieces, metadata=metadata(group, length, nullable=nullable), page_checksum_verification=True
    )
    for batch in parquet.iter_batches(rows, row_groups=[0], use_threads=False):
        ids = batch["id"]
        prefixed = pc.starts_with(ids.cast(pa.binary()), pattern=length.to_bytes(LENGTH, "little"))
        if not pc.all(prefixed).as_py():
            raise OtherLengthError
        yield ids


def table_of(accounts: pa.Array, length: int) -> pa.Table:
    """Make of `accounts` (large_string) what `look_up` takes: ids of this length, and the place of each."""
    places = pc.indices_nonzero(pc.equal(pc.binary_length(accounts), length))
    ids = accounts.take(places).cast(pa.large_binary())
    prefix, nothing = (
        pa.scalar(value, pa.large_binary()) for value in (length.to_bytes(LENGTH, "little"), b"")
    )
    prefixed = pc.binary_join_element_wise(prefix, ids, nothing).cast(pa.binary())
    return pa.table({"id": prefixed.cast(pa.binary(LENGTH + length)), "account": places.cast(pa.int32())})


def look_up(ids: pa.Array, accounts: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Find which rows of `ids` are ids of `accounts`, and the places of these, in no particular order."""
    rows = pa.table({"id": ids, "row": pa.arange(0, len(ids))})
    inputs = [
        acero.Declaration("table_source", acero.TableSourceNodeOptions(table)) for table in (rows, accounts)
    ]
    join = acero.HashJoinNodeOptions("inner", ["id"], ["id"], ["row"], ["account"])
    found = acero.Declaration("hashjoin", join, inputs=inputs).to_table(use_threads=False)
    return found["row"].combine_chunks(), found["account"].combine_chunks()
