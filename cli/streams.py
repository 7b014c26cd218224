"""Make the standard streams safe: a failed write must not change a run or its exit code."""

import contextlib
import io
import os
import select
import sys
from typing import Any


def protect_streams() -> None:
    """Drop output that cannot be written instead of failing, and write UTF-8 in any locale.

    Call this first: the descriptor of a closed stream would go to the next file that is opened.
    """
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        # A stream that someone else put there stays.
        if getattr(sys, name) is getattr(sys, f"__{name}__"):
            buffer = io.BufferedWriter(_LossyFile(descriptor, "w", closefd=False))
            by_line = name == "stderr" or os.isatty(descriptor)
            stream = io.TextIOWrapper(buffer, encoding="utf-8", errors="replace", line_buffering=by_line)
            setattr(sys, name, stream)


class _LossyFile(io.FileIO):
    """A descriptor that drops what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write the data, or drop it; wait when the descriptor is not ready."""
        with contextlib.suppress(OSError):
            while (written := super().write(data)) is None:
                select.select([], [self], [])
            return written
        return len(data)
