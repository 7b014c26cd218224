"""What a run tells of itself while it sends."""

from collections import Counter
from datetime import timedelta

import pytest

from core.domain import AlertStatus
from core.runtime import ChannelProgress, Progress, settled_of_all
from tests.delivery.world import NOW, routed

LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def progress() -> Progress:
    """Give that of a run that has alerts for two channels and one for none."""
    progress = Progress()
    progress.planned(8, [routed("A-1", "emea"), routed("A-2"), routed("A-3"), routed("A-4", None)])
    return progress


def test_before_anything_is_read_there_is_nothing_to_tell() -> None:
    assert Progress().now() == (None, {})
    assert settled_of_all({}) == (0, 0)


def test_each_channel_is_told_in_order_with_what_became_of_its_alerts(progress: Progress) -> None:
    progress.settled("amer", AlertStatus.SENT)
    progress.settled("amer", AlertStatus.SENT)
    progress.settled(None, AlertStatus.FAILED)
    rows, channels = progress.now()
    assert rows == 8
    assert list(channels.items()) == [
        ("", ChannelProgress(1, Counter({AlertStatus.FAILED: 1}))),
        ("amer", ChannelProgress(2, Counter({AlertStatus.SENT: 2}))),
        ("emea", ChannelProgress(1)),
    ]
    assert settled_of_all(channels) == (3, 4)
    progress.settled("emea", AlertStatus.SENT)
    assert settled_of_all(channels) == (3, 4), "what was told has changed"


def test_a_channel_waits_until_the_instant_that_was_named_or_an_alert_of_it_is_settled(
    progress: Progress,
) -> None:
    for channel in ("amer", "emea", None):
        progress.waits(channel, LATER)
    progress.settled("emea", AlertStatus.FAILED)
    _, channels = progress.now()
    assert {name: one.waits_at(LATER - timedelta(seconds=1)) for name, one in channels.items()} == {
        "": True,
        "amer": True,
        "emea": False,
    }
    assert not channels["amer"].waits_at(LATER)


def test_a_channel_that_the_run_has_no_alerts_for_is_not_told(progress: Progress) -> None:
    before = progress.now()
    progress.settled("apac", AlertStatus.SENT)
    progress.waits("apac", LATER)
    assert progress.now() == before
