"""What several rooms share: the words of the domain, settings, errors, storage, ledger and Slack."""

import os

# Arrow chooses its allocator when it is first imported, so it is named here, before any module of this
# package can import it. Of 45 MB that Arrow holds at the most, mimalloc makes 150 MB of the process, and
# jemalloc, told to give back soon (core.sources.parquet), 73 MB (docs/performance.md). What the operator sets
# wins.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

__version__ = "0.1.0"
