"""Whether a ledger's file lies on a disk that its container will forget, and the alerts sent with it."""

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import make_url

_OF_THE_CONTAINER = frozenset({"overlay", "aufs", "fuse-overlayfs", "tmpfs", "ramfs"})


def in_container(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Return whether this process runs in a container, by the marks that engines leave."""
    marks = (root / ".dockerenv", root / "run/.containerenv")
    serverless = {"KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4", "CLOUD_RUN_JOB", "K_SERVICE"}
    return any(mark.exists() for mark in marks) or not serverless.isdisjoint(environment)


def mount_of(path: Path, mountinfo: str) -> tuple[str, str]:
    """Return mount point and file system type of the mount that holds a path, from /proc/self/mountinfo."""
    found = ("/", "")
    for line in mountinfo.splitlines():
        mount, _, device = line.partition(" - ")
        fields = mount.split()
        if len(fields) < 5 or not device:  # noqa: PLR2004  # the fifth is the mount point
            continue
        point = fields[4].replace("\\040", " ")
        # Of two mounts on one place, the later lies above.
        if path.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, device.split()[0])
    return found


def is_forgotten(*, contained: bool, mount_point: str, file_system: str) -> bool:
    """Return whether what is written there is gone with the container."""
    return contained and (mount_point == "/" or file_system in _OF_THE_CONTAINER)


def warning_about(database_url: str) -> str | None:
    """Return a warning when the ledger is a file that this container will forget."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    point, kind = mount_of(Path(url.database).resolve(), mountinfo)
    if not is_forgotten(contained=in_container(os.environ), mount_point=point, file_system=kind):
        return None
    return (
        f"The ledger {url.database} is on this container's own disk and will be FORGOTTEN with it:"
        " alerts will be sent again. Mount a volume there, or give DATABASE_URL a PostgreSQL database"
    )
