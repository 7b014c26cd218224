"""`Prefer: respond-async` (RFC 7240): the answer does not wait for the run."""

from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.service import COUNTS, MONTH, Service
from tests.waiting import until


def ended(client: httpx.Client, location: str) -> Any:
    """Return the run once it is over; every request for it must find it."""

    def over() -> Any:
        answer = client.get(location)
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
    answer = service.client.post(
        "/runs", json={"source_uri": source, "month": MONTH}, headers=[("Prefer", one) for one in prefer]
    )
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/runs/{answer.json()['run_id']}"
    run = ended(service.client, answer.headers["Location"])
    assert (run["status"], run["counts"]) == ("succeeded", COUNTS)
    assert run["flow_run_id"] is None


@pytest.mark.parametrize(
    "prefer", ["return=minimal", "no-respond-async", 'x="a respond-async b"', "x; respond-async"]
)
def test_other_preference_is_ignored(service: Service, source: str, prefer: str) -> None:
    answer = service.client.post(
        "/runs", json={"source_uri": source, "month": MONTH}, headers={"Prefer": prefer}
    )
    assert answer.status_code == 200


def test_accepted_run_that_cannot_begin_is_failed(serve: Serve, source: str) -> None:
    client = serve(PREFECT_API_URL="http://127.0.0.1:1/api").client
    answer = client.post(
        "/runs", json={"source_uri": source, "month": MONTH}, headers={"Prefer": "respond-async"}
    )
    assert answer.status_code == 202
    run = ended(client, answer.headers["Location"])
    assert (run["status"], run["error"]["code"]) == ("failed", "orchestrator_unreachable")


def test_invalid_async_run_is_refused(service: Service) -> None:
    answer = service.client.post(
        "/runs",
        json={"source_uri": "s3://key:secret@bucket/x.parquet", "month": MONTH},
        headers={"Prefer": "respond-async"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert service.client.get("/runs").json()["runs"] == []
