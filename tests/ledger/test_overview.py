"""The alerts of a run by channel and status, the same on both databases."""

from core.ledger import Ledger
from tests.delivery.world import NOW, begin, routed


def test_channels_count_alerts_by_status(ledger: Ledger) -> None:
    alerts = [routed("A-1"), routed("A-2"), routed("A-3", "emea"), routed("A-4", None)]
    begin(ledger, "run", alerts)
    ledger.claim("run", alerts[0], NOW)
    ledger.finish("run", None, NOW)
    assert ledger.history.channels("run") == (
        ["failed", "unconfirmed"],
        [("amer", [1, 1]), ("emea", [1, 0]), ("(no channel)", [1, 0])],
    )
    begin(ledger, "dry", [routed("A-2"), routed("A-5", "emea")], dry_run=True)
    assert ledger.history.channels("dry") == (["would send"], [("amer", [1]), ("emea", [1])])


def test_channels_are_sorted_by_name(ledger: Ledger) -> None:
    begin(ledger, "dry", [routed(name, name) for name in "eacfbd"], dry_run=True)
    assert ledger.history.channels("dry").rows == [(name, [1]) for name in "abcdef"]
