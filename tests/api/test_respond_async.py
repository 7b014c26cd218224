"""`Prefer: respond-async` (RFC 7240): the answer does not wait for the run."""

from typing import Any

import httpx
import pytest

from api.service import WAITING_FOR_EACH
from flows import start
from tests.conftest import Serve
from tests.service import ASYNC, COUNTS, Service, closed_port, problem_of
from tests.waiting import until


def ended(service: Service, accepted: httpx.Response) -> Any:
    """Return the run once it is over; every request for it must find it."""
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"/runs/{accepted.json()['run_id']}"

    def over() -> Any:
        answer = service.client.get(accepted.headers["Location"])
        assert answer.status_code == 200
        return answer.json() if answer.json()["status"] != "running" else None

    return until(over)


@pytest.mark.parametrize(
    "prefer",
    [
        ["respond-async"],
        ["handling=lenient, Respond-Async; wait=10"],
        ["return=minimal", "respond-async,wait=10", "x"],
    ],
)
def test_respond_async_answers_202_with_location(service: Service, source: str, prefer: list[str]) -> None:
    run = ended(service, service.post("/runs", source, headers=[("Prefer", one) for one in prefer]))
    assert (run["status"], run["counts"], run["flow_run_id"]) == ("succeeded", COUNTS, None)


@pytest.mark.parametrize(
    "prefer", ["return=minimal", "no-respond-async", 'x="a respond-async b"', "x; respond-async"]
)
def test_other_preference_is_ignored(service: Service, source: str, prefer: str) -> None:
    assert service.post("/runs", source, headers={"Prefer": prefer}).status_code == 200


def test_run_without_its_prefect_begins_only_when_accepted(serve: Serve, source: str) -> None:
    service = serve(PREFECT_API_URL=f"http://127.0.0.1:{closed_port()}/api")
    refused = problem_of(service.post("/runs", source))
    assert (refused["status"], refused["code"]) == (503, "orchestrator_unreachable")
    assert service.runs() == []
    run = ended(service, service.post("/runs", source, headers=ASYNC))
    assert (run["status"], run["error"]["code"]) == ("failed", "orchestrator_unreachable")


def test_accepted_run_with_an_internal_error_is_failed(
    serve: Serve, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_month(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(start, "run_month", run_month)
    service = serve()
    run = ended(service, service.post("/runs", source, headers=ASYNC))
    assert (run["status"], run["error"]["code"]) == ("failed", "internal_error")
    assert "RuntimeError: can't start new thread" in service.log.getvalue()


def test_invalid_async_run_is_refused_and_takes_no_place(serve: Serve, source: str) -> None:
    service = serve(API_RUNS_AT_ONCE="1")
    for _ in range(1 + WAITING_FOR_EACH + 1):
        answer = service.post("/runs", "s3://key:secret@bucket/x.parquet", headers=ASYNC)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert service.runs() == []
    assert service.post("/runs", source).status_code == 200
