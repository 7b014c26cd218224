"""Which form of a run an address gives, who gets it, and which forms are taken."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from api.pages.chart import bars, short_money
from api.pages.session import COOKIE, Sessions
from core.ledger import Ledger, open_ledger
from examples.mock_slack import MockSlack
from tests.conftest import services
from tests.delivery.world import MONTH, routed
from tests.ledger.test_settling import leave_unconfirmed
from tests.service import Service, problem_of

TOKEN = "canary-page-token"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def ledger(folder: Path) -> Iterator[Ledger]:
    """Give a ledger with a run that left an alert unconfirmed."""
    opened = open_ledger(f"sqlite:///{folder}/ledger.db")
    leave_unconfirmed(opened, "run", [routed("A-1")])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def open_service(ledger: Ledger, folder: Path) -> Iterator[Service]:
    """Give the API without a token."""
    del ledger
    with MockSlack() as slack, services("http://127.0.0.1:1/api", slack, folder) as start:
        yield start()


@pytest.fixture(scope="module")
def closed_service(ledger: Ledger, folder: Path, open_service: Service) -> Iterator[Service]:
    """Give the API with a token."""
    del ledger, open_service
    with MockSlack() as slack, services("http://127.0.0.1:1/api", slack, folder) as start:
        yield start(API_TOKEN=TOKEN)


def form(**changes: str) -> dict[str, str]:
    """Give what the page's form sends."""
    good = {"run_id": "run", "month": str(MONTH), "account_id": "A-1", "decision": "delivered", "by": "ana"}
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
        ("application/json;q=0.9, text/html;q=0.5", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=nonsense", "application/json"),
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
    ],
)
def test_who_asks_for_html_gets_a_page_and_all_others_json(
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


def test_what_is_not_there_is_a_page_too_with_the_same_status(open_service: Service) -> None:
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
        {"Sec-Fetch-Site": "cross-site", "Origin": "own"},
    ],
)
def test_a_form_of_another_site_settles_nothing_and_logs_nobody_in(
    open_service: Service, ledger: Ledger, headers: dict[str, str]
) -> None:
    given = {name: open_service.url if value == "own" else value for name, value in headers.items()}
    for path in ("/pages/settle", "/pages/login", "/pages/logout"):
        answer = open_service.client.post(path, data=form(), headers=given)
        assert (answer.status_code, problem_of(answer)["code"]) == (422, "invalid_request")
    assert ledger.history.outcome(MONTH, "A-1").status == "unconfirmed"


def test_what_a_form_gets_wrong_is_said_on_the_page_and_changes_nothing(
    open_service: Service, ledger: Ledger
) -> None:
    wrong: list[tuple[dict[str, str], int]] = [
        ({"by": ""}, 422),
        ({"decision": "sent"}, 422),
        ({"month": "January"}, 422),
        ({"account_id": "A-9"}, 404),
        ({"run_id": "no-such-run"}, 404),
    ]
    for change, status in wrong:
        answer = open_service.client.post(
            "/pages/settle",
            data=form(**change),
            headers={"Origin": open_service.url, "Accept": BROWSER},
        )
        assert answer.status_code == status, change
        assert 'role="alert"' in answer.text
    for body in (b"\xff\xfe", b"&" * 50, b"%zz", b"", b"run_id=run&by=Ana"):
        answer = open_service.client.post("/pages/settle", content=body, headers=OWN)
        assert answer.status_code in {404, 422}
    assert ledger.history.outcome(MONTH, "A-1").status == "unconfirmed"
    assert "A defect" not in open_service.log.getvalue()


def log_in(service: Service, token: str, after: str = "/runs/run") -> httpx.Response:
    """Send the login form."""
    return httpx.post(f"{service.url}/pages/login", data={"token": token, "after": after}, headers=OWN)


def test_a_browser_logs_in_with_the_token_and_gets_a_cookie_that_is_not_it(closed_service: Service) -> None:
    url = closed_service.url
    asked = httpx.get(f"{url}/runs/run", headers={"Accept": BROWSER})
    assert (asked.status_code, asked.headers["www-authenticate"]) == (401, "Bearer")
    assert 'name="token"' in asked.text
    assert httpx.get(f"{url}/runs/run").headers["content-type"] == "application/problem+json"
    assert log_in(closed_service, "wrong").status_code == 401
    answer = log_in(closed_service, TOKEN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/run")
    kept = answer.headers["set-cookie"]
    assert TOKEN not in kept
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(kept.split("; "))
    cookie = {"Cookie": kept.split(";")[0]}
    assert httpx.get(f"{url}/runs/run", headers=cookie | {"Accept": BROWSER}).status_code == 200
    # A cookie looks and settles; it starts no run.
    assert httpx.post(f"{url}/runs", headers=cookie, json={}).status_code == 401
    assert httpx.post(f"{url}/outcomes/{MONTH}/A-1/settle", headers=cookie, json={}).status_code == 401
    assert httpx.post(f"{url}/pages/settle", data=form(), headers=OWN).status_code == 401
    assert TOKEN not in closed_service.log.getvalue()


@pytest.mark.parametrize(
    "after", ["https://evil.example", "//evil.example", "/\\evil.example", "/runs\\..", "javascript:x", ""]
)
def test_a_login_leads_to_no_other_place(closed_service: Service, after: str) -> None:
    assert log_in(closed_service, TOKEN, after).headers["location"] == "/runs"


def test_only_a_cookie_of_ours_and_of_today_opens() -> None:
    sessions = Sessions(TOKEN)
    good = sessions.new_cookie()
    until, _, signature = good.partition(".")
    bad: list[Any] = [
        "",
        ".",
        until,
        signature,
        f"{int(until) + 1}.{signature}",
        f"{until}.{signature[:-1]}",
        f"{until}.ü",
        Sessions("another token").new_cookie(),
        sessions.new_cookie(time.time() - 13 * 3600),
    ]
    # Beside those of other programs of this host, whatever they are called.
    for others in ("a=b", "a/b=1", "{}=1; ,", '"'):
        assert sessions.is_open(Headers({"cookie": f"{others}; {COOKIE}={good}"})), others
    assert [one for one in bad if sessions.is_open(Headers({"cookie": f"{COOKIE}={one}"}))] == []
    assert not sessions.is_open(Headers())


def test_bars_stand_on_their_floor_within_the_drawing_whatever_they_show() -> None:
    for count in (1, 2, 7, 24):
        drawn = bars([(str(n), n * 10**12 - 1, "x") for n in range(count)])
        assert all(bar.y + bar.height == pytest.approx(146, abs=0.2) for bar in drawn)
        assert all(bar.x >= 0 and bar.x + bar.width <= 480 and bar.height >= 0 for bar in drawn)
        assert sum(bar.named for bar in drawn) <= 8
        assert drawn[-1].named
    assert bars([]) == []
    assert bars([("a", 0, "0")])[0].height == 0


@pytest.mark.parametrize(
    ("dollars", "written"),
    [(0, "$0"), (950, "$950"), (999, "$999"), (12_345, "$12.3K"), (999_600, "$1M"), (4_560_000, "$4.56M")],
)
def test_dollars_are_written_short(dollars: int, written: str) -> None:
    assert short_money(dollars) == written
