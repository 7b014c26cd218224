"""The packages that flows, API and command line share."""

import os

# Arrow chooses its allocator when it is first imported, so this comes before any import of it. With mimalloc,
# the process grows to 150 MB although Arrow uses at most 45. jemalloc keeps fewer freed pages with two arenas
# and with buffers of 8 MiB or more returned at once (docs/performance.md). The operator's settings win.
# Arrow's packages for ARM have no jemalloc, and would warn on stderr.
if os.uname().machine == "x86_64":
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "narenas:2,oversize_threshold:8388608")

__version__ = "0.1.0"
