"""The command line, called in this process."""

from cli.commands import main


def call(*arguments: str) -> int:
    """Run a command and return its exit code."""
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
