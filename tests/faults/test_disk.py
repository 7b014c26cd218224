"""On a full or read-only disk, alerts that cannot be claimed are not sent, and none is sent twice.

The disks are small tmpfs mounts, which need root.
"""

import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain import LedgerError
from core.ledger import try_write
from examples.mock_slack import MockSlack
from tests.delivery.world import deliver, look, open_at, outcomes, routed, settings
from tests.faults.world import Saboteur
from tests.machine import fill, small_disk

ALERTS = [routed(f"{channel}-{number}", channel) for number in range(20) for channel in ("amer", "emea")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of a few megabytes; return its path."""
    with small_disk(tmp_path / "disk", 8) as problem:
        if problem:
            reason = f"NO FULL DISK WAS TESTED: {problem}"
            warnings.warn(reason, stacklevel=1)
            pytest.skip(reason)
        yield tmp_path / "disk"


def test_disk_full_when_a_run_begins_sends_nothing(disk: Path, slack: MockSlack) -> None:
    path = disk / "ledger.db"
    open_at(path).close()
    filler = fill(disk)
    # SQLite's message depends on which of its files does not fit.
    with pytest.raises(LedgerError, match="disk"):
        deliver(open_at(path), ALERTS, settings(slack.url, path))
    assert slack.messages == []
    with pytest.raises(LedgerError, match="disk is full") as caught:
        open_at(disk / "new.db")
    assert caught.type is LedgerError, "the write would be repeated"
    assert "Check DATABASE_URL, its disk and its permissions" in caught.value.message
    with pytest.raises(LedgerError, match="disk is full"):
        try_write(f"sqlite:///{disk}/another.db")
    filler.unlink()
    ledger = open_at(path)
    assert deliver(ledger, ALERTS, settings(slack.url, path)).view.counts.alerts_sent == len(ALERTS)
    ledger.close()


def test_disk_full_in_the_middle_sends_nothing_twice(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = disk / "ledger.db"
    ledger = open_at(path)
    with Saboteur() as slack:
        slack.act = lambda: fill(disk)
        with pytest.raises(LedgerError, match="disk is full"):
            deliver(ledger, ALERTS, settings(slack.url, path), "run-1")
        seen = slack.accounts
        on_record = outcomes(path)
        assert 2 <= len(seen) < len(ALERTS)
        assert set(seen) <= set(on_record)
        assert ledger.history.run("run-1").status == "running"
        assert "Run run-1 cannot be closed yet" in caplog.text
        (disk / "filler").unlink()
        second = deliver(ledger, ALERTS, settings(slack.url, path))
        first = look(ledger, "run-1")
        assert (first.view.status, first.error) == ("failed", "ledger_unavailable")
        assert second.view.status == "succeeded"
        assert slack.accounts == sorted(alert.account_id for alert in ALERTS)
        # Slack accepted these when the answer could not be written: at most one per channel.
        unconfirmed = [account for account, (status, _) in outcomes(path).items() if status == "unconfirmed"]
        assert second.view.counts.unconfirmed == len(unconfirmed) <= 2
        for account in unconfirmed:
            assert f"{account!r} to {account[:4]}: sent, not recorded" in caplog.text
    ledger.close()


def test_read_only_disk_sends_nothing(disk: Path, slack: MockSlack) -> None:
    path = disk / "ledger.db"
    open_at(path).close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(LedgerError, match=r"readonly|unable to open"):
        deliver(open_at(path), ALERTS, settings(slack.url, path))
    assert slack.messages == []
