"""When Prefect fails, a run is either not begun or ends, and the ledger answers in bounded time."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import task
from prefect.settings import temporary_settings

from core.domain import OrchestratorUnreachable, RunRequest, RunStatus, SourceNotFound
from core.run import prepare_run
from core.runtime import load_settings
from flows import artifacts, prefect_engine
from flows.prefect_engine import probe
from flows.start import run_month
from tests.cli.calling import run_python
from tests.faults.proxy import Proxy
from tests.faults.world import ACCOUNTS, World, new_world
from tests.service import MONTH
from tests.waiting import HANG_SECONDS, until

LATE = 60
"""The contract's limit for an answer after the end of its run; elsewhere a bound on hanging."""


@pytest.fixture
def world(prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Yield a source, ledger, Slack and Prefect, with short time limits after the end of a run."""
    monkeypatch.setattr(prefect_engine, "FINISH_SECONDS", 2)
    monkeypatch.setattr(prefect_engine, "DRAIN_SECONDS", 0.1)
    monkeypatch.setattr(artifacts, "PUBLISH_SECONDS", 1)
    with new_world(tmp_path, prefect_api) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
        # Otherwise, Prefect's workers would send the rest of their events during later tests.
        prefect_engine.drain()


def run(world: World, **request: Any) -> float:
    """Run the month; return the seconds between the end of the run and the answer."""
    asked = RunRequest(request.get("source", world.source), date.fromisoformat(MONTH))
    with temporary_settings({"api.url": world.proxy.url}):
        run_month(prepare_run(asked, load_settings()))
    return since_the_end(world)


def since_the_end(world: World) -> float:
    """Return the seconds since the ledger closed the latest run."""
    finished = world.runs[0].finished_at
    return (datetime.now(UTC) - finished).total_seconds()


def assert_all_sent(world: World) -> None:
    [stored] = world.runs
    assert (stored.status, stored.counts.alerts_sent) == (RunStatus.SUCCEEDED, len(ACCOUNTS))
    assert world.slack.accounts == ACCOUNTS


def assert_nothing_begun(world: World) -> None:
    assert world.runs == []
    assert world.slack.messages == []


def missed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about records that Prefect missed."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("flows.")
    ]


# The batch job, with the real time limits. It is started first and awaited last.


@dataclass
class Job:
    """A batch job: its world, and its exit code, output and end time once it has ended."""

    world: World
    ended: "Future[tuple[int, str, str, datetime]]"


@pytest.fixture(scope="module", autouse=True)
def jobs(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Job]]:
    """Start one batch job for each way in which Prefect fails permanently."""
    command = ("-m", "flows.monthly_risk_alerts", "--json", "--month", MONTH, "--source-uri")

    def work(world: World) -> tuple[int, str, str, datetime]:
        ended = run_python(*command, world.source, **world.environment)
        return ended.returncode, ended.stdout, ended.stderr, datetime.now(UTC)

    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor())
        begun = {}
        for fault in ("die", "hang"):
            made = stack.enter_context(new_world(tmp_path_factory.mktemp(fault), prefect_api))
            made.slack.act = getattr(made.proxy, fault)
            begun[fault] = Job(made, threads.submit(work, made))
        yield begun


def break_after_probe(
    world: World, patch: pytest.MonkeyPatch, fault: Callable[[Proxy], None], begin_seconds: float = LATE
) -> None:
    """Make Prefect fail once it has answered the probe; from then on, the run must begin in this time."""

    def answer_once(url: str) -> None:
        probe(url)
        fault(world.proxy)
        patch.setattr(prefect_engine, "BEGIN_SECONDS", begin_seconds)

    patch.setattr(prefect_engine, "probe", answer_once)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Proxy.hang, "no answer in 3 s"),
        (Proxy.die, "Failed to reach API"),
        (lambda proxy: proxy.fail(503), "no answer in 3 s"),
    ],
    ids=["hangs", "dies", "stays busy"],
)
def test_prefect_failing_after_the_probe_begins_no_run(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Proxy], None], why: str
) -> None:
    break_after_probe(world, monkeypatch, fault, begin_seconds=3)
    began = time.monotonic()
    words = f"did not begin the run, and nothing was sent: {why}"
    with pytest.raises(OrchestratorUnreachable, match=words) as caught:
        run(world)
    assert time.monotonic() - began < LATE
    assert "\n" not in caught.value.message
    assert_nothing_begun(world)


def test_busy_prefect_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of runs locks Prefect's SQLite database."""
    break_after_probe(world, monkeypatch, lambda proxy: proxy.fail(503, times=2))
    run(world)
    assert_all_sent(world)


def test_run_begun_after_giving_up_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_engine, "BEGIN_SECONDS", 0)
    # Flows of other tests may still wait for a Prefect that failed.
    before = threading.enumerate()
    with pytest.raises(OrchestratorUnreachable, match="did not begin"):
        run(world)
    until(lambda: "flow" not in [thread.name for thread in threading.enumerate() if thread not in before])
    assert_nothing_begun(world)


@pytest.mark.parametrize(
    ("fault", "seconds", "words"),
    [(Proxy.hang, 2, "no answer in 2 s"), (lambda proxy: proxy.fail(500), 30, "HTTP 500")],
    ids=["hangs", "answers 500"],
)
def test_prefect_failing_in_the_middle_costs_no_alert(
    world: World,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Proxy], None],
    seconds: int,
    words: str,
) -> None:
    monkeypatch.setattr(prefect_engine, "FINISH_SECONDS", seconds)
    world.slack.act = lambda: fault(world.proxy)
    assert run(world) < LATE
    assert_all_sent(world)
    report, end = missed(caplog)
    run_id = world.runs[0].run_id
    assert report.startswith(f"Prefect missed the report of run {run_id}, which the ledger has (")
    assert end.startswith(f"Prefect missed the end of run {run_id}, which the ledger has (")
    assert words in end
    assert "\n" not in report + end


def test_slow_prefect_in_the_middle_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_engine, "FINISH_SECONDS", HANG_SECONDS)
    world.slack.act = lambda: world.proxy.delay(0.6)
    run(world)
    assert_all_sent(world)
    assert all(line.startswith("Prefect missed the report of run") for line in missed(caplog))


def test_error_of_a_run_is_reported_without_prefect(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_window(*_: object, **__: object) -> None:
        world.proxy.die()
        raise SourceNotFound("gone")

    monkeypatch.setattr("flows.monthly_risk_alerts.load_window", task(load_window))
    with pytest.raises(SourceNotFound, match="gone") as caught:
        run(world)
    [stored] = world.runs
    assert (stored.run_id, stored.status) == (caught.value.run_id, RunStatus.FAILED)
    assert since_the_end(world) < LATE
    assert f"Prefect missed the end of run {stored.run_id}" in missed(caplog)[-1]


@pytest.mark.parametrize("fault", ["die", "hang"])
def test_batch_job_ends_when_prefect_fails_permanently(jobs: dict[str, Job], fault: str) -> None:
    job = jobs[fault]
    code, out, err, when = job.ended.result()
    finished = job.world.runs[0].finished_at
    assert code == 0, err
    assert json.loads(out)["status"] == "succeeded"
    assert_all_sent(job.world)
    assert (when - finished).total_seconds() < LATE
    lines = [line for line in err.splitlines() if "Prefect" in line]
    assert len(lines) == 2, err
    assert "Prefect missed the report of run" in lines[0]
    assert "Prefect missed the end of run" in lines[1]
    assert "Traceback" not in err
