"""The command line, called in this process or started in another."""

import os
import subprocess
import sys
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
    """Run Python with these arguments in a process of its own, from the checkout, until it ends."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
