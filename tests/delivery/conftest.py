"""Fixtures of the delivery tests."""

from collections.abc import Iterator

import pytest

from tests.slack.hostile import HostileSlack


@pytest.fixture
def slack() -> Iterator[HostileSlack]:
    """Yield a Slack with scripted answers."""
    with HostileSlack() as server:
        yield server
