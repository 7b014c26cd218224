"""Sources at file://, gs:// and s3://, and the reader of their Parquet files.

`location` parses a URI and checks whether it is allowed. `source` pins its files to one version; `local`,
`gcs` and `s3` find and read them, and share `remote`. `folder` interprets the names in a folder, and
`refusals` the errors of a cloud. `reader` reads the rows that the alert rules need, and `description` what
`risk-alerts check` shows. Only `gcs`, `s3`, `remote` and `refusals` use the libraries of the clouds.
"""

from core.sources.description import describe
from core.sources.location import parse_source
from core.sources.reader import read_window
from core.sources.source import Source, open_uri
from core.sources.window import Need, Window
