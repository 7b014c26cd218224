"""Runs against a real Prefect server, one story told by one process: see `probe_flow.scenario`."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.orchestrator import PATIENCE_SECONDS
from tests.orchestration.conftest import start_probe

STORY_SECONDS = 300
"""The longest that it may take on a busy machine; on a quiet one it takes forty."""
pytestmark = pytest.mark.timeout(STORY_SECONDS + 10)


@pytest.fixture(scope="module")
def story(prefect_home: Path) -> dict[str, dict[str, Any]]:
    process = start_probe(prefect_home, "scenario")
    out, err = process.communicate(timeout=STORY_SECONDS)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, err
    steps = {line["step"]: line for line in lines if "step" in line}
    return {**steps, "effects": {"count": sum("effect" in line for line in lines)}, "stderr": {"text": err}}


def test_six_threads_share_one_server_and_mix_no_runs(story: dict[str, dict[str, Any]]) -> None:
    assert story["six"]["values"] == [str(n) for n in range(6)]
    assert story["six"]["ids"] == 6


def test_what_the_flow_raises_comes_out_as_itself(story: dict[str, dict[str, Any]]) -> None:
    assert story["domain"]["type"] == "SourceNotFound"
    assert story["bug"]["type"] == "KeyError"


def test_our_logs_show_under_the_flow_run_with_secrets_masked(story: dict[str, dict[str, Any]]) -> None:
    assert "number 3, password ***" in story["logs"]["texts"]
    assert "hunter2secret" not in json.dumps(story)


def test_no_run_leaves_another_filter_or_handler_behind(story: dict[str, dict[str, Any]]) -> None:
    assert story["filters"]["after one run"] == story["filters"]["after eight"]


def test_a_short_outage_is_waited_out(story: dict[str, dict[str, Any]]) -> None:
    assert story["short"]["result"] == "ok"


def test_a_prefect_that_dies_in_the_middle_stops_no_work_and_is_given_up_in_time(
    story: dict[str, dict[str, Any]],
) -> None:
    assert story["effects"]["count"] == 2
    assert story["dead"]["result"] == "PrefectFailed"
    assert story["dead"]["seconds"] < PATIENCE_SECONDS + 5


def test_a_local_server_that_died_is_replaced_for_the_next_run(story: dict[str, dict[str, Any]]) -> None:
    assert story["again"]["result"] == "8"


def test_the_end_is_bounded_and_prefect_stays_quiet(story: dict[str, dict[str, Any]]) -> None:
    assert story["closed"]["seconds"] < 15
    ours = ("Prefect missed the end of run run-1, which the ledger has", "Prefect's local server has died")
    assert [line for line in story["stderr"]["text"].splitlines() if not line.startswith(ours)] == []
