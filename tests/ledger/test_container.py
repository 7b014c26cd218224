"""The start warns of a ledger that is lost with its container."""

from pathlib import Path

import pytest

from core.ledger.sqlite import in_container, is_forgotten

MOUNTS = """\
1 0 0:1 / / rw - overlay overlay rw
2 1 8:1 / /app/data rw,relatime - ext4 /dev/sda1 rw
3 1 0:2 / /tmp rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "forgotten"),
    [
        ("/app/ledger.db", True),
        ("/app/data/ledger.db", False),
        ("/app/database/ledger.db", True),
        ("/tmp/ledger.db", True),  # noqa: S108
    ],
)
def test_only_a_mount_outlives_its_container(path: str, *, forgotten: bool) -> None:
    assert is_forgotten(Path(path), MOUNTS) is forgotten


def test_engine_marks_show_a_container(tmp_path: Path) -> None:
    assert not in_container({}, tmp_path)
    assert in_container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert in_container({}, tmp_path)
