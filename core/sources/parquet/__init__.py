"""Parquet as this project reads it: footers, byte ranges, columns in any type, and their rows."""

from contextlib import suppress

import pyarrow as pa

GIVE_BACK_MS = 200
"""How long memory that a batch no longer needs waits for the next one, before the system has it again."""

with suppress(NotImplementedError):  # An Arrow without jemalloc, such as Windows', has another allocator.
    pa.jemalloc_set_decay_ms(GIVE_BACK_MS)
