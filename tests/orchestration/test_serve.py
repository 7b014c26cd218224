"""`make serve` reports a problem in one line, below the lines of its servers."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.prefect_homes import NewHome
from tests.service import closed_port

ROOT = Path(__file__).parents[2]


def test_taken_port_is_named_with_its_setting(tmp_path: Path, new_prefect_home: NewHome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = subprocess.run(
            [
                *(sys.executable, "-m", "cli", "serve"),
                *("--api-port", str(port), "--prefect-port", str(closed_port())),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
                "PREFECT_HOME": str(new_prefect_home()),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert served.returncode == 1
    assert f"('127.0.0.1', {port}): address already in use" in served.stderr
    assert served.stderr.endswith("Error: the API has ended, see above; if its port is taken, set API_PORT\n")
