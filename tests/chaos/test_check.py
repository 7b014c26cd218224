"""The check of `make chaos` accepts a correct world, and names each broken promise."""

from collections import Counter
from pathlib import Path

import pytest

from core.domain import AlertKey
from core.ledger import Ledger
from tests.chaos.check import World, check, check_secrets
from tests.chaos.slack import DELIVERED, NO_ANSWER, REFUSED
from tests.chaos.tally import Tally
from tests.delivery.world import MONTH, execute, record, routed, sent

SENT, OPEN, NO_CHANNEL = (
    AlertKey("A0001-001", "at_risk"),
    AlertKey("A0001-001", "recovered"),
    AlertKey("A0001-000", "at_risk"),
)
NO_ALERT = AlertKey(NO_CHANNEL.account_id, "recovered")


class Played:
    """A finished, correct world: one alert sent, one unconfirmed, one without a channel."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = World(MONTH.isoformat(), {NO_CHANNEL: "LATAM", SENT: "EMEA", OPEN: "APAC"})
        self.fates = {SENT: Counter([REFUSED, DELIVERED]), OPEN: Counter([NO_ANSWER])}
        self.listed = {(NO_CHANNEL, "UNKNOWN REGION"), (OPEN, "UNCONFIRMED"), (SENT, "FAILED")}

    def broken(self) -> list[str]:
        """Check the world; return the kinds of the broken promises."""
        tally = Tally()
        check(self.world, f"sqlite:///{self.path}", self.fates, self.listed, tally)
        return [promise for promise, _ in tally.broken]


@pytest.fixture
def played(path: Path, ledger: Ledger) -> Played:
    """Return a correct world, which tests then change."""
    delivered, unanswered, no_channel = (
        routed(key.account_id, channel, key.alert_type)
        for key, channel in ((SENT, "emea"), (OPEN, "apac"), (NO_CHANNEL, None))
    )
    record(ledger, "run-1", {delivered: sent(*SENT), unanswered: None, no_channel: None})
    return Played(path)


def test_correct_world_passes(played: Played) -> None:
    assert played.broken() == []


@pytest.mark.parametrize(
    ("key", "fates", "promise"),
    [
        pytest.param(SENT, [DELIVERED, DELIVERED], "duplicates", id="posted twice"),
        pytest.param(SENT, [NO_ANSWER, DELIVERED], "duplicates", id="posted after a request without answer"),
        pytest.param(OPEN, [NO_ANSWER, NO_ANSWER], "duplicates", id="unconfirmed, sent again"),
        pytest.param(NO_CHANNEL, [DELIVERED], "duplicates", id="posted for an unknown region"),
        pytest.param(NO_ALERT, [DELIVERED], "duplicates", id="posted for another type"),
        pytest.param(SENT, [], "losses", id="sent, but not posted"),
        pytest.param(SENT, [REFUSED], "losses", id="sent, but refused"),
        pytest.param(OPEN, [], "others", id="unconfirmed, but no run was harmed"),
    ],
)
def test_requests_that_break_a_promise_are_found(
    played: Played, key: AlertKey, fates: list[str], promise: str
) -> None:
    played.fates[key] = Counter(fates)
    assert played.broken() == [promise]


@pytest.mark.parametrize(
    ("sql", "promises"),
    [
        ("DELETE FROM alert_outcomes WHERE status = 'sent'", ["losses", "unlisted"]),
        ("UPDATE alert_outcomes SET status = 'failed' WHERE status = 'sent'", ["losses"]),
        ("UPDATE alert_outcomes SET status = 'sending' WHERE status = 'sent'", ["losses", "unlisted"]),
        ("UPDATE runs SET status = 'running'", ["others"]),
        ("UPDATE runs SET counts_by_type = json_set(counts_by_type, '$.at_risk.alerts_sent', 9)", ["others"]),
    ],
)
def test_records_that_break_a_promise_are_found(played: Played, sql: str, promises: list[str]) -> None:
    execute(played.path, sql)
    assert played.broken() == promises


@pytest.mark.parametrize(
    "listed",
    [
        [(OPEN, "UNCONFIRMED")],
        [(NO_CHANNEL, "UNKNOWN REGION")],
        [(NO_CHANNEL, "UNKNOWN REGION"), (OPEN, "FAILED")],
    ],
)
def test_alert_that_no_accepted_mail_lists_is_found(
    played: Played, listed: list[tuple[AlertKey, str]]
) -> None:
    played.listed = set(listed)
    assert played.broken() == ["unlisted"]


def test_harmed_run_explains_an_unconfirmed_alert(played: Played) -> None:
    played.fates[OPEN] = Counter()
    played.world.runs_harmed = 1
    assert played.broken() == []


def test_secret_in_any_file_breaks_a_promise(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_bytes(b"\0\1 canary \2")
    (tmp_path / "log").write_text("nothing")
    tally = Tally()
    check_secrets([tmp_path], ["canary", "another"], tally)
    assert tally.broken == [("others", f"canary is in {tmp_path}/prefect/prefect.db")]
