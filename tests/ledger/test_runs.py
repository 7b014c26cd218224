"""Every run is closed, by itself or by the process that finds it dead."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from core.domain import (
    InternalError,
    Interrupted,
    LedgerError,
    Notification,
    NotificationStatus,
    RiskAlertsError,
    SourceNotFound,
    SupportMessage,
    TooManyAlerts,
)
from core.ledger import Ledger, liveness, this_process
from core.ledger.liveness import ProcessIdentity, is_dead
from core.ledger.schema import RUN_ALERTS
from core.run import RunContext, open_run, utc_now
from core.runtime import Settings, current_run_id
from tests.delivery.world import (
    END_OF_RUN,
    GONE,
    ME,
    MONTH,
    NOW,
    OTHER_MONTH,
    REQUEST,
    assessment,
    begin,
    begin_retry,
    close_as_dead,
    execute,
    failed,
    failing,
    key,
    look,
    outcome_of,
    outcomes,
    query,
    routed,
    sent,
)
from tests.machine import needs_proc
from tests.waiting import until


def leave_unclosed(ledger: Ledger, path: Path, run_id: str, error: RiskAlertsError | None = None) -> None:
    """End a begun run while the ledger cannot be written."""
    with failing(path, END_OF_RUN), pytest.raises(LedgerError, match="disk on fire"):
        ledger.finish(run_id, error, NOW)


@pytest.mark.parametrize(
    ("fault", "code", "raised"),
    [
        (SourceNotFound("nothing there"), "source_not_found", SourceNotFound),
        (ZeroDivisionError("a defect"), "internal_error", InternalError),
        (KeyboardInterrupt(), "interrupted", KeyboardInterrupt),
        (SystemExit(143), "interrupted", SystemExit),
        (asyncio.CancelledError(), "interrupted", asyncio.CancelledError),
    ],
)
def test_each_error_is_stored_with_its_run(
    ledger: Ledger,
    caplog: pytest.LogCaptureFixture,
    fault: BaseException,
    code: str,
    raised: type[BaseException],
) -> None:
    with pytest.raises(raised) as caught, open_run(RunContext("run-1", REQUEST, Settings(), ledger)):
        raise fault
    assert caplog.messages[-1].startswith(f"Run run-1 failed: {code}: ")
    assert any(record.exc_info for record in caplog.records) == (code == "internal_error")
    found = look(ledger, "run-1")
    assert (found.view.status, found.error) == ("failed", code)
    if isinstance(caught.value, RiskAlertsError):
        assert caught.value.run_id == "run-1"


@pytest.mark.parametrize("dry_run", [False, True])
def test_alerts_over_the_limit_fail_at_once(ledger: Ledger, *, dry_run: bool) -> None:
    """PostgreSQL would cancel the change of a million alerts at the end, and no other run could begin."""
    ledger.begin_run("over", replace(REQUEST, dry_run=dry_run), ME, None, NOW)
    alerts = [routed(f"A-{number}") for number in range(4)]
    why = r"^4 alerts would be sent, more than MAX_ALERTS_PER_RUN \(2\)"
    with pytest.raises(TooManyAlerts, match=why) as caught:
        ledger.plan("over", assessment(alerts), alerts, 2, NOW)
    planned = "would_send" if dry_run else "pending"
    statuses = [alert.status for alert in ledger.history.alerts("over").alerts]
    assert statuses == [planned, planned, "failed", "failed"]
    ledger.finish("over", caught.value, NOW)
    assert set(look(ledger, "over").statuses.values()) == {"failed"}


def test_successful_run_stops_its_heartbeat(ledger: Ledger) -> None:
    with open_run(RunContext("run-1", REQUEST, Settings(), ledger, flow_run_id="flow-1")) as run:
        assert isinstance(run, RunContext)
        assert current_run_id.get() == "run-1"
        assert any(thread.name == "heartbeat-run-1" for thread in threading.enumerate())
    view = look(ledger, "run-1").view
    assert (view.status, view.error, view.flow_run_id) == ("succeeded", None, "flow-1")
    assert not any(thread.name == "heartbeat-run-1" for thread in threading.enumerate())


def test_end_of_a_run_waits_for_its_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.01)
    began, written = threading.Event(), []

    def beat() -> None:
        began.set()
        time.sleep(0.1)
        written.append(True)

    with liveness.kept_alive("run", beat):
        assert began.wait(60)
    assert written


def test_heartbeat_goes_on_after_a_failure(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.02)
    with open_run(RunContext("run-1", REQUEST, Settings(), ledger)):
        with failing(path, "UPDATE ON runs"):
            until(lambda: "No heartbeat: " in caplog.text)
        [before] = query(path, "SELECT heartbeat_at FROM runs")
        until(lambda: query(path, "SELECT heartbeat_at FROM runs") != [before])


@pytest.mark.parametrize("error", [None, SourceNotFound("nothing there")])
def test_unclosed_run_is_closed_by_the_next_run(
    ledger: Ledger, path: Path, error: RiskAlertsError | None
) -> None:
    """The process lives, and its heartbeat is not stale yet."""
    [alert] = begin(ledger, "run-1", [routed("A-1")])
    ledger.claim("run-1", alert, NOW)
    leave_unclosed(ledger, path, "run-1", error)
    with failing(path, END_OF_RUN), pytest.raises(LedgerError, match="disk on fire"):
        ledger.close_dead_runs(NOW)
    assert ledger.history.run("run-1").status == "running"
    ledger.close_dead_runs(NOW)
    found = look(ledger, "run-1")
    assert found.error == (error.code if error else "ledger_unavailable")
    assert found.statuses == {"A-1": "unconfirmed"}
    # It is closed once.
    execute(path, "UPDATE runs SET status = 'running'")
    ledger.close_dead_runs(NOW)
    assert ledger.history.run("run-1").status == "running"


def test_searches_at_once_close_an_unclosed_run_once(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run of the API searches, in a thread of its own."""
    begin(ledger, "run-1")
    leave_unclosed(ledger, path, "run-1", SourceNotFound("nothing there"))
    write = ledger._database.write

    def write_after_another_search() -> AbstractContextManager[Session]:
        monkeypatch.setattr(ledger._database, "write", write)
        ledger.close_dead_runs(NOW)
        return write()

    monkeypatch.setattr(ledger._database, "write", write_after_another_search)
    ledger.close_dead_runs(NOW + timedelta(seconds=1))
    found = look(ledger, "run-1")
    assert (found.error, found.view.finished_at) == ("source_not_found", NOW)


def test_one_search_closes_every_unclosed_and_dead_run(ledger: Ledger, path: Path) -> None:
    for run_id in ("unclosed-1", "unclosed-2"):
        begin(ledger, run_id)
        leave_unclosed(ledger, path, run_id)
    for run_id in ("dead-1", "dead-2"):
        begin(ledger, run_id, owner=GONE)
    ledger.close_dead_runs(NOW)
    assert [run.status for run in ledger.history.runs().runs] == ["failed"] * 4


def test_no_run_is_dead_while_the_ledger_cannot_be_written(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live run cannot send a heartbeat then, however long the search waits for it."""
    watch = Mock()
    monkeypatch.setattr(liveness, "wait_for_heartbeats", watch)
    begin(ledger, "silent")
    later = NOW + timedelta(minutes=2)
    with failing(path, "UPDATE ON risk_alerts_version"), pytest.raises(LedgerError, match="disk on fire"):
        ledger.close_dead_runs(later)
    assert (watch.called, ledger.history.run("silent").status) == (False, "running")
    ledger.close_dead_runs(later)
    assert (watch.called, ledger.history.run("silent").status) == (True, "failed")


def test_run_that_could_not_be_closed_is_not_logged_as_closed(
    ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begin(ledger, "dead", owner=GONE)
    with failing(path, END_OF_RUN), pytest.raises(LedgerError, match="disk on fire"):
        ledger.close_dead_runs(NOW)
    assert "Closed run" not in caplog.text


def test_run_first_closes_dead_runs(ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alerts = [routed("A-1"), routed("A-2"), routed("A-3", None)]
    ledger.claim("dead", begin(ledger, "dead", alerts, owner=GONE)[0], NOW)
    with open_run(RunContext("run-1", REQUEST, Settings(), ledger)):
        found = look(ledger, "dead")
    assert [message.partition(":")[0] for message in caplog.messages] == ["Closed run dead"]
    assert (found.view.status, found.error) == ("failed", "interrupted")
    assert found.reasons == {"A-1": "process_died", "A-2": "interrupted", "A-3": "unknown_region"}
    assert found.statuses == {"A-1": "unconfirmed", "A-2": "failed", "A-3": "failed"}
    assert (found.view.counts.failed_deliveries, found.view.counts.unconfirmed) == (3, 1)
    assert outcomes(path) == {
        "A-1": ("unconfirmed", "process_died"),
        "A-3": ("failed", "unknown_region"),
    }


def test_accepted_run_gets_its_flow_run(ledger: Ledger) -> None:
    """The API stores a run when it accepts it; the flow begins it later, perhaps after it was closed."""
    for flow_run_id in (None, "flow-1"):
        ledger.begin_run("run", REQUEST, this_process(), flow_run_id, NOW)
    ledger.begin_run("other", REQUEST, this_process(), None, NOW)
    assert ledger.history.run("run").flow_run_id == "flow-1"
    assert ledger.history.run("other").flow_run_id is None
    ledger.finish("run", None, NOW)
    with pytest.raises(Interrupted):
        ledger.begin_run("run", REQUEST, this_process(), "flow-2", NOW)
    assert ledger.history.run("run").flow_run_id == "flow-1"


def test_end_of_a_run_is_stored_with_its_alerts(ledger: Ledger) -> None:
    end = NOW + timedelta(hours=1)
    claim = begin(ledger, "other", [routed("A-3"), routed("A-2")])[0]
    ledger.claim("other", claim, NOW)
    alerts = begin(ledger, "run", [routed("A-1"), routed("A-2")])
    ledger.claim("run", alerts[0], NOW)
    for _ in range(2):
        # The end is written again when the answer to its commit was lost.
        ledger.finish("run", SourceNotFound("gone"), end)
    assert [one.status for one in ledger.history.run("other").sample_alerts] == ["sending", "pending"]
    assert outcome_of(ledger, claim.key).status == "sending"
    view = look(ledger, "run").view
    assert (view.started_at, view.finished_at) == (NOW, end)
    assert [(one.account_id, one.reason, one.error) for one in view.sample_errors] == [
        ("A-1", "process_died", "The run ended between the request and its answer: look in the channel"),
        ("A-2", "source_not_found", "Not tried before the run ended; a later run of the month sends it"),
    ]
    outcome = outcome_of(ledger, key("A-1"))
    assert (outcome.error, outcome.updated_at) == (view.sample_errors[0].error, end)


def test_search_leaves_live_and_closed_runs(ledger: Ledger) -> None:
    """If no run is dead, the search waits for no writer, and for no heartbeat of a run on this host."""
    begin(ledger, "alive", owner=this_process())
    begin(ledger, "over", owner=GONE)
    ledger.finish("over", None, NOW)
    with ledger._database.write():
        ledger.close_dead_runs(NOW, MONTH)
    assert {run.run_id: run.status for run in ledger.history.runs().runs} == {
        "alive": "running",
        "over": "succeeded",
    }


def test_run_with_a_new_heartbeat_stays_open(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = NOW + timedelta(minutes=2)
    for run_id in ("silent", "late"):
        begin(ledger, run_id)
    begin(ledger, "alive", owner=replace(ME, pid=2))
    ledger.heartbeat("alive", now)

    def wait(owners: Iterable[ProcessIdentity]) -> None:
        assert list(owners) == [ME, ME]
        ledger.heartbeat("late", NOW + timedelta(seconds=1))

    monkeypatch.setattr(liveness, "wait_for_heartbeats", wait)
    ledger.close_dead_runs(now)
    statuses = {run.run_id: run.status for run in ledger.history.runs().runs}
    assert statuses == {"silent": "failed", "late": "running", "alive": "running"}
    assert [message.partition(":")[0] for message in caplog.messages] == ["Closed run silent"]


def test_run_takes_over_from_a_killed_container(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its replacement starts within seconds; without it, nothing would report the claimed alert."""
    months = {"killed": MONTH, "alive": MONTH, "of another month": OTHER_MONTH}
    for run_id, month in months.items():
        for alert in begin(ledger, run_id, [routed(run_id)], month=month):
            ledger.claim(run_id, alert, NOW)
        ledger.heartbeat(run_id, utc_now())
    waits: list[list[ProcessIdentity]] = []

    def wait(owners: Iterable[ProcessIdentity]) -> None:
        waits.append(list(owners))
        ledger.heartbeat("alive", utc_now())

    monkeypatch.setattr(liveness, "wait_for_heartbeats", wait)
    for request in (replace(REQUEST, dry_run=True), REQUEST):
        with open_run(RunContext(str(request), request, Settings(), ledger)):
            pass
    assert waits == [[], [ME, ME]]
    assert {run_id: ledger.history.run(run_id).status for run_id in months} == {
        "killed": "failed",
        "alive": "running",
        "of another month": "running",
    }
    assert outcome_of(ledger, key("killed")).status == "unconfirmed"
    assert outcome_of(ledger, key("alive")).status == "sending"


def test_counts_are_stored_when_the_run_is_closed(ledger: Ledger, path: Path) -> None:
    """While it runs, no answer waits for a count of all its alerts."""

    def stored() -> int:
        [(counts,)] = query(path, "SELECT counts_by_type FROM runs")
        return int(json.loads(counts)["at_risk"]["alerts_sent"])

    for alert in begin(ledger, "run", [routed("A-1"), routed("A-2")]):
        ledger.claim("run", alert, NOW)
    ledger.record_answer("run", sent("A-1"), NOW)
    assert stored() == 0
    ledger.finish("run", None, NOW)
    assert stored() == 1
    ledger.record_answer("run", sent("A-2"), NOW)
    assert stored() == 2


@needs_proc
def test_ended_process_is_dead(tmp_path: Path) -> None:
    program = tmp_path / os.fsdecode(b"\xff) Z 1")
    program.symlink_to(shutil.which("sleep") or "")
    child = subprocess.Popen([program, "60"])
    it = replace(this_process(), pid=child.pid, process_started=liveness._start_of(child.pid))
    assert int(it.process_started) > int(this_process().process_started)
    assert not is_dead(it, NOW, NOW)
    assert is_dead(replace(it, process_started="another start"), NOW, NOW)
    child.kill()
    # A zombie, whose parent has not waited for it, counts as dead too.
    until(lambda: is_dead(it, NOW, NOW))
    child.wait()
    assert is_dead(it, NOW, NOW)


def test_ended_process_is_dead_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, on macOS."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    host = this_process().host
    monkeypatch.setattr(liveness.Path, "read_text", missing)
    assert not is_dead(ProcessIdentity(host, os.getpid(), ""), NOW, NOW)
    assert is_dead(ProcessIdentity(host, child.pid, ""), NOW, NOW)


def test_hidden_process_of_another_user_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `/proc` with `hidepid` does not show it; its heartbeat decides."""

    def refuse(*_: object) -> None:
        raise PermissionError

    process = this_process()
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(liveness, "_start_of", lambda _: "")
    assert not is_dead(process, NOW, NOW)
    assert is_dead(process, NOW, NOW + timedelta(seconds=91))


def test_live_process_gets_time_for_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(liveness.time, "sleep", waits.append)
    me = this_process()
    for owners in ([], [GONE], [GONE, GONE]):
        liveness.wait_for_heartbeats(owners)
    assert waits == []
    for owners in ([me], [GONE, me], [ProcessIdentity("another-host", 1, "now")]):
        liveness.wait_for_heartbeats(owners)
    assert len(waits) == 3
    assert min(waits) > liveness.HEARTBEAT_SECONDS


@pytest.mark.parametrize("host", ["another-host", this_process().host])
def test_process_with_a_stale_heartbeat_seems_dead(host: str) -> None:
    process = replace(this_process(), host=host)
    assert not is_dead(process, NOW, NOW + timedelta(seconds=90))
    assert is_dead(process, NOW, NOW + timedelta(seconds=91))
    # A heartbeat in the future: a clock was set back, or the clocks of two hosts differ.
    assert not is_dead(process, NOW + timedelta(seconds=90), NOW)
    assert is_dead(process, NOW + timedelta(seconds=91), NOW)


def test_process_id_belongs_to_its_namespace() -> None:
    host = this_process().host
    name, boot, namespace = host.split("/")
    assert name == socket.gethostname()
    if sys.platform == "linux":
        assert (len(boot), namespace) == (36, str(Path("/proc/self/ns/pid").readlink()))
    other = ProcessIdentity(host + "1", 2**22 + 1, "0")
    assert not is_dead(other, NOW, NOW)


def test_answer_without_an_outcome_stays_with_its_run(ledger: Ledger) -> None:
    begin(ledger, "run", [routed("A-1")])
    assert ledger.record_answer("run", sent("A-1"), NOW) == sent("A-1")
    assert ledger.history.deliveries(MONTH) == {}
    ledger.finish("run", None, NOW)
    assert look(ledger, "run").statuses == {"A-1": "sent"}


def test_late_failure_of_a_retry_stays_unconfirmed(ledger: Ledger) -> None:
    """The attempt before it may have been delivered."""
    alert = begin_retry(ledger, "run")
    ledger.claim("run", alert, NOW)
    close_as_dead(ledger)
    assert ledger.record_answer("run", failed("A-1"), NOW).status == "unconfirmed"


def test_missing_row_is_an_internal_error(ledger: Ledger) -> None:
    [alert] = begin(ledger, "run", [routed("A-1")])
    with ledger._database.write() as connection:
        connection.execute(delete(RUN_ALERTS).where(RUN_ALERTS.c.account_id == "A-1"))
    with pytest.raises(StaleDataError, match="expected to update 1 row"):
        ledger.claim("run", alert, NOW)
    assert ledger.history.deliveries(MONTH) == {}


def test_error_names_a_run_missing_in_the_ledger(ledger: Ledger) -> None:
    for lost in (lambda: ledger.heartbeat("lost", NOW), lambda: ledger.finish("lost", None, NOW)):
        with pytest.raises(LedgerError, match=r"^The run lost is no longer in the ledger: check whether"):
            lost()
    ledger.close_dead_runs(NOW)


@pytest.mark.parametrize("end", ["notified", "closed"])
def test_claim_of_a_notification_ends(ledger: Ledger, end: str) -> None:
    begin(ledger, "first")
    begin(ledger, "other month", month=OTHER_MONTH)
    begin(ledger, "second")

    def claims(run_id: str, address: str = "support") -> bool:
        return ledger.claim_notification(run_id, address)

    assert claims("first")
    assert claims("first"), "the answer to the commit may be lost"
    assert claims("other month")
    assert claims("second", "another address")
    assert not claims("second")
    if end == "notified":
        notification = Notification(SupportMessage("subject", "text"), NotificationStatus.FAILED)
        ledger.record_notification("first", notification, address="support", digest="of a list")
    else:
        ledger.finish("first", None, NOW)
    assert claims("second")
