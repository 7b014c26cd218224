"""A list of open alerts is sent once, and again only when it has changed or its mail failed."""

import asyncio
import logging
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest

from core.domain import Alert, AlertStatus, Delivery, Interrupted, RunRequest
from core.ledger import Ledger, RunView, liveness, this_process
from core.run import RunContext, open_run, utc_now
from core.runtime import Settings
from tasks import notify_support as stage
from tests.delivery.world import NOW, OTHER_MONTH, REQUEST, assessment, begin, key, new_ledger, query, routed
from tests.service import closed_port
from tests.support.driver import work
from tests.support.servers import ADDRESS, Mailbox, hang, mail_server, smtp_settings
from tests.waiting import until
from tests.warm import Forked

NO_CHANNEL = routed("A-1", None)
SENT = Delivery(*key(""), AlertStatus.SENT, "amer", sent_at=NOW)
BUSY = Delivery(*key(""), AlertStatus.FAILED, "amer", "server_error", "Slack answered 500", 3)
LOGGED = Settings(smtp_host=None)
DEAD = smtp_settings(closed_port())


@dataclass
class Support:
    """The ledger, and the mailbox of support with the settings that lead to it."""

    ledger: Ledger
    mailbox: Mailbox
    smtp: Settings

    def run(
        self,
        *alerts: Alert,
        answers: Mapping[str, Delivery] | None = None,
        settings: Settings | None = None,
        request: RunRequest = REQUEST,
    ) -> RunView:
        """Run the month on these alerts; Slack's answers are given by account."""
        run_id = str(uuid4())
        with open_run(RunContext(run_id, request, settings or self.smtp, self.ledger)) as under_way:
            for item in self.ledger.plan(run_id, assessment(alerts), alerts, 0, NOW):
                self.ledger.claim(run_id, item, NOW)
                answer = (answers or {})[item.account_id]
                recorded = answer._replace(**item.key._asdict(), channel=item.channel)
                self.ledger.record_answer(run_id, recorded, NOW)
            stage.notify_support.fn(under_way)
        view = self.ledger.history.run(run_id)
        assert view.status == "succeeded"
        return view

    def notified(self, *alerts: Alert, **options: Any) -> str | None:
        """Run the month; return the result of its notification."""
        return self.run(*alerts, **options).support_notification

    @property
    def mails(self) -> list[list[str]]:
        """Return the accounts that each mail names."""
        return [
            [line.rpartition("(")[2][:-1] for line in body.splitlines() if line.startswith("Name of ")]
            for body in self.mailbox.bodies
        ]


@contextmanager
def serving(path: Path, mailbox: Mailbox) -> Iterator[Support]:
    with new_ledger(path) as ledger, mail_server(mailbox) as smtp:
        yield Support(ledger, mailbox, smtp)


@pytest.fixture
def support(path: Path) -> Iterator[Support]:
    with serving(path, Mailbox()) as served:
        yield served


@pytest.mark.parametrize("waits", [False, True])
def test_run_stopped_before_its_mail_leaves_it_to_the_next(
    support: Support, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    """A run may wait for the mails of many other runs; a stop must not wait for them."""
    monkeypatch.setattr(stage, "time", Mock(sleep=Mock(side_effect=AssertionError)))
    begin(support.ledger, "other", owner=this_process())
    support.ledger.heartbeat("other", utc_now())
    if waits:
        support.ledger.claim_notification("other", ADDRESS)
    context = RunContext("stopped", REQUEST, support.smtp, support.ledger)
    with open_run(context):
        support.ledger.plan(context.run_id, assessment([NO_CHANNEL]), [NO_CHANNEL], 0, NOW)
        context.stop = True
        with pytest.raises(Interrupted):
            stage.notify_support.fn(context)
    assert support.mails == []
    support.ledger.finish("other", None, NOW)
    support.run(NO_CHANNEL)
    assert support.mails == [["A-1"]]


def test_replay_without_news_notifies_no_one(support: Support, caplog: pytest.LogCaptureFixture) -> None:
    alerts, answers = (NO_CHANNEL, routed("A-2")), {"A-2": BUSY}
    first = support.run(*alerts, answers=answers)
    assert (first.support_notification, first.support_error) == ("sent", None)
    with caplog.at_level(logging.INFO):
        replay = support.run(*alerts, answers=answers)
    assert support.mails == [["A-1", "A-2"]]
    assert (replay.support_notification, replay.support_error, replay.support_message) == (None, None, None)
    assert "Support was notified of the same 2 open alerts before" in caplog.text


def test_without_a_mail_server_it_is_logged_once(support: Support, caplog: pytest.LogCaptureFixture) -> None:
    """The first run with a mail server sends the list."""
    assert [support.notified(NO_CHANNEL, settings=LOGGED) for _ in range(2)] == ["logged", None]
    assert [support.notified(NO_CHANNEL) for _ in range(2)] == ["sent", None]
    assert support.notified(NO_CHANNEL, settings=LOGGED) is None
    assert caplog.text.count("To support@quadsci.ai") == caplog.text.count("Name of A-1 (A-1)") == 1
    assert support.mails == [["A-1"]]


def test_each_address_and_month_has_its_own_list(support: Support) -> None:
    """For example after a wrong `SUPPORT_EMAIL` that the relay accepted."""
    right = support.smtp.model_copy(update={"support_email": "help@quadsci.ai"})
    other = replace(REQUEST, month=OTHER_MONTH)
    for result in ("sent", None):
        assert support.notified(NO_CHANNEL) == result
        assert support.notified(NO_CHANNEL, settings=right) == result
        assert support.notified(NO_CHANNEL, settings=right, request=other) == result
    assert support.mailbox.recipients == [ADDRESS, "help@quadsci.ai", "help@quadsci.ai"]


def test_dry_run_notifies_no_one(support: Support) -> None:
    assert support.notified(NO_CHANNEL, settings=DEAD) == "failed"
    assert support.notified(NO_CHANNEL, request=replace(REQUEST, dry_run=True)) is None


def test_list_that_grows_by_thousands_is_sent_whole(support: Support) -> None:
    support.run(NO_CHANNEL)
    support.run(*(routed(f"A-{number:04}", None) for number in range(1000)))
    assert [len(accounts) for accounts in support.mails] == [1, 1001]


@pytest.mark.parametrize("refusal", ["451 later", "554 spam"])
def test_failed_mail_is_sent_by_the_next_run(support: Support, refusal: str) -> None:
    alerts = (NO_CHANNEL, routed("A-2"))
    with mail_server(Mailbox(DATA=refusal)) as bad:
        first = support.run(*alerts, answers={"A-2": BUSY}, settings=bad)
    assert first.support_notification == "failed"
    assert refusal in (first.support_error or "")
    assert first.support_message is not None
    assert support.notified(*alerts, answers={"A-2": BUSY}, settings=DEAD) == "failed"
    assert support.notified(*alerts, answers={"A-2": SENT}) == "sent"
    assert support.mails == [["A-1"]]
    assert support.notified(*alerts) is None


def slow_mailbox(*answers: str) -> Mailbox:
    """Return a mailbox that answers slowly, to its first mails with these answers."""
    scripted = chain(answers, repeat("250 OK"))

    async def answer(_server: Any) -> str:
        await asyncio.sleep(0.3)
        return next(scripted)

    return Mailbox(DATA=answer)


@pytest.mark.parametrize("answers", [(), ("451 later",)])
@pytest.mark.parametrize("hours", [0, 1, -1])
def test_only_one_of_concurrent_runs_notifies(
    path: Path, answers: tuple[str, ...], hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the mail of the first run fails, another run sends it; a clock that jumps changes nothing."""

    def beats() -> set[tuple[Any, ...]]:
        return set(query(path, "SELECT run_id, heartbeat_at FROM runs WHERE status = 'running'"))

    def watch(owners: Iterable[object]) -> None:
        # However busy the machine is, no live run is silent.
        before = beats() if list(owners) else set()
        until(lambda: before.isdisjoint(beats()))

    monkeypatch.setattr(stage, "utc_now", lambda: utc_now() + timedelta(hours=hours))
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(liveness, "wait_for_heartbeats", watch)
    with serving(path, slow_mailbox(*answers)) as support, ThreadPoolExecutor(4) as pool:
        notified = list(pool.map(support.notified, [NO_CHANNEL] * 4))
    assert support.mails == [["A-1"]] * (len(answers) + 1)
    assert Counter(notified) == Counter({"sent": 1, "failed": len(answers), None: 3 - len(answers)})


def test_only_one_of_two_processes_notifies(path: Path) -> None:
    """Two containers may run a month at the same time."""
    with serving(path, slow_mailbox()) as support:
        other = Forked(work, path, support.smtp.smtp_port, "A-1")
        until(lambda: support.mails)
        assert support.notified(NO_CHANNEL) is None
        assert other.wait() == 0
    assert support.mails == [["A-1"]]


def test_alert_sent_by_another_run_is_not_listed(support: Support) -> None:
    alert = routed("A-2")
    begin(support.ledger, "slow", [alert], owner=this_process())
    support.ledger.heartbeat("slow", utc_now())
    support.ledger.claim("slow", alert, NOW)
    support.ledger.record_answer("slow", BUSY._replace(**alert.key._asdict()), NOW)
    support.run(alert, answers={"A-2": SENT})
    with open_run(RunContext("late", REQUEST, support.smtp, support.ledger)) as late:
        stage.notify_support.fn(late)
    assert support.mails == []
    assert support.ledger.history.run("late").support_notification is None


@pytest.mark.parametrize("last", ["DATA", "QUIT"], ids=["before the answer", "after it, before the record"])
def test_run_killed_in_the_mail_loses_nothing(support: Support, path: Path, last: str) -> None:
    lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    async def accept_and_lock(_server: Any) -> str:
        # The run gets its answer and cannot record it.
        lock.execute("BEGIN IMMEDIATE")
        return "250 OK"

    mailbox = Mailbox(DATA=hang if last == "DATA" else accept_and_lock)
    with mail_server(mailbox) as settings, closing(lock):
        killed = Forked(work, path, settings.smtp_port, "A-1", "A-2")
        until(lambda: last in mailbox.commands)
        time.sleep(0.2)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    assert query(path, "SELECT status, support_notification FROM runs") == [("running", None)]
    assert support.notified(NO_CHANNEL, routed("A-2", None)) == "sent"
    assert support.mails == [["A-1", "A-2"]]
    [closed] = [view for view in support.ledger.history.runs(limit=9).runs if view.error]
    assert closed.error.code == "interrupted"


def test_waiting_run_takes_over_from_a_killed_one(support: Support, path: Path) -> None:
    mailbox = Mailbox(DATA=hang)
    with mail_server(mailbox) as settings, ThreadPoolExecutor(1) as pool:
        killed = Forked(work, path, settings.smtp_port, "A-1")
        until(lambda: mailbox.mails)
        waiting = pool.submit(support.notified, NO_CHANNEL)
        until(lambda: len(support.ledger.history.runs().runs) == 2)
        time.sleep(0.5)
        assert support.mails == []
        killed.send_signal(signal.SIGKILL)
        assert waiting.result() == "sent"
        assert killed.wait() == -signal.SIGKILL
    assert support.mails == [["A-1"]]
