"""Find out whether the process of a run is alive, on this host or on another."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from core.domain import LedgerError

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
STALE_AFTER = timedelta(seconds=90)
"""A heartbeat that is further from now is stale, also in the future: then a clock was set back."""
WATCH_SECONDS = HEARTBEAT_SECONDS + 5
"""How long to watch for a heartbeat of a run that seems dead. The last heartbeat of a live run is stale too
after a jump of the wall clock, after a pause of the machine, or when the clocks of two hosts differ."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """The identity of a process, which a later process with the same process ID does not have."""

    host: str
    """Host name, boot and process-id namespace: `pid` is unique within them."""
    pid: int
    process_started: str


def this_process() -> ProcessIdentity:
    """Return the identity of the current process."""
    return ProcessIdentity(_host(), os.getpid(), _start_of(os.getpid()))


def is_dead(owner: ProcessIdentity, heartbeat_at: datetime, now: datetime) -> bool:
    """Return whether a run's process seems dead: it is gone from this host, or its heartbeat is stale."""
    return _is_gone(owner) or abs(now - heartbeat_at) > STALE_AFTER


def wait_for_heartbeats(owners: Iterable[ProcessIdentity]) -> None:
    """Wait until each live process has sent a heartbeat; return at once when all have certainly ended."""
    if not all(_is_gone(owner) for owner in owners):
        time.sleep(WATCH_SECONDS)


@contextmanager
def kept_alive(name: str, beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every `HEARTBEAT_SECONDS` in a thread while the context lasts."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            try:
                beat()
            except LedgerError as error:
                # A failed heartbeat alone must not end a run; the next write to the ledger reports the error.
                logger.warning("No heartbeat: %s", error)

    # The copied context has the id of the run for the log.
    thread = threading.Thread(target=copy_context().run, args=[work], name=f"heartbeat-{name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _is_gone(owner: ProcessIdentity) -> bool:
    """Return whether the process was on this host and has ended."""
    if owner.host != _host():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # A process of another user, which /proc may hide: its heartbeat decides.
        return False
    return _start_of(owner.pid) != owner.process_started


@lru_cache(maxsize=1)
def _host() -> str:
    boot, namespace = _read("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid").resolve().name
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _start_of(pid: int) -> str:
    """Return the clock ticks since boot at which a living process started; empty without /proc (macOS)."""
    # The second field is the program's name in parentheses, which may contain spaces and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A zombie has ended; its parent has not collected the exit status yet.
    return "" if not fields or fields[0] == "Z" else fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
