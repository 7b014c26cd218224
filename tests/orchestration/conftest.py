import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.prefect_homes import NewHome

ROOT = Path(__file__).parents[2]


def start_probe(home: Path | str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Run `probe_flow.py` on a Prefect home, as an operator would who has set nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.orchestration.probe_flow", *arguments],
        cwd=ROOT,
        env={**kept, "PREFECT_HOME": str(home), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_gone(pid: int, seconds: float = 12) -> bool:
    """Whether the process ends within the time; one that is a zombie of ours has not ended well."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def prefect_home(new_prefect_home: NewHome) -> Path:
    """Keep a `PREFECT_HOME` that no one else uses."""
    return new_prefect_home()
