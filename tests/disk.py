"""A small disk that tests can fill: a tmpfs, which needs root to be mounted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[str | None]:
    """Mount a disk at a new folder; yield None, or why it is a folder of the machine's disk instead."""
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
