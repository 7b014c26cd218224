"""The command `uvicorn api.app:app`, and with `--root-path /alerts` behind a proxy that strips the prefix."""

import re
from collections.abc import Iterator

import httpx
import pytest

from core.ledger import open_ledger
from tests.delivery.world import MONTH, leave_unconfirmed, routed
from tests.deployment.processes import uvicorn
from tests.service import closed_port
from tests.waiting import HANG_SECONDS

TOKEN = "canary-proxy-token"
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of the API with a token, a run and a prefix."""
    folder = tmp_path_factory.mktemp("proxy")
    ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
    leave_unconfirmed(ledger, "run", routed("A-1"))
    ledger.close()
    settings = {"API_TOKEN": TOKEN, "PREFECT_API_URL": f"http://127.0.0.1:{closed_port()}/api"}
    with uvicorn(folder, "--root-path", "/alerts", **settings) as (_, address, _):
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """Yield a client that sends requests as such a proxy does."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=HANG_SECONDS
    ) as opened:
        yield opened


def test_only_health_is_open(url: str) -> None:
    assert httpx.get(f"{url}/health", timeout=HANG_SECONDS).status_code == 503
    for path in ("/", "/runs", "/docs", "/health/", "/runs/health", "/no/such/path"):
        assert httpx.get(f"{url}{path}", timeout=HANG_SECONDS).status_code == 401, path


@pytest.mark.parametrize("path", ["/runs", "/runs/run", "/runs/no-such-run"])
def test_page_links_have_the_prefix(client: httpx.Client, path: str) -> None:
    page = client.get(path, headers=BROWSER).text
    links = re.findall(r'(?:href|action)="(?!data:|#)([^"]+)"', page)
    assert links
    assert [link for link in links if not link.startswith("/alerts/")] == []


def test_locations_have_the_prefix(client: httpx.Client) -> None:
    assert client.get("/").json() == {
        "docs": "/alerts/docs",
        "health": "/alerts/health",
        "runs": "/alerts/runs",
    }
    assert client.get("/", headers=BROWSER).headers["location"] == "/alerts/runs"
    body = {"source_uri": "file:///x", "month": str(MONTH)}
    accepted = client.post("/runs", json=body, headers={"Prefer": "respond-async"})
    assert accepted.headers["location"] == f"/alerts/runs/{accepted.json()['run_id']}"
    form = {"month": str(MONTH), "account_id": "A-1", "decision": "delivered", "by": "ana"}
    resolved = client.post("/pages/runs/run/resolve", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert (resolved.status_code, resolved.headers["location"]) == (303, "/alerts/runs/run#unconfirmed")


def test_docs_page_works_behind_a_prefix(client: httpx.Client) -> None:
    page = client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r"url: '([^']+)'", page)
    assert len(loaded) == 4
    for path in loaded:
        assert path.startswith("/alerts/")
        assert client.get(path.removeprefix("/alerts"), auth=("any", TOKEN)).status_code == 200
    assert client.get("/openapi.json").json()["servers"] == [{"url": "/alerts"}]
