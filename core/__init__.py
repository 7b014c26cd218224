"""What several rooms share: the words of the domain, settings, errors, storage, ledger and Slack."""

import os

# Arrow chooses its allocator when it is first imported, so it is named here, before any module of this
# package can import it. Of 45 MB that Arrow holds at most, mimalloc makes 150 MB of the process, and
# jemalloc, set to return memory early (core.sources.parquet), 73 MB (docs/performance.md). The operator's
# setting wins.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

__version__ = "0.1.0"
