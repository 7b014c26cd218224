"""Where account health comes from: sources at file://, gs:// and s3://, and what a month needs of their rows.

`open_uri` resolves a URI, and `read_window` reads what the alert rules need of a month. Nothing else in the
project knows a disk, a cloud or Parquet.
"""

from core.sources.description import Description, describe
from core.sources.location import check_source, parse_source
from core.sources.reader import read_window
from core.sources.source import Source, open_uri
from core.sources.window import LONGEST_ID, LONGEST_TEXT, Need, Window, passes_threshold

__all__ = [
    "LONGEST_ID",
    "LONGEST_TEXT",
    "Description",
    "Need",
    "Source",
    "Window",
    "check_source",
    "describe",
    "open_uri",
    "parse_source",
    "passes_threshold",
    "read_window",
]
