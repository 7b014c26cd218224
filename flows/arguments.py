"""What the commands share: exit codes, and arguments with a meaning."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from core.domain import SettingsError, parse_month

SUCCEEDED, FAILED, CALLED_WRONGLY = 0, 1, 2
"""Exit codes."""

T = TypeVar("T")


def exit_with(error: SettingsError) -> NoReturn:
    """End a process that can't start with these settings: one line on stderr, and the usage error's code."""
    sys.stderr.write(f"error: {error.code}: {error}\n")
    raise SystemExit(CALLED_WRONGLY)


def checked_by(check: Callable[[str], T]) -> Callable[[str], T]:
    """Have a bad argument answered with what the check says of it."""

    def read(text: str) -> T:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


month_argument = checked_by(parse_month)
"""Reads a month from the command line."""
