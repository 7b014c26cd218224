from collections.abc import Callable

import pytest

from tests.cli.calling import call

Run = Callable[..., "pytest.CaptureResult[str]"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command, asserts its exit code, and returns what the command printed."""

    def run_command(*arguments: str, code: int = 0) -> "pytest.CaptureResult[str]":
        assert call(*arguments) == code
        return capsys.readouterr()

    return run_command
