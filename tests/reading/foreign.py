"""Write the same rows with DuckDB and Polars; `foreign/` has the files, because the tests install neither.

    python -m tests.reading.foreign

writes the files again. It needs the packages of `requirements/bench.txt`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow as pa

from tests.reading.worlds import EPOCH, MONTH, Row, back, row, table

FOLDER = Path(__file__).parent / "foreign"
"""The sources: each is a file or a folder."""
UPDATED = [
    None,
    *(EPOCH.replace(year=2026, day=day, microsecond=micros) for day in (3, 3, 9) for micros in (0, 1)),
]


def rows() -> list[Row]:
    """Return the rows in the order of the source: oldest month first, with streaks, ties and nulls."""
    random = Random(20_260_101)  # noqa: S311
    found = []
    for age in reversed(range(7)):
        for number in sorted(random.choices(range(45), k=60)):
            account = f"acct-{number:03}" if number % 9 else f"ä\u05d0\U0001f6a9{number}"
            at_risk = random.random() < (0.85 if number % 3 else 0.3)
            found.append(
                row(
                    account if random.random() < 0.97 else random.choice(["", None]),
                    back(MONTH, age),
                    "At Risk" if at_risk else random.choice(["Healthy", "at risk", None]),
                    account_name=random.choice([None, "Acme", f"Zoë {number}"]),
                    account_region=random.choice(["EMEA", "AMER", "LATAM", None]),
                    account_owner=random.choice([None, "Olga"]),
                    arr=random.choice([None, 9_999, 10_000, 5_000_000_000]),
                    updated_at=random.choice(UPDATED),
                )
            )
    return found


def by_duckdb(folder: Path, source: pa.Table) -> None:
    """Write a file with each option of DuckDB that changes the format."""
    import duckdb  # noqa: PLC0415  # the tests do not install it

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.register("source", source)
    ways = {
        "plain": ("*", "FORMAT parquet"),
        "v2-zstd": ("*", "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd"),
        "lz4": ("*", "FORMAT parquet, COMPRESSION lz4_raw, DICTIONARY_SIZE_LIMIT 1"),
        "types": (
            """* REPLACE (status::ENUM('At Risk', 'Healthy', 'at risk') AS status, arr::DOUBLE AS arr,
            updated_at::TIMESTAMPTZ AS updated_at, month::TIMESTAMP AS month)""",
            "FORMAT parquet, COMPRESSION gzip",
        ),
        "decimal": (
            "* REPLACE (arr::DECIMAL(18, 2) AS arr, updated_at::TIMESTAMP_NS AS updated_at)",
            "FORMAT parquet",
        ),
        "hive": ("*", "FORMAT parquet, PARTITION_BY (month)"),
    }
    for name, (columns, options) in ways.items():
        path = folder / (f"duckdb-{name}" if name == "hive" else f"duckdb-{name}.parquet")
        connection.execute(f"COPY (SELECT {columns} FROM source) TO '{path}' ({options})")  # noqa: S608


def by_polars(folder: Path, source: pa.Table) -> None:
    """Write a file with each option of Polars that changes the format."""
    import polars as pl  # noqa: PLC0415

    frame = pl.DataFrame(source)
    ways: dict[str, tuple[pl.DataFrame, dict[str, object]]] = {
        "plain": (frame, {}),
        "small-pages": (
            frame,
            {"compression": "snappy", "row_group_size": 64, "data_page_size": 200, "statistics": "full"},
        ),
        "no-statistics": (frame, {"compression": "lz4", "statistics": False, "row_group_size": 100}),
        "types": (
            frame.with_columns(
                pl.col("status", "account_region").cast(pl.Categorical),
                pl.col("updated_at").cast(pl.Datetime("ns", "UTC")),
                pl.col("arr").cast(pl.Float64),
            ),
            {"compression": "brotli"},
        ),
    }
    for name, (chosen, options) in ways.items():
        chosen.write_parquet(folder / f"polars-{name}.parquet", **options)
    frame.write_parquet(folder / "polars-hive", partition_by="month", mkdir=True)


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    writers: tuple[Callable[[Path, pa.Table], None], ...] = (by_duckdb, by_polars)
    for write in writers:
        write(FOLDER, table(rows()))


if __name__ == "__main__":
    main()
