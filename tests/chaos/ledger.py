"""The ledger of a lane: SQLite or PostgreSQL, on a small disk that can be filled."""

import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plan import Clock, Fault, FaultKind
from tests.chaos.processes import FROZEN_SECONDS, Read, is_due
from tests.machine import fill, small_disk
from tests.postgresql import Server, server

MEGABYTES = 256
"""More than a new PostgreSQL server and the worlds of a lane need."""


@dataclass(frozen=True)
class ChaosLedger:
    """The database, and the disk that has it."""

    url: str
    disk: Path
    fillable: bool
    server: Server | None

    def apply_fault(self, fault: Fault, clocks: Mapping[Clock, Read], over: Callable[[], bool]) -> FaultKind:
        """Fill the disk for some seconds, unless `over` returns true first; return the applied fault."""
        if not is_due(fault, clocks, over) or not self.fillable:
            return FaultKind.NONE
        filler = fill(self.disk)
        time.sleep(FROZEN_SECONDS)
        filler.unlink()
        if self.server:
            self.server.ensure_up()
        return fault.kind


@contextmanager
def ledger_on_a_disk(folder: Path, database: str) -> Iterator[ChaosLedger]:
    """Yield a ledger on a disk in the folder; copy its files into the folder afterwards."""
    folder.chmod(0o711)  # PostgreSQL runs as another user.
    disk = folder / "disk"
    with (
        small_disk(disk, MEGABYTES) as problem,
        server(disk) if database == "postgresql" else nullcontext() as running,
    ):
        if problem:
            warnings.warn(f"NO FULL DISK IS TESTED: {problem}", stacklevel=3)
        url = running.new_database() if running else f"sqlite:///{disk}/ledger.db"
        try:
            yield ChaosLedger(url, disk, problem is None, running)
        finally:
            shutil.copytree(disk, folder / "ledger", ignore=shutil.ignore_patterns(".s.*", "filler"))
