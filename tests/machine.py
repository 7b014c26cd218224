"""What tests need of the machine: another user, a small disk, and what only some systems have."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
needs_any_name = pytest.mark.skipif(sys.platform == "darwin", reason="file names of macOS are UTF-8")


@contextmanager
def as_somebody_else(tmp_path: Path) -> Iterator[None]:
    """Become an unprivileged user, who may enter pytest's folder, if this process runs as root."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:4]):
        if folder.name.startswith(("test_", "pytest-", "popen-")):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[str | None]:
    """Mount a tmpfs at a new folder, which needs root; yield None, or why the folder is on another disk."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = mounted.returncode != 0
    try:
        yield f"a tmpfs cannot be mounted here ({mounted.stderr.strip()})" if failed else None
    finally:
        if not failed:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk; return the file to remove again."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler
