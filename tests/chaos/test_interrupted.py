"""`make chaos` leaves nothing behind when it is stopped."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.driver import INTERRUPTED


def _processes_that_name(folder: Path) -> list[str]:
    """Return the command or environment of every process that names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in known:
            found.append(process.name)
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_chaos_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.driver", "--seed", "1", "--lanes", "2"],
        cwd=Path(__file__).parents[2],
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
    )
    # Both lanes work once each has the log of its own Prefect server in its folder.
    while len(list(tmp_path.glob("chaos-*/prefect.log"))) < 2:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.send_signal(how)
    driver.communicate()
    assert driver.returncode == INTERRUPTED
    assert list(tmp_path.glob("chaos-*")) == []
    # A Prefect server reacts to the signal only after it has started, which may take half a minute on a
    # loaded machine.
    deadline = time.monotonic() + 80
    while _processes_that_name(tmp_path):
        assert time.monotonic() < deadline, _processes_that_name(tmp_path)
        time.sleep(0.05)
