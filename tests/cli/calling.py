"""The command line, called in this process."""

from cli.commands import main
from tests.service import loggers_restored


def call(*arguments: str) -> int:
    """Run a command and return its exit code."""
    with loggers_restored():
        try:
            main(arguments)
        except SystemExit as ended:
            return int(ended.code or 0)
