"""Make the standard streams safe: a failed write must not change a run or its exit code."""

import contextlib
import io
import os
import select
import sys
from typing import Any


def protect_streams() -> None:
    """Drop output that cannot be written instead of failing, and write UTF-8 in any locale.

    Call this first: otherwise the next file that is opened gets the descriptor of a closed stream.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Also for the Prefect server of `serve`, which cannot start without streams.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003  # positional only
    sys.stdout, sys.stderr = _lossy_stream(1), _lossy_stream(2)


def _lossy_stream(descriptor: int) -> io.TextIOWrapper:
    file = io.BufferedWriter(_LossyFile(descriptor, "w", closefd=False))
    return io.TextIOWrapper(file, encoding="utf-8", errors="replace", line_buffering=True)


class _LossyFile(io.FileIO):
    """A descriptor that drops what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write the data, or drop it; wait when the descriptor is not ready."""
        with contextlib.suppress(OSError):
            while (written := super().write(data)) is None:
                select.select([], [self], [])
            return written
        return len(data)
