"""Any text of a source is stored, found and returned unchanged, on both databases."""

from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain import AlertStatus, Decision, Delivery, Resolution, RunNotFound
from core.ledger import Ledger
from core.sources.window import LONGEST_ID
from tests.delivery.world import MONTH, NOW, begin, key, outcome_of, routed

# The reader replaces NUL, so no text of a source has it.
HOSTILE = st.text(st.sampled_from("\x1001\\%é😀\ufffd"), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(ids=st.sets(HOSTILE, min_size=1, max_size=3), other=HOSTILE)
def test_text_comes_back_the_same_and_ids_stay_apart(ledger: Ledger, ids: set[str], other: str) -> None:
    first, second = str(uuid4()), str(uuid4())
    alerts = [
        item._replace(channel=other or "amer", account_name=other, account_region=other, account_owner=other)
        for item in map(routed, sorted(ids))
    ]
    known = ledger.history.deliveries(MONTH)
    new = [item for item in alerts if item.key not in known]
    assert begin(ledger, first, alerts) == new
    for item in new:
        assert ledger.claim(first, item, NOW).status is AlertStatus.SENDING
        sent = Delivery(*item.key, AlertStatus.SENT, item.channel, error=other)
        ledger.record_answer(first, sent, NOW)
    ledger.finish(first, None, NOW)

    assert begin(ledger, second, alerts) == []
    assert {one.account_id for one in ledger.history.alerts(second).alerts} == ids
    assert ids <= {found.account_id for found in ledger.history.deliveries(MONTH)}
    for view in ledger.history.alerts(first, limit=10).alerts:
        assert (view.account_name, view.account_region, view.account_owner) == (other, other, other)
        assert view.status == "skipped_replay" or (view.channel, view.error) == (other or "amer", other)
    ledger.finish(second, None, NOW)


def test_longest_id_is_kept(ledger: Ledger) -> None:
    # Random text, because PostgreSQL would compress a pattern.
    account_id = Random(1).randbytes(LONGEST_ID).hex()[:LONGEST_ID]  # noqa: S311
    item = routed(account_id)
    assert begin(ledger, "run-1", [item]) == [item]
    assert ledger.claim("run-1", item, NOW).status is AlertStatus.SENDING
    ledger.finish("run-1", None, NOW)
    ledger.resolve(Resolution(item.key, MONTH, Decision.DELIVERED, "ana", None, NOW))
    assert set(ledger.history.deliveries(MONTH)) == {key(account_id)}


def test_nul_prevents_no_read_and_no_write(ledger: Ledger) -> None:
    """PostgreSQL text cannot hold NUL."""
    with pytest.raises(RunNotFound):
        ledger.history.run("\0")
    [item] = begin(ledger, "run", [routed("A-1")])
    ledger.claim("run", item, NOW)
    ledger.record_answer("run", Delivery(*item.key, AlertStatus.FAILED, "amer", error="a\0b"), NOW)
    assert outcome_of(ledger, item.key).error in {"a\0b", "a\ufffdb"}
