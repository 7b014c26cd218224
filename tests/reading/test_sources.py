"""What a source may look like: types, names, partitions, folders; and refusals, with what to do."""

import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.alerts import Assessment
from core.domain import RiskAlertsError, SourceForbidden, SourceInvalid, SourceNotAllowed, SourceNotFound
from core.runtime import Settings
from core.sources import open_uri
from core.sources.parquet.row_groups import DICTIONARY_ROWS
from tests.machine import as_somebody_else
from tests.reading.conftest import Place
from tests.reading.stages import alerts_of, assess, counts_of, put, replaced
from tests.reading.worlds import MONTH, back, row, table

BEFORE = back(MONTH, 1)


def find(source: Path | str, month: date = MONTH, **settings: Any) -> Assessment:
    return assess(source, month, arr_threshold=0, **settings)


def accounts(found: Assessment) -> list[str]:
    return found.alerts["account_id"].to_pylist()


def warnings(found: Assessment) -> dict[str, int | None]:
    return {warning.code: warning.count for warning in found.warnings}


@pytest.mark.parametrize("unit", ["us", "int96"])
def test_dates_beyond_2262_do_not_wrap_around(tmp_path: Path, unit: str) -> None:
    open_end, early = datetime(9999, 12, 31, 23, 59, 59, 999_999), datetime(1583, 1, 1)  # noqa: DTZ001
    kind = pa.timestamp("us")
    made = table([row("a1", status="Healthy"), row("a1"), row("a2")])
    renewals, times = ([open_end, open_end, early], [open_end, early, early])
    made = replaced(made, renewal_date=pa.array(renewals, kind), updated_at=pa.array(times, kind))
    pq.write_table(made, tmp_path / "x.parquet", use_deprecated_int96_timestamps=unit == "int96")
    [alert] = alerts_of(find(tmp_path))
    assert (alert.account_id, alert.renewal_date) == ("a2", early.date())


def instants(*values: datetime, zone: str = "UTC") -> pa.Array:
    return pa.array(values, pa.timestamp("us", zone))


LATE = datetime(2025, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize("utc", ["UTC", "Etc/UTC", "Z", "GMT", "+00:00"])
def test_source_timezone_makes_local_midnights_first_days(tmp_path: Path, utc: str) -> None:
    put(tmp_path / "x.parquet", row(), month=instants(LATE, zone=utc), renewal_date=instants(LATE, zone=utc))
    [alert] = alerts_of(find(tmp_path, source_timezone="Europe/Berlin"))
    assert alert.renewal_date == MONTH
    assert warnings(find(tmp_path)) == {"month_not_in_source": None, "months_not_first_day": 1}


@pytest.mark.parametrize(
    ("day", "read"),
    [
        (date(2026, 1, 31), 1),
        (date(2026, 1, 2), 1),
        (date(2025, 12, 31), 1),
        (date(2025, 12, 30), 0),
        (date(2026, 2, 2), 0),
    ],
)
@pytest.mark.parametrize("folder", ["", "month={}"])
def test_rows_not_on_the_first_day_cause_a_warning(tmp_path: Path, day: date, read: int, folder: str) -> None:
    put(tmp_path / folder.format(day) / "x.parquet", row(month=day))
    found = find(tmp_path)
    assert accounts(found) == []
    assert counts_of(found).rows_scanned == read
    assert warnings(found).get("months_not_first_day", 0) == read


def midnight(day: date, unit: str, zone: str | None = None) -> pa.Array:
    """Return the midnight of `day` in `zone`, or a local one."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone and ZoneInfo(zone))
    return pa.array([start], pa.timestamp(unit, zone))


BERLIN = "Europe/Berlin"
SCHEMAS: dict[str, tuple[Callable[[date], pa.Array], dict[str, Any]]] = {
    "day": (lambda day: pa.array([day]), {}),
    "nanoseconds": (lambda day: midnight(day, "ns"), {"store_schema": False}),
    "INT96": (
        lambda day: midnight(day, "us", BERLIN).cast(pa.timestamp("us")),
        {"store_schema": False, "use_deprecated_int96_timestamps": True},
    ),
    "UTC": (lambda day: midnight(day, "us", BERLIN).cast(pa.timestamp("us", "UTC")), {}),
    "own zone": (lambda day: midnight(day, "us", "Asia/Tokyo"), {}),
    "month=2025-12-01": (lambda _: pa.array([date(2020, 1, 1)]), {}),
}


@pytest.mark.parametrize("second", [name for name in SCHEMAS if "=" not in name])
@pytest.mark.parametrize("first", SCHEMAS)
def test_each_file_may_have_its_own_schema(tmp_path: Path, first: str, second: str) -> None:
    for day, name in ((BEFORE, first), (MONTH, second)):
        of_day, options = SCHEMAS[name]
        path = tmp_path / (name if "=" in name else "") / f"{day}.parquet"
        path.parent.mkdir(exist_ok=True)
        made = replaced(table([row()]), month=of_day(day))
        # Arrow's schema of INT96 is that of nanoseconds.
        times = made["updated_at"].cast(pa.timestamp("ns"))
        pq.write_table(replaced(made, updated_at=times), path, **options)
    assert alerts_of(find(tmp_path, source_timezone=BERLIN))[0].duration_months == 2


def test_nested_column_is_not_taken_for_that_of_another_file(tmp_path: Path) -> None:
    """Arrow says that the two Parquet schemas are equal."""
    made = table([row()])
    region = made["account_region"].combine_chunks()
    inside = pa.StructArray.from_arrays([region], fields=[pa.field("account_region", region.type)])
    index = made.column_names.index("account_region")
    nested = made.set_column(index, pa.field("more", inside.type, nullable=False), inside)
    pq.write_table(made, tmp_path / "a.parquet", store_schema=False)
    pq.write_table(nested, tmp_path / "b.parquet", store_schema=False)
    with pytest.raises(SourceInvalid, match="column account_region is missing"):
        find(tmp_path)


def test_any_column_may_hold_categories(tmp_path: Path) -> None:
    made = replaced(table([row()]), month=instants(LATE))
    categories = {name: made[name].dictionary_encode() for name in made.column_names}
    pq.write_table(pa.table(categories), tmp_path / "x.parquet")
    [alert] = alerts_of(find(tmp_path, source_timezone="Europe/Berlin"))
    assert (alert.account_id, alert.arr) == ("a1", 50_000)


@pytest.mark.parametrize("name", ["account_id", "account_name", "status"])
def test_string_may_be_annotated_as_json(tmp_path: Path, name: str) -> None:
    values = table([row()])[name].combine_chunks()
    put(tmp_path / "x.parquet", row(), **{name: pa.ExtensionArray.from_storage(pa.json_(), values)})
    [alert] = alerts_of(find(tmp_path))
    assert (alert.account_id, alert.account_name) == ("a1", "Name of a1")


@pytest.mark.parametrize(
    "kind",
    [
        pa.null(),
        pa.float64(),
        pa.bool_(),
        pa.binary(),
        pa.list_(pa.int32()),
        pa.struct([("a", pa.int8())]),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["account_region", "account_owner", "renewal_date", "arr", "updated_at"])
def test_column_without_values_may_have_any_type(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    put(tmp_path / "x.parquet", row(), row("a2"), **{name: pa.nulls(2, kind)})
    [first, second] = alerts_of(find(tmp_path))
    assert getattr(first, name, None) is getattr(second, name, None) is None


@pytest.mark.parametrize("kind", [pa.null(), pa.int32()], ids=str)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("account_id", {"rows_without_account_id": 1}),
        ("status", {}),
        ("month", {"month_not_in_source": None}),
    ],
)
def test_keys_without_values_alert_nobody(
    tmp_path: Path, name: str, expected: dict[str, int | None], kind: pa.DataType
) -> None:
    put(tmp_path / "x.parquet", row(), **{name: pa.nulls(1, kind)})
    found = find(tmp_path)
    assert (accounts(found), warnings(found)) == ([], expected)


def test_nested_column_of_many_rows_may_be_empty(tmp_path: Path) -> None:
    """So many rows are decoded as a dictionary where strings repeat."""
    rows = DICTIONARY_ROWS
    made = table([row()]).take(pa.array([0] * rows))
    made = replaced(made, account_owner=pa.nulls(rows, pa.list_(pa.string())))
    pq.write_table(made, tmp_path / "x.parquet")
    assert accounts(find(tmp_path)) == ["a1"]


def test_empty_file_may_have_any_types(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet")
    empty = pa.table({name: pa.nulls(0, pa.float64()) for name in table([row()]).column_names})
    pq.write_table(empty, tmp_path / "b.parquet")
    assert accounts(find(tmp_path)) == ["a1"]


@pytest.mark.parametrize("statistics", [True, False])
def test_one_value_of_a_wrong_type_is_refused(tmp_path: Path, *, statistics: bool) -> None:
    rows = [row(status="Healthy"), *(row(month=back(MONTH, 24)) for _ in range(3))]
    made = replaced(table(rows), account_owner=pa.array([None, None, None, 1.5]))
    pq.write_table(made, tmp_path / "x.parquet", row_group_size=1, write_statistics=statistics)
    with pytest.raises(SourceInvalid, match=r"x\.parquet: column account_owner must be a string.*double"):
        find(tmp_path)


@pytest.mark.parametrize(
    "spell", [str.upper, str.title, "\ufeff{}".format, "  {}\t".format, "\ufeff {} ".format]
)
def test_column_names_ignore_case_blanks_and_bom(tmp_path: Path, spell: Any) -> None:
    made = table([row()])
    pq.write_table(made.rename_columns([spell(name) for name in made.column_names]), tmp_path / "x.parquet")
    [alert] = alerts_of(find(tmp_path))
    assert (alert.account_owner, alert.arr) == ("Olga", 50_000)


def test_exact_column_name_wins(tmp_path: Path) -> None:
    made = table([row()]).append_column("STATUS", pa.array([7])).append_column(" status", pa.array(["x"]))
    pq.write_table(made, tmp_path / "x.parquet")
    assert accounts(find(tmp_path)) == ["a1"]


@pytest.mark.parametrize("names", [("STATUS", "Status "), ("status", "status")])
def test_ambiguous_columns_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    made = table([row()]).drop_columns("status")
    for name in names:
        made = made.append_column(name, pa.array(["At Risk"]))
    pq.write_table(made, tmp_path / "x.parquet")
    with pytest.raises(SourceInvalid, match=r"2 columns may be status: .*keep one"):
        find(tmp_path)


@pytest.mark.parametrize(
    "columns",
    [
        [pa.array(["2026-01"])],
        [pa.array([202601], pa.int32())],
        [pa.array([["2026-01"]])],
        [pa.array([BEFORE])],
        [pa.array([MONTH]), pa.array([1])],
    ],
)
def test_month_column_in_a_partition_is_ignored(tmp_path: Path, columns: list[pa.Array]) -> None:
    made = table([row()]).drop_columns("month")
    for column in columns:
        made = made.append_column("month", column)
    path = tmp_path / "month=2026-01-01" / "x.parquet"
    path.parent.mkdir()
    pq.write_table(made, path)
    assert accounts(find(tmp_path)) == ["a1"]


DAYS = ["2026-01-01", "2026-01", "2026-1-1", "20260101", "202601", "2026%2F01%2F01", "2026_01"]
MIDNIGHTS = [
    *("", " 00:00:00", " 00%3A00%3A00", "T00:00:00.000000"),
    *("T00:00:00Z", "T00:00:00.000+0000", " 00:00:00 UTC", " 00:00:00+00:00"),
    " 00%3A00%3A00%2B00",
]


@pytest.mark.parametrize(
    "folder",
    [
        *(f"month={day}{midnight}" for day in DAYS for midnight in MIDNIGHTS),
        "MONTH=2026-01-01",
        "account_owner=Olga/month=2026-01-01",
        "month=2026-01-01/account_owner=Olga",
        "year=2026/month=01",
        "year=2026/month=1",
        "Year=2026/Month=01/day=01",
        "year=2026/region=EMEA/month=01",
        "year=2020/month=2026-01-01",
    ],
)
def test_partition_month_has_any_usual_spelling(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder / "x.parquet", row(), without="month")
    put(tmp_path / folder.replace("2026", "2025") / "x.parquet", row("a2"), without="month")
    assert accounts(find(tmp_path)) == ["a1"]


@pytest.mark.parametrize(
    "folder",
    [
        "month=",
        "month=soon",
        "month=01",
        "year=26/month=01",
        "year=2026/month=13",
        "month=2026-02-31",
        "month=2026-01-01 23:00:00",
        "month=20260",
    ],
)
def test_partition_that_is_no_month_is_refused(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder / "x.parquet", row(), without="month")
    with pytest.raises(SourceInvalid) as caught:
        find(tmp_path)
    path = f"{folder}/x.parquet"
    assert str(caught.value).startswith(f"{path}: the partition names no month; name it month=YYYY-MM-01")


@pytest.mark.parametrize("folder", ["month={}", "year=2026/month={}", "year={}/month=01"])
def test_rows_without_a_month_are_left_out(tmp_path: Path, folder: str) -> None:
    put(tmp_path / "month=2026-01-01" / "x.parquet", row(), without="month")
    put(tmp_path / folder.format("__HIVE_DEFAULT_PARTITION__") / "x.parquet", row("a2"), without="month")
    assert accounts(find(tmp_path)) == ["a1"]


def test_source_without_any_month_has_no_rows_of_it(tmp_path: Path) -> None:
    put(tmp_path / "month=__HIVE_DEFAULT_PARTITION__" / "x.parquet", row(), without="month")
    assert warnings(find(tmp_path)) == {"month_not_in_source": None}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("account_region=EMEA", "account_region"),
        ("Status=At Risk", "status"),
        ("account_owner=O", "account_owner"),
    ],
)
def test_column_only_in_a_partition_is_refused(tmp_path: Path, folder: str, name: str) -> None:
    put(tmp_path / folder / "x.parquet", row(), without=name)
    with pytest.raises(SourceInvalid) as caught:
        find(tmp_path)
    assert f"column {name} is missing: its value is a partition of the folder ({folder})" in str(caught.value)
    assert f"write {name} into the files" in str(caught.value)


@pytest.mark.parametrize("name", ["month=soon.parquet", "month/x.parquet"])
def test_only_a_folder_with_a_value_is_a_partition(tmp_path: Path, name: str) -> None:
    put(tmp_path / name)
    assert accounts(find(tmp_path)) == ["a1"]


def test_file_name_gives_no_value(tmp_path: Path) -> None:
    put(tmp_path / "status=x.parquet", without="status")
    with pytest.raises(SourceInvalid, match="column status is missing: add it to the export"):
        find(tmp_path)


def test_partition_as_source_suggests_the_parent_folder(tmp_path: Path) -> None:
    path = put(tmp_path / "month=2026-01-01" / "x.parquet", row(), without="month")
    for source in (path, path.parent, f"{path.parent.as_uri()}/*.parquet"):
        with pytest.raises(
            SourceInvalid, match=r"column month is missing.*the folder above month=2026-01-01"
        ):
            find(source)


def test_refusal_of_a_local_source_has_advice(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "text.parquet").write_text("no Parquet file")
    (allowed / "link.parquet").symlink_to(tmp_path / "text.parquet")
    (tmp_path / "loop.parquet").symlink_to("loop.parquet")
    os.mkfifo(tmp_path / "pipe.parquet")
    for path, what_to_do in (
        (tmp_path / "nowhere", "check source_uri"),
        (tmp_path / "text.parquet", "export the file again"),
        (tmp_path / "loop.parquet", "check the disk or the mount"),
        (tmp_path / "pipe.parquet", "name a Parquet file"),
        (allowed, "copy the file"),
        (tmp_path / "other", "name another source"),
    ):
        only = [allowed.as_uri()] if path in {allowed, tmp_path / "other"} else None
        with pytest.raises(RiskAlertsError, match=f"{path.name}.*: .*{what_to_do}"):
            find(path, allowed_sources=only)


MARKERS = [
    ("_delta_log/00000000000000000000.json", "Delta Lake"),
    ("sub/_delta_log/00000000000000000000.json", "Delta Lake"),
    (".hoodie/hoodie.properties", "Apache Hudi"),
    ("EMEA/.hoodie_partition_metadata", "Apache Hudi"),
    ("metadata/v1.metadata.json", "Apache Iceberg"),
    ("metadata/snap-1-2.avro", "Apache Iceberg"),
    ("month=1/00000-7-0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c-00001.parquet", "Apache Iceberg"),
    ("00000-0-0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c.parquet", "Apache Iceberg"),
    ("snapshot/snapshot-1", "Apache Paimon"),
    ("region=EMEA/ducklake-0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c.parquet", "DuckLake"),
    ("ducklake-0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c-delete.parquet", "DuckLake"),
]


@pytest.mark.parametrize(("marker", "table_format"), MARKERS)
def test_folder_of_a_table_format_is_refused(place: Place, marker: str, table_format: str) -> None:
    place.put("table/data/month=2026-01-01/part-0.parquet")
    place.put(f"table/{marker}")
    with pytest.raises(SourceInvalid, match="export the table's current state") as caught:
        place.open("table")
    shown = f"{place.uri('table')}: {table_format} table ({marker.partition('/')[0]}"
    assert str(caught.value).startswith(shown)


@pytest.mark.parametrize(("marker", "table_format"), [MARKERS[0], MARKERS[2], *MARKERS[4:6]])
def test_only_a_named_file_of_a_table_is_read(place: Place, marker: str, table_format: str) -> None:
    """A table that was Hive's before it was Iceberg's has its data files in the folder itself."""
    place.put("part-0.parquet")
    place.put(marker)
    with pytest.raises(SourceInvalid, match=table_format):
        place.open("part-*.parquet")
    assert place.names("part-0.parquet") == ["part-0.parquet"]


@pytest.mark.parametrize("source", ["batch=7", "batch=7/", "batch=7/region=EMEA", "batch=7/region=EMEA/*"])
def test_partition_of_a_delta_table_is_refused(place: Place, source: str) -> None:
    place.put("batch=7/region=EMEA/part-0.parquet")
    assert len(place.names(source)) == 1
    place.put("_delta_log/00000000000000000000.json")
    with pytest.raises(SourceInvalid, match="Delta Lake"):
        place.open(source)


def test_folder_lists_data_files_in_name_order(place: Place) -> None:
    for name in (
        "b.parquet",
        "a/z.pq",
        "a/c.PARQ",
        # As Spark and Iceberg name files and folders, although this is no table.
        "metadata/x.parquet",
        "part-00000-0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c-c000.snappy.parquet",
        *("_tmp/x.parquet", ".x/y.parquet", "a/_z.parquet", "n.txt", "no_extension"),
    ):
        place.put(f"source/{name}")
    assert place.names("source") == [
        "a/c.PARQ",
        "a/z.pq",
        "b.parquet",
        "metadata/x.parquet",
        "part-00000-0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c-c000.snappy.parquet",
    ]


def test_files_without_extension_are_data_without_parquet(place: Place) -> None:
    for name in ("s-1", "v1.0/month=2026-01-01/000000_0"):
        place.put(f"source/{name}")
    for note in ("_SUCCESS", ".part", "notes.txt", "month=2026-01-01_$folder$", "x.manifest"):
        place.put(f"source/{note}", b"")
    assert place.names("source") == ["s-1", "v1.0/month=2026-01-01/000000_0"]
    assert place.names("source/s-*") == ["s-1"]
    place.put("source/x.PARQUET")
    assert place.names("source") == ["x.PARQUET"]


@pytest.mark.parametrize(
    ("uri", "why"), [("", "is in this folder"), ("/", "is in this folder"), ("/*", r"directly .* matches \*")]
)
def test_folder_without_data_is_not_found(place: Place, uri: str, why: str) -> None:
    """The consoles of both clouds create an empty object for a new folder."""
    place.put("made/", b"")
    with pytest.raises(SourceNotFound, match=rf"made{re.escape(uri)}: no Parquet file .* {why}: check"):
        place.open(f"made{uri}")
    place.put("made/000000_0")
    assert place.names(f"made{uri}") == ["000000_0"]


@pytest.mark.parametrize(
    ("pattern", "selected"),
    [
        ("a-*", ["a-1.parquet", "a-2.parquet"]),
        ("*", ["?-1.parquet", "a-1.parquet", "a-2.parquet", "b-1.parquet"]),
        ("*-1.pa*", ["?-1.parquet", "a-1.parquet", "b-1.parquet"]),
        ("A-[1]*", ["A-[1]"]),
    ],
)
def test_star_in_the_last_segment_selects_files(place: Place, pattern: str, selected: list[str]) -> None:
    for name in ("a-1.parquet", "a-2.parquet", "b-1.parquet", "?-1.parquet", "A-[1]"):
        place.put(name)
    for name in ("a-3.txt", "_a-4.parquet", "a-5.d/x.parquet", "metadata/a-6.parquet"):
        place.put(name)
    assert place.names(pattern) == selected


@pytest.mark.parametrize("uri", ["{}", "{}/*"])
def test_metadata_folder_must_be_readable(tmp_path: Path, uri: str) -> None:
    """It shows whether the folder is a table of Iceberg."""
    put(tmp_path / "source" / "x.parquet")
    closed = tmp_path / "source" / "metadata"
    closed.mkdir(mode=0)
    inside = (tmp_path / "source").as_uri()
    with as_somebody_else(tmp_path), pytest.raises(SourceForbidden):
        find(uri.format(inside))
    closed.rmdir()
    closed.symlink_to(tmp_path)
    with pytest.raises(SourceNotAllowed):
        find(uri.format(inside), allowed_sources=[inside])


@pytest.mark.parametrize(("uri", "links"), [("{}", ("_a", "_b")), ("{}/*", ("a", "b"))])
def test_folder_without_data_is_not_entered(tmp_path: Path, uri: str, links: tuple[str, ...]) -> None:
    put(tmp_path / "source" / "x.parquet")
    (tmp_path / "closed").mkdir(mode=0)
    for name in links:
        (tmp_path / "source" / name).symlink_to(tmp_path / "closed")
    inside = (tmp_path / "source").as_uri()
    with as_somebody_else(tmp_path):
        found = open_uri(uri.format(inside), Settings(allowed_sources=[inside])).files
    assert [file.path for file in found] == ["x.parquet"]


def test_linked_folder_is_read_once(tmp_path: Path) -> None:
    """A link back to a parent folder would never end."""
    put(tmp_path / "source" / "x.parquet")
    put(tmp_path / "elsewhere" / "x.parquet", row("a2"))
    for name, target in (("a", "elsewhere"), ("b", "elsewhere"), ("loop", "source")):
        (tmp_path / "source" / name).symlink_to(tmp_path / target)
    (tmp_path / "link").symlink_to(tmp_path / "source")
    found = find(tmp_path / "link")
    assert (accounts(found), counts_of(found).rows_scanned) == (["a1", "a2"], 2)


@pytest.mark.parametrize(("pattern", "selected"), [("x%2A.parquet", "x*"), ("%3F*", "?x"), ("%61*", "a")])
def test_local_uri_may_encode_a_name(tmp_path: Path, pattern: str, selected: str) -> None:
    for name in ("x*", "?x", "a", "b"):
        put(tmp_path / "*" / f"{name}.parquet", row(name))
    assert accounts(find(f"{tmp_path.as_uri()}/%2A/{pattern}")) == [selected]


def test_star_stays_in_the_allowed_sources(tmp_path: Path) -> None:
    put(tmp_path / "in" / "x.parquet")
    put(tmp_path / "in-too" / "x.parquet")
    inside = (tmp_path / "in").as_uri()
    assert accounts(find(f"{inside}/*.parquet", allowed_sources=[inside])) == ["a1"]
    (tmp_path / "in" / "y.parquet").symlink_to(tmp_path / "in-too" / "x.parquet")
    for uri, allowed in (
        (f"{inside}/*", inside),
        (f"{inside}*", inside),
        (f"{inside}/*", f"{inside}/x.parquet"),
        (f"{inside}/*", f"{inside}/*"),
    ):
        with pytest.raises(SourceNotAllowed):
            find(uri, allowed_sources=[allowed])


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(
    "kind",
    [
        pa.date64(),
        pa.timestamp("ms"),
        pa.timestamp("ns"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns", "UTC"),
        pa.timestamp("us", "Asia/Tokyo"),
        pa.timestamp("ms", "+05:30"),
    ],
    ids=str,
)
def test_statistics_prune_in_the_source_timezone(tmp_path: Path, kind: pa.DataType, zone: str) -> None:
    local = {"Asia/Tokyo": "Asia/Tokyo", "+05:30": "Asia/Kolkata"}.get(getattr(kind, "tz", None), zone)
    for month in (date(2026, 2, 1), MONTH, BEFORE, back(MONTH, 2)):
        made = table([row(month=month, status="Healthy")], {"month": kind}, local)
        pq.write_table(made, tmp_path / f"{month}.parquet")
    found = find(tmp_path, source_timezone=zone)
    assert (counts_of(found).rows_scanned, warnings(found)) == (1, {})
