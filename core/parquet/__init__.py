"""Parquet as this project reads it: the footer, the columns of the spec in any type, and their rows."""

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
