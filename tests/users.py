"""Another user for tests of permissions, which do not hold for root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
