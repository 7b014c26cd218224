"""The check of `make chaos` accepts a correct world, and names each broken promise."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain import AlertKey, AlertStatus, Delivery
from core.ledger import Ledger
from tests.chaos.check import World, check, check_secrets
from tests.chaos.slack import DELIVERED, NO_ANSWER, REFUSED
from tests.chaos.tally import Tally
from tests.delivery.world import MONTH, NOW, begin, execute, new_ledger, routed

SENT, OPEN, NO_CHANNEL = (
    AlertKey("A0001-001", "at_risk"),
    AlertKey("A0001-001", "recovered"),
    AlertKey("A0001-000", "at_risk"),
)
OF_SENT = f"account_id = '{SENT.account_id}' AND alert_type = '{SENT.alert_type}'"


class Played:
    """A finished, correct world: one alert sent, one unconfirmed, one without a channel."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = World(MONTH.isoformat(), {NO_CHANNEL: "LATAM", SENT: "EMEA", OPEN: "APAC"})
        self.fates = {SENT: Counter([REFUSED, DELIVERED]), OPEN: Counter([NO_ANSWER])}
        self.listed = {(NO_CHANNEL, "UNKNOWN REGION"), (OPEN, "UNCONFIRMED"), (SENT, "FAILED")}

    def execute(self, sql: str) -> None:
        """Execute an SQL statement on the ledger."""
        execute(self.path, sql)

    def found(self) -> dict[str, list[str]]:
        """Check the world; return the findings by the promise that they break."""
        tally = Tally()
        check(self.world, f"sqlite:///{self.path}", self.fates, self.listed, tally)
        every = {
            "duplicate": tally.duplicates,
            "loss": tally.losses,
            "unlisted": tally.unlisted,
            "broken": tally.broken,
        }
        return {promise: lines for promise, lines in every.items() if lines}


def play(ledger: Ledger) -> None:
    """Run a month with one alert sent, one without an answer, and one without a channel."""
    sent, unanswered, no_channel = (
        routed(key.account_id, channel, key.alert_type)
        for key, channel in ((SENT, "emea"), (OPEN, "apac"), (NO_CHANNEL, None))
    )
    begin(ledger, "run-1", [no_channel, sent, unanswered])
    for alert, status in ((sent, AlertStatus.SENT), (unanswered, AlertStatus.UNCONFIRMED)):
        ledger.claim("run-1", alert, NOW)
        ledger.record_answer("run-1", Delivery(alert.key, status, alert.channel), NOW)
    ledger.finish("run-1", None, NOW)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    """Return a correct world, which tests then change."""
    path = tmp_path / "ledger.db"
    with new_ledger(path) as ledger:
        play(ledger)
        yield Played(path)


def test_correct_world_passes(played: Played) -> None:
    assert played.found() == {}


@pytest.mark.parametrize(
    "fates",
    [
        pytest.param([DELIVERED, DELIVERED], id="posted twice"),
        pytest.param([NO_ANSWER, DELIVERED], id="posted after a request without an answer"),
    ],
)
def test_alert_posted_twice_is_a_duplicate(played: Played, fates: list[str]) -> None:
    played.fates[SENT] = Counter(fates)
    assert list(played.found()) == ["duplicate"]


def test_unconfirmed_alert_sent_again_is_a_duplicate(played: Played) -> None:
    played.fates[OPEN] = Counter([NO_ANSWER, NO_ANSWER])
    assert list(played.found()) == ["duplicate"]


def test_post_for_an_unknown_region_is_a_duplicate(played: Played) -> None:
    played.fates[NO_CHANNEL] = Counter([DELIVERED])
    assert list(played.found()) == ["duplicate"]


def test_post_of_another_type_is_a_duplicate(played: Played) -> None:
    played.fates[AlertKey(NO_CHANNEL.account_id, "recovered")] = Counter([DELIVERED])
    assert list(played.found()) == ["duplicate"]


@pytest.mark.parametrize(
    "fates", [pytest.param([], id="not asked"), pytest.param([REFUSED], id="which refused")]
)
def test_sent_alert_that_slack_lacks_is_a_loss(played: Played, fates: list[str]) -> None:
    played.fates[SENT] = Counter(fates)
    assert list(played.found()) == ["loss"]


def test_unrecorded_alert_is_a_loss_and_unlisted(played: Played) -> None:
    played.execute(f"DELETE FROM alert_outcomes WHERE {OF_SENT}")  # noqa: S608
    assert list(played.found()) == ["loss", "unlisted"]


@pytest.mark.parametrize("status", ["failed", "sending"])
def test_failed_alert_after_the_last_replay_is_a_loss(played: Played, status: str) -> None:
    played.execute(f"UPDATE alert_outcomes SET status = '{status}' WHERE {OF_SENT}")  # noqa: S608
    played.listed |= {(SENT, "FAILED"), (SENT, "UNCONFIRMED")}
    assert "loss" in played.found()


def test_open_alert_in_no_accepted_mail_is_unlisted(played: Played) -> None:
    for entry in [(NO_CHANNEL, "UNKNOWN REGION"), (OPEN, "UNCONFIRMED")]:
        played.listed.remove(entry)
        found = played.found()
        assert list(found) == ["unlisted"]
        assert [line.split(" is ")[0] for line in found["unlisted"]] == ["{} ({})".format(*entry[0])]
        played.listed.add(entry)


def test_alert_under_another_heading_is_unlisted(played: Played) -> None:
    played.listed = {(NO_CHANNEL, "UNKNOWN REGION"), (OPEN, "FAILED")}
    assert list(played.found()) == ["unlisted"]


def test_too_many_unconfirmed_break_a_promise(played: Played) -> None:
    played.fates[OPEN] = Counter()
    assert list(played.found()) == ["broken"]
    played.world.runs_harmed = 1
    assert played.found() == {}


@pytest.mark.parametrize(
    "change",
    [
        "status = 'running'",
        "counts_by_type = json_set(counts_by_type, '$.at_risk.alerts_sent', 9)",
    ],
)
def test_open_or_inconsistent_run_breaks_a_promise(played: Played, change: str) -> None:
    played.execute(f"UPDATE runs SET {change}")  # noqa: S608
    assert list(played.found()) == ["broken"]


def test_secret_in_any_file_breaks_a_promise(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_bytes(b"\0\1 canary \2")
    (tmp_path / "log").write_text("nothing")
    tally = Tally()
    check_secrets([tmp_path], ["canary", "another"], tally)
    assert tally.broken == [f"canary is in {tmp_path}/prefect/prefect.db"]
