"""Which requests get a page instead of JSON, and which forms are accepted."""

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.ledger import Ledger, open_ledger
from tests.conftest import Serve
from tests.delivery.world import (
    MONTH,
    NOW,
    begin,
    failed,
    key,
    leave_unconfirmed,
    outcome_of,
    record,
    routed,
    sent,
)
from tests.service import Service, problem_of

TOKEN = "canary-page-token"
RESOLVE = "/pages/runs/run/resolve"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def ledger(folder: Path) -> Iterator[Ledger]:
    """Yield a ledger with a run that left an alert unconfirmed."""
    opened = open_ledger(f"sqlite:///{folder}/ledger.db")
    leave_unconfirmed(opened, "run", routed("A-1"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def open_service(ledger: Ledger, serve: Serve) -> Service:
    return serve()


@pytest.fixture(scope="module")
def closed_service(open_service: Service, serve: Serve) -> Service:
    """Return the API with a token; the log of both services is its log."""
    return serve(API_TOKEN=TOKEN)


def page_of(service: Service, path: str) -> str:
    """Return the page that a browser gets."""
    return service.client.get(path, headers={"Accept": BROWSER}).text


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


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        (form(by=""), 422, "invalid_request"),
        (form(decision="sent"), 422, "invalid_request"),
        (form(month="January"), 422, "invalid_request"),
        (form(account_id="A-9"), 404, "outcome_not_found"),
        (form(note="x" * 300_000), 413, "request_too_large"),
        ({}, 422, "invalid_request"),
    ],
)
def test_refused_form_changes_nothing_and_is_a_page(
    open_service: Service, ledger: Ledger, fields: dict[str, str], status: int, code: str
) -> None:
    answer = open_service.client.post(RESOLVE, data=fields, headers=OWN | {"Accept": BROWSER})
    assert answer.status_code == status
    assert f'role="alert"><strong>{code}</strong>' in answer.text
    assert outcome_of(ledger, key("A-1")).status == "unconfirmed"


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&" * 50, b"%zz", b"run_id=run&by=Ana"])
def test_body_that_is_no_form_is_refused(open_service: Service, body: bytes) -> None:
    answer = open_service.client.post(RESOLVE, content=body, headers=OWN)
    assert (answer.status_code, problem_of(answer)["code"]) == (422, "invalid_request")


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
    for path in ("/runs", "/runs/run"):
        assert client.get(path, headers=headers | {"Accept": BROWSER}).status_code == 200
    for path in ("/docs", "/openapi.json"):
        assert client.get(path, headers=headers).status_code == 200
    # Browsers ask for the icon where the answer is no page.
    assert client.get("/favicon.ico", headers=headers).status_code == 404
    assert TOKEN not in closed_service.log.getvalue()


def test_password_is_for_pages_alone(closed_service: Service) -> None:
    """A browser adds the password that it knows to a request that a page of another site sends."""
    client, page = closed_service.client, basic(TOKEN) | {"Accept": BROWSER}
    for path in ("/runs", "/metrics"):
        answer = client.get(path, headers=basic(TOKEN))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    for path in ("/runs", "/preview", f"/outcomes/{MONTH}/A-1/resolve"):
        assert client.post(path, headers=basic(TOKEN)).status_code == 401
        assert client.post(path, headers=page).status_code == 401
    assert client.get("/runs", headers=page).status_code == 200


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
    headers = httpx.Headers({"Authorization": value, "Accept": BROWSER}, encoding="latin-1")
    assert closed_service.client.get("/runs", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (OWN, "outcome_not_found"),
        ({"Origin": "own"}, "outcome_not_found"),
        ({}, "invalid_request"),
        ({"Sec-Fetch-Site": "cross-site"}, "invalid_request"),
        ({"Sec-Fetch-Site": "same-site"}, "invalid_request"),
        ({"Sec-Fetch-Site": "none"}, "invalid_request"),
        ({"Origin": "null"}, "invalid_request"),
        ({"Origin": "http://evil.example"}, "invalid_request"),
        ({"Origin": "http://["}, "invalid_request"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "own"}, "invalid_request"),
    ],
)
def test_form_of_another_site_is_refused(closed_service: Service, headers: dict[str, str], code: str) -> None:
    given = {name: closed_service.url if value == "own" else value for name, value in headers.items()}
    answer = closed_service.client.post(RESOLVE, data=form(account_id="A-9"), headers=basic(TOKEN) | given)
    assert problem_of(answer)["code"] == code


@pytest.mark.parametrize("path", ["/runs", "/preview", f"/outcomes/{MONTH}/A-1/resolve"])
def test_another_site_may_not_send_json(open_service: Service, closed_service: Service, path: str) -> None:
    """The browser's CORS preflight, an OPTIONS request without the password, is not granted."""
    asks = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for service, status in ((open_service, 405), (closed_service, 401)):
        answer = service.client.options(path, headers=asks)
        assert answer.status_code == status
        assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize(
    ("path", "month"),
    [("/runs", "2026-01"), ("/runs?month=2026-01-01", "2026-01"), ("/runs?month=2020-05-01", "2020-05")],
)
def test_months_of_the_listed_runs_are_offered(open_service: Service, path: str, month: str) -> None:
    page = page_of(open_service, path)
    assert re.findall(r'month=([0-9-]+)"[^>]*>([0-9-]+)</a>', page) == [(f"{month}-01", month)]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/runs?month=2026-01-15", "invalid_request"),
        ("/runs?limit=0", "invalid_request"),
        ("/runs?status=nonsense", "invalid_request"),
        ("/runs/<b>x", "run_not_found"),
        ("/no/such/path", "not_found"),
        ("/preview", "method_not_allowed"),
    ],
)
def test_problem_is_a_page_in_a_browser(open_service: Service, path: str, code: str) -> None:
    found = problem_of(open_service.client.get(path))
    answer = open_service.client.get(path, headers={"Accept": BROWSER})
    assert (found["code"], found["status"]) == (code, answer.status_code)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f"<strong>{code}</strong>" in answer.text
    assert "<b>x" not in answer.text


def test_open_alerts_are_listed_by_status(ledger: Ledger, open_service: Service) -> None:
    record(ledger, "mixed", {routed("B-1"): sent("B-1"), routed("B-2"): None, routed("B-3", None): None})
    page = page_of(open_service, "/runs/mixed")
    for section, account_id in (("unconfirmed", "B-2"), ("failed", "B-3")):
        listed = page.partition(f'<h2 id="{section}">')[2].partition("</section>")[0]
        assert set(re.findall(r"B-\d", listed)) == {account_id}
    # The other counts are shown elsewhere.
    assert re.findall(r"</b> ([^<]+)<", page) == [
        "at risk",
        "below the ARR threshold",
        "sent",
        "failed or unconfirmed",
        "unconfirmed",
    ]


def test_unlisted_alerts_count_for_their_reason(
    ledger: Ledger, open_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.pages.SHOWN", 2)
    unrouted = {routed(f"F-{number}", None): None for number in range(3)}
    record(ledger, "many", {**unrouted, routed("F-9"): failed("F-9")})
    page = page_of(open_service, "/runs/many")
    found = re.findall(r'<h3><code>(\w+)</code> <span class="tally">(\d)</span>.*\n.*What to do:', page)
    assert found == [("server_error", "1"), ("unknown_region", "3")]
    listed = page.partition('<h2 id="failed">')[2].partition("</section>")[0]
    assert set(re.findall(r"F-\d", listed)) == {"F-0", "F-1"}
    assert listed.count("All are in <code>GET /runs/many/alerts?status=failed</code>") == 2


def test_name_of_a_person_reorders_no_text(ledger: Ledger, open_service: Service) -> None:
    leave_unconfirmed(ledger, "decided", routed("P-1"))
    decision = {"decision": "delivered", "by": "ana\u202e", "note": "seen\u202e"}
    assert open_service.client.post(f"/outcomes/{MONTH}/P-1/resolve", json=decision).status_code == 200
    page = page_of(open_service, "/runs/decided")
    assert "by ana , " in page
    assert "\u202e" not in page


def test_dry_run_shows_neither_outcomes_nor_a_notification(ledger: Ledger, open_service: Service) -> None:
    """A dry run, a failed run and a running one notify no one, although alerts are open."""
    begin(ledger, "dry", [routed("D-1", None)], dry_run=True)
    ledger.finish("dry", None, NOW)
    record(ledger, "after-it", {routed("D-1"): sent("D-1")})
    page = page_of(open_service, "/runs/dry")
    assert "D-1" in page
    assert "another run" not in page
    assert "<dt>Support</dt><dd>none sent</dd>" in page
