"""The progress of a run while it sends."""

from collections import Counter
from datetime import timedelta

import pytest

from core.domain import AlertStatus
from core.runtime import ChannelProgress, Progress, count_recorded
from tests.delivery.world import NOW, routed

LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def progress() -> Progress:
    """Return the progress of a run with alerts for two channels and one without a channel."""
    progress = Progress()
    progress.planned(8, [routed("A-1", "emea"), routed("A-2"), routed("A-3"), routed("A-4", None)])
    return progress


def test_progress_is_empty_before_reading() -> None:
    assert Progress().now() == (None, {})
    assert count_recorded({}) == (0, 0)


def test_channels_are_in_order_with_their_results(progress: Progress) -> None:
    progress.record("amer", AlertStatus.SENT)
    progress.record("amer", AlertStatus.SENT)
    progress.record(None, AlertStatus.FAILED)
    rows, channels = progress.now()
    assert rows == 8
    assert list(channels.items()) == [
        ("", ChannelProgress(1, Counter({AlertStatus.FAILED: 1}))),
        ("amer", ChannelProgress(2, Counter({AlertStatus.SENT: 2}))),
        ("emea", ChannelProgress(1)),
    ]
    assert count_recorded(channels) == (3, 4)
    progress.record("emea", AlertStatus.SENT)
    assert count_recorded(channels) == (3, 4), "a copy has changed"


def test_wait_ends_with_the_time_or_an_alert(
    progress: Progress,
) -> None:
    for channel in ("amer", "emea", None):
        progress.waits(channel, LATER)
    progress.record("emea", AlertStatus.FAILED)
    _, channels = progress.now()
    assert {name: one.waits_at(LATER - timedelta(seconds=1)) for name, one in channels.items()} == {
        "": True,
        "amer": True,
        "emea": False,
    }
    assert not channels["amer"].waits_at(LATER)


def test_channel_without_alerts_is_left_out(progress: Progress) -> None:
    before = progress.now()
    progress.record("apac", AlertStatus.SENT)
    progress.waits("apac", LATER)
    assert progress.now() == before
