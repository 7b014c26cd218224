"""A list of open alerts is sent once, and again only when it has changed or its mail failed."""

import asyncio
import logging
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.domain import Alert, AlertStatus, Delivery, Interrupted, LedgerError, RunRequest
from core.ledger import Ledger, RunView, this_process
from core.run import RunContext, new_run_id, open_run
from core.runtime import Settings
from tasks import notify_support as stage
from tests.delivery.world import (
    MONTH,
    NOW,
    OTHER_MONTH,
    assessment,
    begin,
    execute,
    key,
    new_ledger,
    open_at,
    query,
    routed,
)
from tests.service import closed_port
from tests.support.driver import work
from tests.support.servers import ADDRESS, Mailbox, mail_server, smtp_settings
from tests.warm import Forked

NO_CHANNEL = routed("A-1", None)
SENT = Delivery(key(""), AlertStatus.SENT, "amer", sent_at=NOW)
BUSY = Delivery(key(""), AlertStatus.FAILED, "amer", "server_error", "Slack answered 500", 3)
MUTE = Delivery(key(""), AlertStatus.UNCONFIRMED, "amer", "no_answer", "No answer", 1)
LOGGED = Settings(smtp_host=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with new_ledger(path) as opened:
        yield opened


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox) -> Iterator[Settings]:
    with mail_server(mailbox) as settings:
        yield settings


def run(
    ledger: Ledger,
    settings: Settings,
    *alerts: Alert,
    answers: Mapping[str, Delivery] | None = None,
    request: RunRequest | None = None,
) -> RunView:
    """Run the month on these alerts; Slack's answers are given by account."""
    run_id = new_run_id()
    asked = request or RunRequest("file:///source.parquet", MONTH)
    with open_run(RunContext(run_id, asked, settings, ledger)) as under_way:
        for item in ledger.plan(run_id, assessment(alerts), alerts, 0, NOW):
            ledger.claim(run_id, item, NOW)
            answer = (answers or {})[item.account_id]
            ledger.record_answer(run_id, replace(answer, key=item.key, channel=item.channel), NOW)
        stage.notify_support.fn(under_way)
    view = ledger.history.run(run_id)
    assert view.status == "succeeded"
    return view


def listed(mailbox: Mailbox) -> list[list[str]]:
    return [
        [line.rpartition("(")[2][:-1] for line in body.splitlines() if line.startswith("Name of ")]
        for body in mailbox.bodies
    ]


def test_run_stopped_before_its_mail_leaves_it_to_the_next(
    ledger: Ledger, smtp: Settings, mailbox: Mailbox
) -> None:
    """It may wait for the mails of many other runs, and a stop must not take as long."""
    context = RunContext("stopped", RunRequest("file:///source.parquet", MONTH), smtp, ledger)
    with open_run(context):
        ledger.plan(context.run_id, assessment([NO_CHANNEL]), [NO_CHANNEL], 0, NOW)
        context.stop = True
        with pytest.raises(Interrupted):
            stage.notify_support.fn(context)
    assert mailbox.mails == []
    run(ledger, smtp, NO_CHANNEL)
    assert listed(mailbox) == [["A-1"]]


def test_a_replay_without_news_notifies_no_one(
    ledger: Ledger, smtp: Settings, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    alerts, answers = (NO_CHANNEL, routed("A-2")), {"A-2": BUSY}
    first = run(ledger, smtp, *alerts, answers=answers)
    assert (first.support_notification, first.support_error) == ("sent", None)
    with caplog.at_level(logging.INFO):
        replay = run(ledger, smtp, *alerts, answers=answers)
    assert listed(mailbox) == [["A-1", "A-2"]]
    assert (replay.support_notification, replay.support_error, replay.support_message) == (None, None, None)
    assert "Support has the list of the 2 open alerts already" in caplog.text


def test_without_a_mail_server_it_is_logged_once(
    ledger: Ledger, smtp: Settings, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The first run with a mail server sends the list."""
    for settings, result in (
        (LOGGED, "logged"),
        (LOGGED, None),
        (smtp, "sent"),
        (smtp, None),
        (LOGGED, None),
    ):
        assert run(ledger, settings, NO_CHANNEL).support_notification == result
    assert caplog.text.count("To support@quadsci.ai") == 1
    assert listed(mailbox) == [["A-1"]]


def test_each_address_and_month_has_its_own_list(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    """For example after a wrong `SUPPORT_EMAIL` that the relay accepted."""
    right = smtp.model_copy(update={"support_email": "help@quadsci.ai"})
    other = RunRequest("file:///source.parquet", OTHER_MONTH)
    for result in ("sent", None):
        assert run(ledger, smtp, NO_CHANNEL).support_notification == result
        assert run(ledger, right, NO_CHANNEL).support_notification == result
        assert run(ledger, right, NO_CHANNEL, request=other).support_notification == result
    assert mailbox.recipients == [ADDRESS, "help@quadsci.ai", "help@quadsci.ai"]


def test_a_dry_run_notifies_no_one(ledger: Ledger, smtp: Settings, mailbox: Mailbox, path: Path) -> None:
    dry = RunRequest("file:///source.parquet", MONTH, dry_run=True)
    assert run(ledger, smtp, NO_CHANNEL, request=dry).support_notification is None
    assert run(ledger, smtp_settings(closed_port()), NO_CHANNEL).support_notification == "failed"
    assert run(ledger, smtp, NO_CHANNEL, request=dry).support_notification is None
    assert query(path, "SELECT * FROM notifications") == []
    assert run(ledger, smtp, NO_CHANNEL).support_notification == "sent"
    assert listed(mailbox) == [["A-1"]]


def test_list_that_grows_by_thousands_is_sent_whole(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    run(ledger, smtp, NO_CHANNEL)
    run(ledger, smtp, *(routed(f"A-{number:04}", None) for number in range(1000)))
    assert [len(accounts) for accounts in listed(mailbox)] == [1, 1001]


@pytest.mark.parametrize(
    ("alert", "answer"),
    [
        (routed("A-2"), replace(BUSY, reason="rate_limited")),
        (routed("A-2"), MUTE),
        (routed("A-2", "emea"), BUSY),
        (routed("A-2", None), BUSY),
    ],
    ids=["another reason", "now unconfirmed", "another channel", "no channel any more"],
)
def test_a_changed_list_is_sent_whole(
    ledger: Ledger, smtp: Settings, mailbox: Mailbox, alert: Alert, answer: Delivery
) -> None:
    run(ledger, smtp, NO_CHANNEL, routed("A-2"), answers={"A-2": BUSY})
    again = run(ledger, smtp, NO_CHANNEL, alert, answers={"A-2": answer})
    assert again.support_notification == "sent"
    assert list(map(sorted, listed(mailbox))) == [["A-1", "A-2"], ["A-1", "A-2"]]
    assert run(ledger, smtp, NO_CHANNEL, alert, answers={"A-2": answer}).support_notification is None


def test_another_unknown_region_is_news(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    for region in (None, "", "LATAM", "LATAM"):
        run(ledger, smtp, replace(NO_CHANNEL, account_region=region))
    assert len(mailbox.mails) == 3
    assert "  Region:  LATAM\n" in mailbox.bodies[2].replace("\r\n", "\n")


def test_new_error_wording_is_no_news(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    run(ledger, smtp, routed("A-2"), answers={"A-2": BUSY})
    moved = replace(routed("A-2"), account_region="US", arr=1)
    run(ledger, smtp, moved, answers={"A-2": replace(BUSY, error="Slack answered 503", attempts=1)})
    assert len(mailbox.mails) == 1


def test_nothing_open_notifies_no_one(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    run(ledger, smtp)
    run(ledger, smtp, routed("A-2"), answers={"A-2": BUSY})
    for _ in ("sent", "skipped"):
        assert run(ledger, smtp, routed("A-2"), answers={"A-2": SENT}).support_notification is None
    assert listed(mailbox) == [["A-2"]]


def test_each_unconfirmed_try_is_news(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    """A second attempt without an answer may have posted the alert, so a person must look again."""
    alert, answers = routed("A-2"), {"A-2": MUTE}
    run(ledger, smtp, alert, answers=answers)
    assert run(ledger, smtp, alert).support_notification is None
    retry = RunRequest("file:///source.parquet", MONTH, retry_unconfirmed=True)
    for _ in range(2):
        assert run(ledger, smtp, alert, answers=answers, request=retry).support_notification == "sent"
    assert run(ledger, smtp, alert).support_notification is None
    assert listed(mailbox) == [["A-2"]] * 3


@pytest.mark.parametrize("refusal", ["451 later", "554 spam"])
def test_failed_mail_is_sent_by_the_next_run(
    ledger: Ledger, smtp: Settings, mailbox: Mailbox, refusal: str
) -> None:
    alerts = (NO_CHANNEL, routed("A-2"))
    with mail_server(Mailbox(refusal)) as bad:
        first = run(ledger, bad, *alerts, answers={"A-2": BUSY})
    assert first.support_notification == "failed"
    assert refusal in (first.support_error or "")
    assert first.support_message is not None
    gone = run(ledger, smtp_settings(closed_port()), *alerts, answers={"A-2": BUSY})
    assert (gone.status, gone.support_notification) == ("succeeded", "failed")
    assert run(ledger, smtp, *alerts, answers={"A-2": SENT}).support_notification == "sent"
    assert listed(mailbox) == [["A-1"]]
    assert run(ledger, smtp, *alerts).support_notification is None


def test_failed_mail_is_sent_by_a_run_without_news(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    run(ledger, smtp, NO_CHANNEL)
    alerts = (NO_CHANNEL, routed("A-2", None))
    assert run(ledger, smtp_settings(closed_port()), *alerts).support_notification == "failed"
    assert run(ledger, smtp, NO_CHANNEL).support_notification == "sent"
    assert listed(mailbox) == [["A-1"], ["A-1", "A-2"]]


def test_open_alerts_of_a_dead_run_are_listed(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    gone = replace(this_process(), process_started="long ago")
    alerts = (NO_CHANNEL, routed("A-2"))
    [claimed] = begin(ledger, "dead", alerts, owner=gone)
    ledger.claim("dead", claimed, NOW)
    assert run(ledger, smtp, *alerts).support_notification == "sent"
    assert listed(mailbox) == [["A-1", "A-2"]]
    assert "process_died" in mailbox.bodies[0]


def test_unrecorded_mail_is_sent_again(ledger: Ledger, smtp: Settings, mailbox: Mailbox, path: Path) -> None:
    """The mail may have been lost, and two are better than none."""
    execute(
        path,
        "CREATE TRIGGER broken BEFORE INSERT ON notifications BEGIN SELECT RAISE(ABORT, 'disk on fire'); END",
    )
    with pytest.raises(LedgerError, match="disk on fire"):
        run(ledger, smtp, NO_CHANNEL)
    execute(path, "DROP TRIGGER broken")
    assert run(ledger, smtp, NO_CHANNEL).support_notification == "sent"
    assert listed(mailbox) == [["A-1"], ["A-1"]]


class Slow(Mailbox):
    """Answers slowly, and may refuse the first mail."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.scripted = list(answers)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await asyncio.sleep(0.3)
        answer = self.scripted.pop(0) if self.scripted else "250 OK"
        if answer.startswith("250"):
            await super().handle_DATA(server, session, envelope)
        return answer


@pytest.mark.parametrize("answers", [(), ("451 later",)])
def test_of_runs_side_by_side_one_notifies(ledger: Ledger, answers: tuple[str, ...]) -> None:
    """If the mail of the first run fails, another run sends it."""
    slow, views = Slow(*answers), []
    with mail_server(slow) as settings:
        threads = [
            threading.Thread(target=lambda: views.append(run(ledger, settings, NO_CHANNEL))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert listed(slow) == [["A-1"]]
    notified = sorted(str(view.support_notification) for view in views)
    assert notified == sorted(["sent", *["failed"] * len(answers), *["None"] * (3 - len(answers))])


def test_alert_sent_by_another_run_is_not_listed(ledger: Ledger, smtp: Settings, mailbox: Mailbox) -> None:
    alert = routed("A-2")
    begin(ledger, "slow", [alert])
    ledger.claim("slow", alert, NOW)
    ledger.record_answer("slow", replace(BUSY, key=alert.key), NOW)
    run(ledger, smtp, alert, answers={"A-2": SENT})
    with open_run(RunContext("late", RunRequest("file:///source.parquet", MONTH), smtp, ledger)) as late:
        stage.notify_support.fn(late)
    assert mailbox.mails == []
    assert ledger.history.run("late").support_notification is None


class Watched(Mailbox):
    """Signals to the test that a mail has arrived, then answers or hangs."""

    def __init__(self, ledger_to_lock: Path | None = None) -> None:
        super().__init__()
        self.came = threading.Event()
        self.ledger_to_lock = ledger_to_lock
        self.lock: sqlite3.Connection | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await super().handle_DATA(server, session, envelope)
        if self.ledger_to_lock is None:
            self.came.set()
            await asyncio.sleep(60)
        else:
            # The run gets its answer and cannot record it.
            self.lock = sqlite3.connect(self.ledger_to_lock, isolation_level=None, check_same_thread=False)
            self.lock.execute("BEGIN IMMEDIATE")
        return self.answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.came.set()
        return await super().handle_QUIT(server, session, envelope)


@pytest.mark.parametrize("taken", [False, True], ids=["before the answer", "after it, before the record"])
def test_run_killed_in_the_mail_loses_nothing(
    path: Path, smtp: Settings, mailbox: Mailbox, *, taken: bool
) -> None:
    open_at(path).close()
    watched = Watched(path if taken else None)
    with mail_server(watched) as settings:
        killed = Forked(work, path, settings.smtp_port, "A-1", "A-2")
        assert watched.came.wait(300)
        time.sleep(0.2)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    if watched.lock:
        watched.lock.close()
    with closing(open_at(path)) as ledger:
        assert query(path, "SELECT status, support_notification FROM runs") == [("running", None)]
        assert run(ledger, smtp, *(routed(account, None) for account in ("A-1", "A-2"))).support_message
        assert listed(mailbox) == [["A-1", "A-2"]]
        [killed] = [view for view in ledger.history.runs(limit=9).runs if view.error]
        assert killed.error is not None
        assert killed.error.code == "interrupted"
