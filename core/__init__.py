"""The packages that flows, API and command line share: domain, settings, sources, ledger, Slack, support."""

import os

# Arrow chooses its allocator when it is first imported, so this comes before any import of it. With mimalloc,
# the process grows to 150 MB although Arrow uses at most 45; with jemalloc, which returns memory early
# (core.sources.parquet), to 73 MB (docs/performance.md). The operator's setting wins.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

__version__ = "0.1.0"
