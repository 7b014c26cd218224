"""The token, and that no answer, log line or stored byte contains a secret."""

import secrets
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from api import middleware
from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.service import MONTH, closed_port, problem_of
from tests.waiting import until

TOKEN = "canary-api-token-1"
NOT_IN_OPENAPI = [
    "/docs",
    "/redoc",
    "/openapi.json",
    "/pages/runs/x/resolve",
    "/no/such/path",
    "/health/",
    "//health",
]


def test_every_endpoint_but_health_needs_the_token(serve: Serve) -> None:
    client = serve(API_TOKEN=TOKEN).client
    described = client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()["paths"]
    calls = [(method, path) for path, methods in described.items() for method in methods]
    calls.remove(("get", "/health"))
    wrong = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer \xe9"},
    ]
    refused = [client.request(*call) for call in calls]
    refused += [client.request(method, path) for path in NOT_IN_OPENAPI for method in ("GET", "POST")]
    refused += [client.get("/runs", headers=httpx.Headers(header, encoding="latin-1")) for header in wrong]
    refused.append(client.get("/runs", params={"token": TOKEN, "access_token": TOKEN}))
    for answer in refused:
        assert (answer.status_code, problem_of(answer)["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert len({answer.content for answer in refused}) == 1
    assert client.get("/health").status_code == 200


def test_token_is_compared_in_constant_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the time of an answer shows how much of a guess is right."""
    compared: list[bytes] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append(given)
        return secrets.compare_digest(given, expected)

    monkeypatch.setattr(middleware, "secrets", SimpleNamespace(compare_digest=compare))
    client = serve(API_TOKEN=TOKEN).client
    for given, status in (("x", 401), (TOKEN[:-1], 401), (TOKEN, 200)):
        assert client.get("/runs", headers={"Authorization": f"Bearer {given}"}).status_code == status
    assert compared == [b"x", TOKEN[:-1].encode(), TOKEN.encode()]


def test_token_opens_everything(serve: Serve) -> None:
    client = serve(API_TOKEN=TOKEN).client
    for scheme in ("bearer", "BEARER", "Bearer ", "Bearer"):
        client.headers["Authorization"] = f"{scheme} {TOKEN}"
        for path in ("/runs", "/docs", "/openapi.json", "/metrics"):
            assert client.get(path).status_code == 200
    openapi = client.get("/openapi.json").json()
    assert openapi["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
    operations = {path: one for path, methods in openapi["paths"].items() for one in methods.values()}
    assert [path for path, one in operations.items() if "security" not in one] == ["/health"]


CANARIES = [TOKEN, "canary-webhook", "canary-smtp-password", "canary-source", "canary-signature"]

URIS_WITH_SECRETS = [
    "s3://canary-source:canary-signature@bucket/x.parquet",
    "https://canary-source:canary-signature@host/x.parquet",
    "https://bucket.s3.amazonaws.com/x.parquet?X-Amz-Signature=canary-signature",
    "gs://bucket/x.parquet?sig=canary-signature",
    "canary-source:canary-signature@host",
]


def test_no_secret_is_answered_logged_or_stored(
    serve: Serve, source: str, slack: MockSlack, tmp_path: Path
) -> None:
    slack.fail("services/canary-webhook", 403)
    service = serve(
        API_TOKEN=TOKEN,
        SLACK_WEBHOOK_BASE_URL="",
        SLACK_WEBHOOK_URL=f"{slack.url}/services/canary-webhook",
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=str(closed_port()),
        SMTP_USERNAME="someone",
        SMTP_PASSWORD="canary-smtp-password",
        LOG_FORMAT="json",
    )
    client = service.client
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    answers = [service.post("/runs", source), service.post("/preview", source)]
    assert answers[0].status_code == 200
    for uri in URIS_WITH_SECRETS:
        for path in ("/runs", "/preview"):
            answer = service.post(path, uri)
            assert problem_of(answer)["code"] in {"invalid_request", "source_scheme_unsupported"}
            assert "run_id" not in answer.json()
            answers.append(answer)
    wrong = {"source_uri": {"canary-source": 1}, "month": "canary-signature", "x": "canary-source"}
    answers.append(client.post("/runs", json=wrong))
    run_path = f"/runs/{answers[0].json()['run_id']}"
    paths = (run_path, f"{run_path}/alerts", "/runs", "/health", f"/runs/{TOKEN}", "/openapi.json")
    answers += [client.get(path) for path in paths]
    assert len(service.runs()) == 1
    run = service.get(run_path)
    assert (run["month"], run["support_notification"]) == (MONTH, "failed")
    assert run["counts"]["failed_deliveries"] == 3
    places = [answer.text for answer in answers] + [service.log.getvalue()]
    places += [path.read_bytes().decode("latin-1") for path in tmp_path.glob("ledger.db*")]
    for place in places:
        assert [canary for canary in CANARIES if canary in place] == [], place[:2000]


def test_internal_error_is_logged_without_secrets(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import runs  # noqa: PLC0415

    def broken(_request: object) -> None:
        raise KeyError(f"a defect that shows {TOKEN}")

    service = serve(API_TOKEN=TOKEN)
    monkeypatch.setattr(runs, "ledger_of", broken)
    answer = service.client.get("/runs", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, problem_of(answer)["code"]) == (500, "internal_error")
    assert "KeyError" not in answer.text
    until(lambda: "a defect that shows ***" in service.log.getvalue(), service.log.getvalue)
    assert TOKEN not in service.log.getvalue()
