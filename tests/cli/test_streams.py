"""With full, closed or cut standard streams, the work is done and decides the exit code."""

import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.mock_slack import MockSlack
from tests.service import MONTH, variables, write_source

ROOT = Path(__file__).parents[2]
BROKEN = [
    "| head -c 1",
    "| true",
    "> /dev/full",
    ">&-",
    "2> /dev/full",
    "2>&-",
    "2> >(true)",
    "> /dev/full 2> /dev/full",
    "<&- >&- 2>&-",
]
"""Redirections that leave a command without a stream."""


@dataclass
class Shell:
    """Runs commands in bash, with an environment of its own."""

    environment: dict[str, str]

    def run(self, command: str, redirection: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr of a command with its streams redirected."""
        ended = subprocess.run(
            ["bash", "-c", f"{{ {command}; }} {redirection}; exit ${{PIPESTATUS[0]}}"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=100,
        )
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@pytest.fixture(scope="module")
def shell() -> Shell:
    """Return a shell in which `python` is this interpreter."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Shell({**os.environ, "PATH": path})


TALK = """
import logging, os, sys
from cli.streams import protect_streams
protect_streams()
logging.warning("a log line")
print("a report of 🚩\\n" * 20_000)
print("an error", file=sys.stderr, flush=True)
assert os.open("/dev/null", os.O_RDONLY) > 2
sys.exit(7)
"""


@pytest.mark.parametrize("redirection", ["", *BROKEN])
def test_broken_streams_do_not_change_the_exit_code(shell: Shell, redirection: str) -> None:
    code, _, err = shell.run(f"python -c '{TALK}'", redirection)
    assert code == 7, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_ascii_locale_writes_utf8(shell: Shell) -> None:
    plain = Shell({**shell.environment, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    code, out, _ = plain.run(f"python -c '{TALK}'", "")
    assert (code, out[:14]) == (7, "a report of 🚩\n")


def test_nonblocking_pipe_gets_everything(shell: Shell) -> None:
    """Some parents, such as Node.js, leave such a pipe to their children."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        ["python", "-c", TALK], stdout=writing, stderr=subprocess.DEVNULL, cwd=ROOT, env=shell.environment
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        out = pipe.read().decode()
    assert (process.wait(60), out.count("\n")) == (7, 20_001)


@pytest.fixture
def job(shell: Shell, slack: MockSlack, tmp_path: Path) -> Shell:
    """Return a shell with all that the batch job needs."""
    # As in the image: what is printed is written at once.
    return Shell(shell.environment | variables(slack.url, tmp_path, PYTHONUNBUFFERED="1"))


@pytest.fixture
def command(tmp_path: Path) -> str:
    """Return the batch job's command."""
    source = write_source(tmp_path / "x.parquet")
    return f"python -m flows.monthly_risk_alerts --month {MONTH} --source-uri {source}"


@pytest.mark.parametrize(
    ("option", "redirection"),
    [("", "> /dev/full 2> /dev/full"), ("--json", "<&- >&- 2>&-")],
)
def test_streams_do_not_change_the_exit_code(
    job: Shell, slack: MockSlack, command: str, redirection: str, option: str
) -> None:
    code, _, err = job.run(f"{command} {option}", redirection)
    assert (code, len(slack.messages)) == (0, 2), err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_closed_terminal_ends_no_run(job: Shell, slack: MockSlack, command: str) -> None:
    terminal, of_the_program = pty.openpty()
    process = subprocess.Popen(
        command.split(),
        cwd=ROOT,
        env=job.environment | {"TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=of_the_program,
    )
    os.close(of_the_program)
    assert os.read(terminal, 100)
    os.close(terminal)
    report, _ = process.communicate(timeout=60)
    assert (process.returncode, len(slack.messages)) == (0, 2)
    assert b"succeeded" in report
