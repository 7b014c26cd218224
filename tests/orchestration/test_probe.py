"""A missing Prefect API is noticed in bounded time, whatever answers at its address."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import temporary_settings

from core.domain import OrchestratorUnreachable
from flows import prefect_engine
from flows.flow_run import describe_fault
from flows.prefect_engine import probe
from tests.service import closed_port
from tests.slack.hostile import HostileSlack, answer, trickle


@pytest.fixture
def web() -> Iterator[str]:
    """Yield a server that answers `/<status>` with that status, and `/trickle` with a byte now and then."""
    with HostileSlack() as server:
        server.script("/prefect/health", answer(200, "true"))
        server.script("/ui/health", answer(200, "<!doctype html>"))
        server.script("/trickle/health", trickle(b"HTTP/1.1 200 OK\r\n\r\n", b" ", every=0.1))
        for status in (200, 302, 401, 403, 404, 500, 503):
            server.script(f"/{status}/health", answer(status, '"something else"'))
        yield server.url


def test_prefect_api_is_accepted(web: str) -> None:
    probe(f"{web}/prefect")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("{web}/500", "HTTP 500"),
        # Prefect's client waits two seconds after a 503 even if it does not retry.
        ("{web}/503", r"no answer in 0\.5 s"),
        ("{web}/404", "HTTP 404; start it"),
        ("{web}/401", "HTTP 401; check PREFECT_API_KEY"),
        ("{web}/403", "HTTP 403; check PREFECT_API_KEY"),
        ("{web}/302", "HTTP 302"),
        ("{web}/200", "does not come from a Prefect API"),
        ("{web}/ui", "does not come from a Prefect API, whose URL ends in /api"),
        ("{web}/trickle", r"no answer in 0\.5 s|timed out"),
        ("{silent}/api", r"no answer in 0\.5 s|timed out"),
        ("http://{closed}/api", "correct PREFECT_API_URL"),
        ("http://someone:hunter2@{closed}/api", "host 127.0.0.1"),
        ("not a url", "correct PREFECT_API_URL"),
        ("ftp://127.0.0.1/api", "correct PREFECT_API_URL"),
        ("http://127.0.0.1:99999/api", "correct PREFECT_API_URL"),
    ],
)
def test_anything_else_is_refused_in_bounded_time(
    web: str, monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    if why.startswith("no answer"):
        monkeypatch.setattr(prefect_engine, "PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = {
            "web": web,
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "closed": f"127.0.0.1:{closed_port()}",
        }
        with pytest.raises(OrchestratorUnreachable, match=why) as caught:
            probe(url.format(**places))
    assert caught.value.message.startswith("No Prefect API answers at PREFECT_API_URL")
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("value", ["canary\n", "it's a\ncanary", "a 'canary\r"])
def test_custom_header_is_not_shown(web: str, value: str) -> None:
    with (
        temporary_settings({"client.custom_headers": {"CF-Access-Client-Secret": value}}),
        pytest.raises(OrchestratorUnreachable, match=r"Illegal header value \*\*\*; start it") as caught,
    ):
        probe(f"{web}/prefect")
    assert "canary" not in caught.value.message


DELETED = ObjectNotFound(
    httpx.HTTPStatusError("", request=httpx.Request("POST", "http://host"), response=httpx.Response(404))
)
"""What Prefect's client raises for a flow run that somebody has deleted in the UI."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in 2 s"),
        (None, "no answer in 2 s"),
        (OSError(), "no reason given"),
        (DELETED, "HTTP 404"),
    ],
)
def test_error_without_text_is_described_in_words(error: Exception | None, words: str) -> None:
    assert describe_fault(error, 2) == words
