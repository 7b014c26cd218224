"""`make chaos` leaves nothing behind when it is stopped."""

import subprocess
import sys
from pathlib import Path

from tests.chaos.driver import INTERRUPTED
from tests.cli.calling import ROOT
from tests.machine import needs_proc
from tests.waiting import until


def _processes_that_name(folder: Path) -> list[str]:
    """Return the ids of the processes whose environment names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in known:
            found.append(process.name)
    return found


@needs_proc
def test_interrupted_chaos_leaves_nothing_behind(tmp_path: Path) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.driver", "--seed", "1", "--lanes", "2", "--prefect", "none"],
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
    )
    # Both lanes work once each has the log of its processes in its folder.
    until(lambda: len(list(tmp_path.glob("chaos-*/processes.log"))) == 2 or driver.poll() is not None)
    driver.terminate()
    driver.communicate()
    assert driver.returncode == INTERRUPTED
    assert list(tmp_path.glob("chaos-*")) == []
    until(lambda: not _processes_that_name(tmp_path), lambda: _processes_that_name(tmp_path))
