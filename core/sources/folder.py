"""The meaning of names in a folder: data files, files of their writer, partitions, logs of a table format."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from fnmatch import fnmatchcase
from urllib.parse import unquote

from core.domain import SourceInvalid, SourceNotFound
from core.sources.location import Location

NOT_DATA = ("_", ".")
"""First characters of the names of files that Spark and other writers keep for themselves."""
METADATA = "metadata"
"""A folder of this name is Iceberg's only if it has certain files, so it is listed."""

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4,12}){4}"
TABLE_FORMATS = (
    ("Delta Lake", re.compile(r"(?:^|/)_delta_log/")),
    ("Apache Hudi", re.compile(r"(?:^|/)\.hoodie(?:/|_partition_metadata)")),
    ("Apache Iceberg", re.compile(r"(?:^|/)metadata/[^/]+\.(?:metadata\.json(?:\.gz)?|avro)$")),
    # Only Iceberg gives data files such names. The folder may be the data/ of a table, without its metadata/.
    ("Apache Iceberg", re.compile(r"(?:^|/)\d{5}-\d+-" + _UUID + r"[\d-]*\.parquet$")),
    # Its metadata is in a database.
    ("DuckLake", re.compile(r"(?:^|/)ducklake-" + _UUID + r"(?:-delete)?\.parquet$")),
    ("Apache Paimon", re.compile(r"(?:^|/)snapshot/snapshot-\d+$")),
)

_MIDNIGHT = r"(?:[ T]00[:.-]?00(?:[:.-]?00(?:\.0+)?)?)?(?: ?(?:Z|UTC|[+-]00(?::?00)?))?"
_SEPARATED = re.compile(r"(\d{4})([-/_.])(\d\d?)(?:\2(\d\d?))?" + _MIDNIGHT)
_COMPACT = re.compile(r"(\d{4})()(\d\d)(\d\d)?" + _MIDNIGHT)


def data_names(location: Location, names: Sequence[str]) -> list[str]:
    """Return the data files among `names`, in order, without those of the partition of no month.

    `names` are relative to the folder of `location`; those of folders end in `/`. Raises `SourceInvalid` for
    a folder of a table format and `SourceNotFound` where no file is data.
    """
    for table_format, marker in TABLE_FORMATS:
        if found := next(filter(marker.search, names), None):
            raise SourceInvalid(
                f"{location.uri}: {table_format} table ({found}), whose folder may hold files that the table"
                " has removed: export the table's current state as Parquet, and use that export"
            )
    files = sorted(name for name in names if _is_data(name, location.pattern))
    parquet = [name for name in files if name.lower().endswith((".parquet", ".pq", ".parq"))]
    if kept := parquet or [name for name in files if "." not in name.rsplit("/", 1)[-1]]:
        return [name for name in kept if not _is_without_month(name)]
    where = f"directly in the folder matches {location.pattern}" if location.pattern else "is in this folder"
    raise SourceNotFound(
        f"{location.uri}: no Parquet file (*.parquet, *.pq, *.parq, or names without an extension) {where}:"
        " check source_uri"
    )


def delta_logs(path: str) -> Iterator[str]:
    """Yield the folders that would hold the log if `path` is a partition of a Delta table."""
    path = path.rstrip("/")
    while "=" in path.rpartition("/")[2]:
        path = path.rpartition("/")[0]
        yield f"{path}/_delta_log/"


def _is_data(name: str, pattern: str | None) -> bool:
    hidden = any(part.startswith(NOT_DATA) for part in name.split("/"))
    # Consoles and Hadoop write empty objects for folders; the folder of the source has an empty name here.
    if not name or hidden or name.endswith(("/", "_$folder$")):
        return False
    if pattern is None:
        return True
    return "/" not in name and fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def partition_month(path: str) -> date | None:
    """Return the month of the partition folders in `path`: `month=`, or `year=` and `month=`; None without.

    Raises `SourceInvalid` for a value that is no month.
    """
    values = _partition_values(path)
    if (text := values.get("month")) is None:
        return None
    if re.fullmatch(r"\d\d?", text):
        text = f"{values.get('year', '')}-{text}"
    if found := _SEPARATED.fullmatch(text) or _COMPACT.fullmatch(text):
        year, _, month, day = found.groups(default="1")
        with suppress(ValueError):
            return date(int(year), int(month), int(day))
    raise SourceInvalid(
        f"{path}: the partition names no month; name it month=YYYY-MM-01, or year=YYYY/month=MM below the"
        " folder of source_uri"
    )


def _is_without_month(path: str) -> bool:
    """Return whether `path` is in the partition of the rows whose month is null."""
    values = _partition_values(path)
    return "month" in values and "__HIVE_DEFAULT_PARTITION__" in {values["month"], values.get("year")}


def partition_of(path: str, column: str) -> str | None:
    """Return the folder of `path` that gives `column` a value (`account_region=EMEA`), or None."""
    folders = path.split("/")[:-1]
    return next((folder for folder in folders if folder.lower().startswith(f"{column}=")), None)


def _partition_values(path: str) -> dict[str, str]:
    folders = (folder.partition("=") for folder in path.split("/")[:-1])
    return {key.lower(): unquote(value) for key, equals, value in folders if equals}
