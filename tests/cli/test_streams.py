"""With full, closed or cut standard streams, the work is done and decides the exit code."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from examples.mock_slack import MockSlack
from tests.cli.calling import ROOT
from tests.machine import needs_full_device
from tests.service import MONTH, variables

BROKEN = [
    "| head -c 1",
    "| true",
    pytest.param("> /dev/full", marks=needs_full_device),
    ">&-",
    pytest.param("2> /dev/full", marks=needs_full_device),
    "2>&-",
    "2> >(true)",
    pytest.param("> /dev/full 2> /dev/full", marks=needs_full_device),
    "<&- >&- 2>&-",
]
"""Redirections that leave a command without a stream."""


def bash(command: str, redirection: str, **environment: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command with its streams redirected."""
    ended = subprocess.run(
        ["bash", "-c", f"{{ {command}; }} {redirection}; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=100,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


TALK = """
import logging, os, sys
from cli.streams import protect_streams
protect_streams()
logging.warning("a log line")
print("a report of \\U0001f6a9\\n" * 20_000)
print("an error \\udcff", file=sys.stderr, flush=True)
assert os.open("/dev/null", os.O_RDONLY) > 2
assert all(map(os.get_inheritable, range(3)))
sys.exit(7)
"""


PROGRAM = f"{sys.executable} -c '{TALK}'"


@pytest.mark.parametrize("redirection", ["", *BROKEN])
def test_broken_streams_do_not_change_the_exit_code(redirection: str) -> None:
    code, _, err = bash(PROGRAM, redirection)
    assert code == 7, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_ascii_locale_writes_utf8() -> None:
    code, out, _ = bash(PROGRAM, "", PYTHONUTF8="0", LC_ALL="C")
    assert (code, out[:14]) == (7, "a report of 🚩\n")


def test_nonblocking_pipe_gets_everything() -> None:
    """Some parents, such as Node.js, leave such a pipe to their children."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        [sys.executable, "-c", TALK], stdout=writing, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        out = pipe.read().decode()
    assert (process.wait(60), out.count("\n")) == (7, 20_001)


@needs_full_device
def test_run_with_broken_streams_sends_its_alerts(source: str, slack: MockSlack, tmp_path: Path) -> None:
    # As in the image: what is printed is written at once.
    settings = variables(slack.url, tmp_path, PYTHONUNBUFFERED="1")
    command = f"{sys.executable} -m flows.monthly_risk_alerts --month {MONTH} --source-uri {source}"
    code, _, err = bash(command, "<&- > /dev/full 2>&-", **settings)
    assert (code, len(slack.messages)) == (0, 2), err


def test_closed_terminal_ends_no_program() -> None:
    terminal, of_the_program = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TALK], stdout=subprocess.PIPE, stderr=of_the_program, cwd=ROOT
    )
    os.close(of_the_program)
    assert os.read(terminal, 100)
    os.close(terminal)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.count(b"\n")) == (7, 20_001)
