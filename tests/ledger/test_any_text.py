"""Any text of a source is stored, found and returned unchanged, on both databases."""

from dataclasses import replace
from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain import AlertStatus, Delivery, RunNotFound, SourceInvalid
from core.ledger import Ledger
from tests.delivery.world import MONTH, NOW, begin, key, routed

# The reader replaces NUL, so no text of a source has it.
HOSTILE = st.text(st.sampled_from("\x1001\\%é😀\ufffd"), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(ids=st.sets(HOSTILE, min_size=1, max_size=4), other=HOSTILE)
def test_text_comes_back_the_same_and_ids_stay_apart(ledger: Ledger, ids: set[str], other: str) -> None:
    first, second = str(uuid4()), str(uuid4())
    alerts = [
        replace(
            item,
            channel=other or "amer",
            account_name=other,
            account_region=other,
            account_owner=other,
        )
        for item in map(routed, sorted(ids))
    ]
    known = ledger.history.deliveries(MONTH)
    new = [item for item in alerts if item.key not in known]
    assert begin(ledger, first, alerts) == new
    for item in new:
        assert ledger.claim(first, item, NOW).status is AlertStatus.SENDING
        sent = Delivery(item.key, AlertStatus.SENT, item.channel, error=other)
        ledger.record_answer(first, sent, NOW)
    ledger.finish(first, None, NOW)

    assert begin(ledger, second, alerts) == []
    assert {one.account_id for one in ledger.history.alerts(second).alerts} == ids
    assert ids <= {found.account_id for found in ledger.history.deliveries(MONTH)}
    for view in ledger.history.alerts(first, limit=10).alerts:
        assert (view.account_name, view.account_region, view.account_owner) == (other, other, other)
        assert view.status == "skipped_replay" or (view.channel, view.error) == (other or "amer", other)
    ledger.finish(second, None, NOW)


@pytest.mark.parametrize("size", [2_500, 2_501])
def test_long_id_is_kept_or_refused(ledger: Ledger, backend: str, size: int) -> None:
    # Random text, because PostgreSQL would compress a pattern.
    account_id = Random(1).randbytes(size).hex()[:size]  # noqa: S311
    item = routed(account_id)
    if (backend, size) == ("postgresql", 2_501):
        with pytest.raises(SourceInvalid, match="an id of 2501 bytes, f5b165"):
            begin(ledger, "run-1", [item])
        return
    assert begin(ledger, "run-1", [item]) == [item]
    assert ledger.claim("run-1", item, NOW).status is AlertStatus.SENDING
    ledger.record_answer("run-1", Delivery(key(account_id), AlertStatus.SENT, item.channel), NOW)
    ledger.finish("run-1", None, NOW)
    assert set(ledger.history.deliveries(MONTH)) == {key(account_id)}


def test_length_of_an_id_is_that_of_its_bytes(ledger: Ledger, backend: str) -> None:
    item = routed("é" * 1_251)
    if backend == "sqlite":
        assert begin(ledger, "run-1", [item]) == [item]
        return
    with pytest.raises(SourceInvalid, match="an id of 2502 bytes"):
        begin(ledger, "run-1", [item])


def test_nul_prevents_no_read_and_no_write(ledger: Ledger) -> None:
    """PostgreSQL text cannot hold NUL."""
    with pytest.raises(RunNotFound):
        ledger.history.run("\0")
    [item] = begin(ledger, "run", [routed("A-1")])
    ledger.claim("run", item, NOW)
    ledger.record_answer("run", Delivery(item.key, AlertStatus.FAILED, "amer", error="a\0b"), NOW)
    assert ledger.history.outcome(MONTH, item.key).error in {"a\0b", "a\ufffdb"}
