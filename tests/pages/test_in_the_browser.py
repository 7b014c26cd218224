"""The pages in a real Chromium, over a real uvicorn."""

import json
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest

from core.domain import AlertStatus, Delivery
from core.ledger import Ledger, open_ledger
from examples.devtools import Tab, browser
from examples.mock_slack import MockSlack
from tests.conftest import Serve, services
from tests.delivery.world import (
    MONTH,
    NOW,
    OTHER_MONTH,
    begin,
    key,
    leave_unconfirmed,
    outcome_of,
    record,
    routed,
    sent,
)
from tests.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & {{ 7 * 7 }}\n\u202e\x1b"
TOKEN = "canary-browser-token"
if CHROMIUM is None:
    warnings.warn("NO CHROMIUM: the pages are not looked at in a browser", stacklevel=1)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser(CHROMIUM or "") as opened:
        yield opened


@pytest.fixture(scope="module")
def ledger(folder: Path) -> Iterator[Ledger]:
    """Yield a ledger with two months: alerts sent, without a channel and unconfirmed; names are hostile."""
    opened = open_ledger(f"sqlite:///{folder}/ledger.db")
    begin(opened, "before", [routed("A-1")], month=OTHER_MONTH)
    opened.finish("before", None, NOW)
    no_answer = Delivery(*key(HOSTILE), AlertStatus.UNCONFIRMED, "emea", "no_answer", HOSTILE)
    answers = {routed("A-1"): sent("A-1"), routed("A-2", "emea"): None, routed(HOSTILE, "emea"): no_answer}
    record(opened, "run", {**answers, routed(f"{HOSTILE}2", None): None})
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service(ledger: Ledger, serve: Serve) -> Service:
    return serve(API_TOKEN=TOKEN)


@pytest.fixture
def signed_in(tab: Tab, service: Service) -> Tab:
    tab.open(f"{service.url}/runs/run".replace("://", f"://any:{TOKEN}@"))
    assert tab.status == 200
    tab.complaints.clear()
    return tab


def test_sign_in_holds_for_every_page(signed_in: Tab, service: Service) -> None:
    # A browser asks for /favicon.ico where the answer is no page.
    for path in ("/", "/runs", "/metrics", "/outcomes", "/openapi.json", "/runs/run", "/docs", "/runs"):
        signed_in.open(service.url + path)
        assert signed_in.status == 200, path
    assert signed_in.call("Network.getCookies")["cookies"] == []


def test_hostile_names_are_shown_as_text(signed_in: Tab, service: Service) -> None:
    for scheme in ("light", "dark"):
        signed_in.prefer(scheme)
        signed_in.open(f"{service.url}/runs/run")
        assert signed_in.status == 200
        shown = signed_in.text()
        assert "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & {{ 7 * 7 }}" in shown
        assert signed_in.evaluate("document.querySelectorAll('script, img').length") == 0
        # Light text on a dark background, or the reverse.
        assert signed_in.evaluate(CONTRASTS) == []
    for width in (320, 1280):
        signed_in.size(width, 800)
        signed_in.open(f"{service.url}/runs/run")
        assert signed_in.evaluate("document.documentElement.scrollWidth") <= width
    signed_in.size(800, 800)
    signed_in.open(f"{service.url}/runs?month=2026-01-01&status=succeeded")
    assert signed_in.evaluate("[...document.querySelectorAll('tbody a')].map(a => a.pathname)") == [
        "/runs/run"
    ]
    assert signed_in.evaluate(
        "(list => list.scrollWidth <= list.clientWidth)(document.querySelector('.scroll'))"
    )
    assert signed_in.evaluate(CONTRASTS) == []
    assert signed_in.complaints == []


def test_page_has_headings_names_and_labels(signed_in: Tab, service: Service) -> None:
    signed_in.open(f"{service.url}/runs/run")
    tree = signed_in.tree()
    for role in ("link", "button", "textbox", "region", "table", "form"):
        assert [name for found, name in tree if found == role and not name] == [], role
    roles = [role for role, _ in tree]
    assert {"main", "banner", "columnheader", "rowheader"} <= set(roles)
    levels = signed_in.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert signed_in.evaluate("document.documentElement.lang") == "en"
    ids = signed_in.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_enter_key_in_a_form_decides_nothing(signed_in: Tab, service: Service, ledger: Ledger) -> None:
    """A browser would press the first button, and an alert that is "delivered" is never sent again."""
    leave_unconfirmed(ledger, "enter", routed("E-1"), month=OTHER_MONTH)
    signed_in.open(f"{service.url}/runs/enter")
    signed_in.evaluate("document.forms[0].elements.by.value = 'Zoë'")
    signed_in.evaluate("document.forms[0].onsubmit = event => { self.sent = true; event.preventDefault(); }")
    for field in ("by", "note"):
        signed_in.evaluate(f"document.forms[0].elements.{field}.focus()")
        enter = {"type": "keyDown", "key": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        signed_in.call("Input.dispatchKeyEvent", **enter)
    assert signed_in.evaluate("self.sent") is None


def test_form_resolves_an_alert_once(signed_in: Tab, service: Service, ledger: Ledger) -> None:
    signed_in.open(f"{service.url}/runs/run")
    for account_id, value in ((HOSTILE, "delivered"), ("A-2", "send_again")):
        assert outcome_of(ledger, key(account_id)).status == "unconfirmed"
        chosen = f"form:has(input[value={quote(account_id)!r}]) button[value={value}]"
        signed_in.press(
            chosen, by="Zoë", note=HOSTILE.replace("\n", " ").replace("\x1b", "").replace("\u202e", "")
        )
        assert signed_in.status == 200
        assert f"Resolved as {value.replace('_', ' ')} by Zoë" in signed_in.text()
        assert outcome_of(ledger, key(account_id)).resolutions[0].by == "Zoë"
    assert signed_in.evaluate("document.querySelectorAll('main form').length") == 0
    assert begin(ledger, "next", [routed("A-2", "emea"), routed(HOSTILE, "emea")]) == [routed("A-2", "emea")]
    assert signed_in.complaints == []


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_page_of_another_site_changes_nothing(tab: Tab, ledger: Ledger, folder: Path, token: str) -> None:
    run = {"source_uri": "file:///x", "month": str(MONTH)}
    decision = {"decision": "delivered", "by": "ana"}
    bodies = {
        "/runs": run,
        "/preview": run,
        f"/outcomes/{MONTH}/A-2/resolve": decision,
        "/pages/runs/run/resolve": decision | {"month": str(MONTH), "account_id": "A-2"},
    }
    with MockSlack() as other, services(other, folder) as start:
        attacked = start(API_TOKEN=token)
        before = (ledger.history.runs(), ledger.history.outcomes())
        tab.open(f"{attacked.url}/runs/run".replace("://", f"://any:{token}@"))
        tab.open(other.url.replace("127.0.0.1", "localhost"))
        for path, body in bodies.items():
            arguments = f"{json.dumps(attacked.url + path)}, {json.dumps(body)}"
            tab.call("Runtime.evaluate", expression=f"({ATTACK})({arguments})", awaitPromise=True)
        answers = re.findall(r'"POST (\S+) HTTP/1.1" (\d+)', attacked.log.getvalue())
    assert Counter(path for path, _ in answers) == dict.fromkeys(bodies, 4)
    assert {status for _, status in answers} <= {"401", "422"}
    assert (ledger.history.runs(), ledger.history.outcomes()) == before


ATTACK = """async (url, body) => {
    const text = JSON.stringify(body), fields = new URLSearchParams(body), form = new FormData();
    fields.forEach((value, name) => form.append(name, value));
    const simple = [text, new Blob([text]), fields, form].map(body => ({mode: "no-cors", body}));
    const asking = {mode: "cors", body: text, headers: {"Content-Type": "application/json"}};
    for (const one of [...simple, asking])
        await fetch(url, {method: "POST", credentials: "include", ...one}).catch(() => null);
}"""
"""Sends a body in each way that a page has."""

CONTRASTS = """(() => {
    const light = rgb => rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const read = text => text.match(/[\\d.]+/g).map(Number);
    const ground = node => {
        for (; node; node = node.parentElement) {
            const found = read(getComputedStyle(node).backgroundColor);
            if (found.length == 3 || found[3] == 1) return found.slice(0, 3);
        }
        return [255, 255, 255];
    };
    const bad = [];
    for (const node of document.querySelectorAll('main *, header *')) {
        if (![...node.childNodes].some(child => child.nodeType == 3 && child.data.trim())) continue;
        if (['title', 'desc'].includes(node.tagName)) continue;
        const style = getComputedStyle(node);
        const ink = read(node instanceof SVGElement ? style.fill : style.color).slice(0, 3);
        const [a, b] = [light(ink), light(ground(node))].sort((x, y) => y - x);
        if ((a + .05) / (b + .05) < 4.5) bad.push(`${node.tagName} ${node.textContent.slice(0, 40)}`);
    }
    return bad;
})()"""
"""Returns the texts whose contrast is below level AA of WCAG."""
