"""The start warns of a ledger that is lost with its container."""

from pathlib import Path

import pytest

from core.ledger.sqlite import in_container, is_forgotten, mount_of

MOUNTS = """\
1 0 0:1 / / rw - overlay overlay rw
2 1 8:1 / /app/data rw,relatime - ext4 /dev/sda1 rw
3 1 0:2 / /tmp rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "mount", "forgotten"),
    [
        ("/app/ledger.db", ("/", "overlay"), True),
        ("/app/data/ledger.db", ("/app/data", "ext4"), False),
        ("/app/database/ledger.db", ("/", "overlay"), True),
        ("/tmp/ledger.db", ("/tmp", "tmpfs"), True),  # noqa: S108
    ],
)
def test_only_a_mount_outlives_its_container(path: str, mount: tuple[str, str], *, forgotten: bool) -> None:
    point, kind = mount_of(Path(path), MOUNTS)
    assert (point, kind) == mount
    assert is_forgotten(contained=True, mount_point=point, file_system=kind) is forgotten
    assert not is_forgotten(contained=False, mount_point=point, file_system=kind)


def test_engine_marks_show_a_container(tmp_path: Path) -> None:
    assert not in_container({}, tmp_path)
    assert in_container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert in_container({}, tmp_path)
