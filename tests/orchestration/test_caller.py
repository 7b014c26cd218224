"""The caller that waits for a run under the engine; a stub stands for Prefect's flow."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from prefect.events import emit_event
from prefect.settings import get_current_settings, temporary_settings
from websockets.sync.server import serve

from core.domain import Interrupted, LedgerError
from core.ledger import Ledger
from core.run import RunContext, open_run
from core.runtime import Settings
from flows import prefect_engine
from flows.artifacts import publish_report
from flows.prefect_engine import drain, run_with_prefect
from tests.delivery.world import REQUEST
from tests.service import closed_port
from tests.waiting import HANG_SECONDS, until

NOWHERE = f"http://127.0.0.1:{closed_port()}/api"


class Stub:
    """A flow that only calls its function."""

    async def fn(self, *_: Any, **__: Any) -> None:
        """Do nothing; `run_with_prefect` replaces this function."""

    def with_options(self, **options: Any) -> "Stub":
        assert options == {"retries": 0}
        return self

    def __call__(self, **parameters: Any) -> Coroutine[Any, Any, None]:
        return self.fn(**parameters)


@pytest.fixture(autouse=True)
def _prefect_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the probe of Prefect succeed."""
    monkeypatch.setattr(prefect_engine, "probe", lambda _: None)


def call(ledger: Ledger, stages: Any, url: str = NOWHERE) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefect_engine, "monthly_risk_alerts", Stub())
        patch.setattr(prefect_engine, "run_stages", stages)
        run_with_prefect(RunContext("run-1", REQUEST, Settings(), ledger), url)


def test_ledger_that_cannot_begin_a_run_ends_the_wait(ledger: Ledger) -> None:
    async def stages(_: RunContext) -> None:
        raise LedgerError("disk on fire")

    with pytest.raises(LedgerError, match="disk on fire"):
        call(ledger, stages)


class Hanging(Stub):
    """A flow that ends, as Prefect sees it, only when the test sets `over`."""

    def __init__(self, run: RunContext, *, begins: bool) -> None:
        self.run, self.begins, self.over, self.ended = run, begins, threading.Event(), False

    async def __call__(self, **parameters: Any) -> None:
        if self.begins:
            await self.fn(**parameters)
        else:
            self.run.stop = True
        await asyncio.to_thread(self.over.wait, HANG_SECONDS)
        self.ended = True


def call_hanging(ledger: Ledger, *, begins: bool) -> None:
    """Run a flow that hangs before it begins or after it is closed; the call must not wait for its end."""

    async def stages(run: RunContext) -> None:
        with open_run(run):
            await asyncio.sleep(0.3)

    run = RunContext("run-1", REQUEST, Settings(), ledger)
    flow = Hanging(run, begins=begins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefect_engine, "monthly_risk_alerts", flow)
        patch.setattr(prefect_engine, "run_stages", stages)
        patch.setattr(prefect_engine, "BEGIN_SECONDS", 2 * HANG_SECONDS)
        patch.setattr(prefect_engine, "FINISH_SECONDS", 0.1)
        try:
            run_with_prefect(run, NOWHERE)
        finally:
            assert not flow.ended
            flow.over.set()


def test_stop_ends_the_wait_for_a_prefect_that_begins_nothing(ledger: Ledger) -> None:
    with pytest.raises(Interrupted):
        call_hanging(ledger, begins=False)
    assert ledger.history.runs().runs == []


def test_prefect_that_hangs_after_a_run_is_not_waited_for(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """The run takes longer than the wait for Prefect after it."""
    call_hanging(ledger, begins=True)
    assert [run.status for run in ledger.history.runs().runs] == ["succeeded"]
    assert "Prefect missed the end of run run-1, which the ledger has (no answer in 0.1 s)" in caplog.text


def test_busy_prefect_is_asked_until_the_caller_gives_up(ledger: Ledger) -> None:
    """Prefect's client doubles its wait, from 2 s on, and adds a jitter."""
    waits: list[float] = []

    async def stages(run: RunContext) -> None:
        with open_run(run):
            settings = get_current_settings()
            longest = 1 + settings.client.retry_jitter_factor
            waits.extend(2**number * longest for number in range(1, settings.client.max_retries + 1))
            # One of the attempts may hang.
            waits.append(settings.api.request_timeout)

    call(ledger, stages)
    assert len(waits) > 4
    assert sum(waits) < prefect_engine.BEGIN_SECONDS


def test_events_for_prefect_cloud_carry_the_key(ledger: Ledger) -> None:
    """Prefect shows the tasks of a run only from its events, and the process may end right after them."""
    keys: list[str | None] = []

    async def stages(run: RunContext) -> None:
        with open_run(run):
            pass

    with serve(
        lambda events: keys.append(events.request.headers.get("Authorization")), "127.0.0.1", 0
    ) as cloud:
        threading.Thread(target=cloud.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{cloud.socket.getsockname()[1]}/api"
        with temporary_settings({"cloud.api_url": url, "api.url": url, "api.key": "canary"}):
            call(ledger, stages, url)
            emit_event("canary", {"prefect.resource.id": "canary"})
            drain()
            until(lambda: keys)
    assert keys[0] == "bearer canary"


def test_log_of_prefect_stays_out_of_ours(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stages(run: RunContext) -> None:
        with open_run(run):
            for name in ("prefect.engine", "EventsWorker", "APILogWorker"):
                logging.getLogger(name).error("canary")
            # Prefect prints what it cannot send.
            assert not logging.raiseExceptions

    call(ledger, stages)
    assert "canary" not in caplog.text + capsys.readouterr().err


def test_run_that_was_not_begun_has_no_report_to_miss(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunContext("run-1", REQUEST, Settings(), ledger, flow_run_id="flow-1")
    asyncio.run(publish_report(run))
    assert caplog.record_tuples == []
