"""Which requests get a page instead of JSON, and which forms are accepted."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from core.domain import AlertStatus, Delivery
from core.ledger import Ledger, open_ledger
from examples.mock_slack import MockSlack
from tests.conftest import services
from tests.delivery.world import MONTH, NOW, begin, key, routed
from tests.ledger.test_resolving import leave_unconfirmed
from tests.service import Service, problem_of

TOKEN = "canary-page-token"
RESOLVE = "/pages/runs/run/resolve"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def ledger(folder: Path) -> Iterator[Ledger]:
    """Yield a ledger with a run that left an alert unconfirmed."""
    opened = open_ledger(f"sqlite:///{folder}/ledger.db")
    leave_unconfirmed(opened, "run", [routed("A-1")])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def open_service(ledger: Ledger, folder: Path) -> Iterator[Service]:
    """Yield the API without a token."""
    del ledger
    with MockSlack() as slack, services(slack, folder) as start:
        yield start()


@pytest.fixture(scope="module")
def closed_service(ledger: Ledger, folder: Path, open_service: Service) -> Iterator[Service]:
    """Yield the API with a token."""
    del ledger, open_service
    with MockSlack() as slack, services(slack, folder) as start:
        yield start(API_TOKEN=TOKEN)


def form(**changes: str) -> dict[str, str]:
    """Return the fields that the form of the page sends."""
    good = {"month": str(MONTH), "account_id": "A-1", "decision": "delivered", "by": "ana"}
    return good | changes


@pytest.mark.parametrize("path", ["/runs", "/runs/run"])
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/*", "application/json"),
        ("application/json, text/html", "application/json"),
        ("text/html, application/json;q=0.5", "application/json"),
        ("text/html;charset=utf-8", "text/html; charset=utf-8"),
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
    ],
)
def test_only_a_client_that_asks_for_html_alone_gets_a_page(
    open_service: Service, path: str, accept: str | None, kind: str
) -> None:
    request = open_service.client.build_request("GET", path)
    request.headers.pop("Accept")
    if accept is not None:
        request.headers["Accept"] = accept
    answer = open_service.client.send(request)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert "Accept" in answer.headers["vary"]
    if kind.startswith("text/html"):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"


def test_not_found_is_a_page_with_status_404(open_service: Service) -> None:
    answer = open_service.client.get("/runs/<b>x", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "<b>x" not in answer.text
    assert "run_not_found" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site", "Origin": "own"},
    ],
)
def test_form_of_another_site_is_refused(
    open_service: Service, ledger: Ledger, headers: dict[str, str]
) -> None:
    given = {name: open_service.url if value == "own" else value for name, value in headers.items()}
    answer = open_service.client.post(RESOLVE, data=form(), headers=given)
    assert (answer.status_code, problem_of(answer)["code"]) == (422, "invalid_request")
    assert ledger.history.outcome(MONTH, key("A-1")).status == "unconfirmed"


def test_invalid_form_changes_nothing(open_service: Service, ledger: Ledger) -> None:
    wrong: list[tuple[dict[str, str], int]] = [
        ({"by": ""}, 422),
        ({"decision": "sent"}, 422),
        ({"month": "January"}, 422),
        ({"account_id": "A-9"}, 404),
    ]
    for change, status in wrong:
        answer = open_service.client.post(RESOLVE, data=form(**change), headers=OWN)
        assert answer.status_code == status, change
    for body in (b"\xff\xfe", b"&" * 50, b"%zz", b"", b"run_id=run&by=Ana"):
        answer = open_service.client.post(RESOLVE, content=body, headers=OWN)
        assert answer.status_code == 422
    assert ledger.history.outcome(MONTH, key("A-1")).status == "unconfirmed"
    assert "Internal error" not in open_service.log.getvalue()


@pytest.mark.parametrize(
    ("data", "headers", "code"),
    [
        (form(by=""), OWN, "invalid_request"),
        (form(account_id="A-9"), OWN, "outcome_not_found"),
        (form(note="x" * 300_000), OWN, "request_too_large"),
        ({}, OWN, "invalid_request"),
        (form(), {}, "invalid_request"),
    ],
)
def test_refused_form_is_a_page_with_its_code(
    open_service: Service, data: dict[str, str], headers: dict[str, str], code: str
) -> None:
    answer = open_service.client.post(RESOLVE, data=data, headers=headers | {"Accept": BROWSER})
    assert f'role="alert"><strong>{code}</strong>' in answer.text


def basic(token: str, user: str = "any") -> dict[str, str]:
    """Return the header in which a browser sends a password."""
    return {"Authorization": "Basic " + b64encode(f"{user}:{token}".encode()).decode()}


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/run", "/docs", "/no/such/path"])
def test_browser_without_token_must_sign_in(closed_service: Service, path: str) -> None:
    answer = closed_service.client.get(path, headers={"Accept": BROWSER})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="Account Risk Alerts", charset="UTF-8"'
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "sign in with the API_TOKEN as the password" in answer.text
    assert "set-cookie" not in answer.headers
    program = closed_service.client.get(path)
    assert "must carry the API_TOKEN (scheme Bearer)" in program.text
    assert (program.headers["www-authenticate"], problem_of(program)["code"]) == ("Bearer", "unauthorized")


@pytest.mark.parametrize("user", ["", "any", "zo\u00eb"])
def test_password_opens_pages_and_what_they_load(closed_service: Service, user: str) -> None:
    client, headers = closed_service.client, basic(TOKEN, user)
    docs = client.get("/docs", headers=headers | {"Accept": BROWSER})
    loaded = re.findall(r"/static-offline-docs/[^\"']+", docs.text)
    assert loaded
    for path in ("/runs", "/runs/run"):
        assert client.get(path, headers=headers | {"Accept": BROWSER}).status_code == 200
    for path in ("/docs", "/openapi.json", *loaded):
        assert client.get(path, headers=headers).status_code == 200
    # Browsers ask for the icon where the answer is no page.
    assert client.get("/favicon.ico", headers=headers).status_code == 404
    assert TOKEN not in closed_service.log.getvalue()


def test_password_is_for_pages_alone(closed_service: Service) -> None:
    for method, path in (("POST", "/runs"), ("POST", "/preview"), ("GET", "/runs"), ("GET", "/metrics")):
        answer = closed_service.client.request(method, path, headers=basic(TOKEN))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    page = basic(TOKEN) | {"Accept": BROWSER}
    assert closed_service.client.post("/runs", json={}, headers=page).status_code == 401
    assert closed_service.client.get("/runs", headers=page).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        basic("wrong")["Authorization"],
        basic(f"{TOKEN}x")["Authorization"],
        basic("", TOKEN)["Authorization"],
        f"Basic {TOKEN}",
        f"Basic :{TOKEN}",
        "Basic",
        "Basic !!!",
        "Basic \xe9",
        f"Digest {TOKEN}",
    ],
)
def test_wrong_password_is_refused(closed_service: Service, value: str) -> None:
    headers = httpx.Headers({"Authorization": value}, encoding="latin-1")
    assert closed_service.client.get("/runs", headers=headers).status_code == 401


@pytest.mark.parametrize("headers", [OWN, {"Origin": "own"}])
def test_form_of_this_site_is_accepted(closed_service: Service, headers: dict[str, str]) -> None:
    given = {name: closed_service.url if value == "own" else value for name, value in headers.items()}
    sent = form(account_id="A-9")
    answer = closed_service.client.post(RESOLVE, data=sent, headers=basic(TOKEN) | given)
    assert (answer.status_code, problem_of(answer)["code"]) == (404, "outcome_not_found")


SIMPLE = [
    None,
    "text/plain",
    "text/plain; application/json",
    "text/plain; charset=utf-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
]
"""The content types that a page may send to another site without asking that site first."""


@pytest.mark.parametrize("kind", SIMPLE)
def test_another_site_starts_and_resolves_nothing(
    open_service: Service, closed_service: Service, ledger: Ledger, kind: str | None
) -> None:
    """A browser adds the password that it knows to such a request."""
    run = json.dumps({"source_uri": "file:///x", "month": str(MONTH)})
    decision = json.dumps({"decision": "delivered", "by": "ana"})
    before = open_service.runs()
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example", "Accept": BROWSER}
    headers |= {} if kind is None else {"Content-Type": kind}
    for service, password in ((open_service, {}), (closed_service, basic(TOKEN))):
        for path, body in (
            ("/runs", run),
            ("/preview", run),
            (f"/outcomes/{MONTH}/A-1/resolve", decision),
            (RESOLVE, urlencode(form())),
        ):
            answer = service.client.post(path, content=body, headers=headers | password)
            expected = (401, "unauthorized") if password and path != RESOLVE else (422, "invalid_request")
            assert answer.status_code == expected[0], path
            assert expected[1] in answer.text
    assert open_service.runs() == before
    assert ledger.history.outcome(MONTH, key("A-1")).status == "unconfirmed"


@pytest.mark.parametrize("path", ["/runs", "/preview", f"/outcomes/{MONTH}/A-1/resolve"])
def test_another_site_may_not_send_json(open_service: Service, closed_service: Service, path: str) -> None:
    """A browser asks by OPTIONS, without the password, whether it may send that content type."""
    asks = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for service, status in ((open_service, 405), (closed_service, 401)):
        answer = service.client.options(path, headers=asks)
        assert answer.status_code == status
        assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_index_leads_a_browser_to_the_runs(open_service: Service) -> None:
    answer = open_service.client.get("/", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["location"], answer.headers["vary"]) == (
        303,
        "/runs",
        "Accept",
    )
    assert open_service.get("/") == {"docs": "/docs", "health": "/health", "runs": "/runs"}


def test_column_keeps_the_capitals_of_its_label(open_service: Service) -> None:
    page = open_service.client.get("/runs", headers={"Accept": BROWSER}).text
    assert ">Below the ARR threshold</th>" in page
    assert ">Not delivered</th>" in page


def test_months_of_the_listed_runs_are_offered(open_service: Service) -> None:
    for path in ("/runs", f"/runs?month={MONTH}"):
        page = open_service.client.get(path, headers={"Accept": BROWSER}).text
        assert re.findall(r'month=([0-9-]+)"[^>]*>2026-01</a>', page) == [str(MONTH)]


@pytest.mark.parametrize("path", ["/runs?month=2026-01-15", "/runs?limit=0", "/runs?status=nonsense"])
def test_invalid_filter_is_a_page_in_a_browser(open_service: Service, path: str) -> None:
    answer = open_service.client.get(path, headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "<strong>invalid_request</strong>" in answer.text
    assert problem_of(open_service.client.get(path))["code"] == "invalid_request"


@pytest.mark.parametrize("path", ["/no/such/path", "/preview"])
def test_unknown_path_or_method_is_a_page_in_a_browser(open_service: Service, path: str) -> None:
    answer = open_service.client.get(path, headers={"Accept": BROWSER})
    assert answer.status_code == problem_of(open_service.client.get(path))["status"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_open_alerts_are_listed_by_status(ledger: Ledger, open_service: Service) -> None:
    sent, unconfirmed, _ = alerts = [routed("B-1"), routed("B-2"), routed("B-3", None)]
    begin(ledger, "mixed", alerts)
    for alert in (sent, unconfirmed):
        ledger.claim("mixed", alert, NOW)
    ledger.record_answer("mixed", Delivery(sent.key, AlertStatus.SENT, "amer", sent_at=NOW), NOW)
    ledger.finish("mixed", None, NOW)
    page = open_service.client.get("/runs/mixed", headers={"Accept": BROWSER}).text
    for section, account_id in (("unconfirmed", "B-2"), ("failed", "B-3")):
        listed = page.partition(f'<h2 id="{section}">')[2].partition("</section>")[0]
        assert set(re.findall(r"B-\d", listed)) == {account_id}
