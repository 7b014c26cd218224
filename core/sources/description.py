"""A description of a source from its footers."""

from dataclasses import dataclass
from datetime import date

from core.sources.parquet.row_groups import DataFile
from core.sources.source import Source
from core.sources.window import may_hold
from core.sources.workers import Workers


@dataclass(frozen=True, slots=True)
class Description:
    """The description of a source.

    `months` are the first and the last month, or None if statistics and partitions do not show them.
    `ignored` are the columns that are not read. `regions` are the regions that the statistics show.
    """

    files: int
    rows: int
    months: tuple[date, date] | None
    has_month: bool
    ignored: list[str]
    regions: list[str]


def describe(source: Source, month: date | None, zone: str) -> Description:
    """Describe a source from its footers; raise a `SourceError`.

    No row is read, unless a column has an unreadable type and must be empty. `has_month`: rows of `month` are
    possible, or no month is given.
    """
    with Workers(source.requests) as workers:
        files = [DataFile(source, file, index, zone, workers) for index, file in enumerate(source.files)]
        footers = list(workers.each_request(DataFile.open, files))
    groups = [group for footer in footers for group in footer.groups]
    spans = [group.months for group in groups]
    known = [span for span in spans if span]
    bounds = {bound for group in groups for bound in group.chunks["account_region"][0].bounds or ()}
    return Description(
        files=len(files),
        rows=sum(group.rows for group in groups),
        months=(min(known)[0], max(last for _, last in known)) if known and None not in spans else None,
        has_month=month is None or any(may_hold(span, month) for span in spans),
        ignored=sorted({name for footer in footers for name in footer.columns.ignored}),
        regions=sorted(bound.decode(errors="replace") for bound in bounds),
    )
