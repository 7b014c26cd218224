"""Standard output and error of a command, which must not decide what a run does or how it exits."""

import contextlib
import errno
import io
import os
import select
import sys
from pathlib import Path
from typing import Any, NoReturn, TextIO

from core.domain import SettingsError


def protect_streams() -> None:
    """Drop output that cannot be written instead of failing, and write UTF-8 in any locale.

    Call this first: the descriptor of a closed stream would go to the next file that is opened.
    """
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    sys.stdout = _protected(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _protected(sys.stderr, sys.__stderr__, 2)


def exit_with(error: SettingsError) -> NoReturn:
    """End a process that cannot start with these settings: one line on stderr, and exit code 2."""
    sys.stderr.write(f"error: {error.code}: {error}\n")
    raise SystemExit(2) from error


def _protected(current: TextIO | None, original: TextIO | None, descriptor: int) -> TextIO:
    """Return the stream to use in place of the current one; a stream that someone else put there stays."""
    if current is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if current is not original:
        return current
    buffer = io.BufferedWriter(_LossyFile(descriptor, "w", closefd=False))
    by_line = descriptor == 2 or current.isatty()  # noqa: PLR2004  # stderr
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="replace", line_buffering=by_line)


class _LossyFile(io.FileIO):
    """A descriptor that drops what cannot be written, and warns once."""

    _lost = False

    def write(self, data: Any, /) -> int:
        """Write, or drop, the data; waits where the descriptor would rather not block."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            self._warn(error)
            return len(data)
        return written

    def _warn(self, error: OSError) -> None:
        lost, self._lost = self._lost, True
        # A reader that closes the pipe, such as `head`, has seen enough.
        if not lost and self.fileno() == 1 and error.errno != errno.EPIPE:
            why = f"stdout cannot be written ({error.strerror}); the rest of the output is lost"
            print(f"warning: {why}", file=sys.stderr)  # noqa: T201  # a command speaks on its terminal
