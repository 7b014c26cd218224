"""Sources at file://, gs:// and s3://, and the reader of their Parquet files.

`open_uri` resolves a URI, and `read_window` reads the rows that the alert rules need for a month. No other
package uses the libraries of the stores.
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
