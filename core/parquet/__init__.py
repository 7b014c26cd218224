"""Parquet as this project reads it: the footer, the columns of the spec in any type, and their rows."""

from contextlib import suppress

import pyarrow as pa

from core.parquet.account_file import (
    AT_RISK_ROWS,
    HISTORY_ROWS,
    TIMES,
    AccountFile,
    MonthPart,
)
from core.parquet.columns import instant
from core.parquet.footer import RowGroup

__all__ = ["AT_RISK_ROWS", "HISTORY_ROWS", "TIMES", "AccountFile", "MonthPart", "RowGroup", "instant"]

GIVE_BACK_MS = 200
"""How long memory that a batch no longer needs waits for the next one, before the system has it again."""

with suppress(NotImplementedError):  # An Arrow without jemalloc, such as Windows', has another allocator.
    pa.jemalloc_set_decay_ms(GIVE_BACK_MS)
