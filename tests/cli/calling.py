"""The command line, called in this process, and programs that are started from the checkout."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.commands import risk_alerts
from tests.service import process_restored

ROOT = Path(__file__).parents[2]


def call(*arguments: str) -> int:
    """Run a command and return its exit code."""
    with process_restored():
        try:
            risk_alerts(arguments, prog_name="risk-alerts")
        except SystemExit as ended:
            return int(ended.code or 0)


def run_python(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with these arguments and variables until it ends."""
    return run_program(sys.executable, *arguments, environment=os.environ | environment)


def run_program(
    *command: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None, timeout: float = 300
) -> "subprocess.CompletedProcess[str]":
    """Run a program until it ends; by default, it has the environment of this process."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
