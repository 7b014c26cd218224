"""The Slack client against real sockets: the result of each fault, without the webhook in any text."""

import asyncio
import logging
from typing import Any

import httpx
import pytest

from core.domain import Verdict
from core.runtime import Settings, protect
from core.slack import Answer, SlackWebhooks
from tests.service import closed_port
from tests.slack.hostile import HostileSlack, Reply, answer, raw, reset, silence, trickle
from tests.waiting import until

SECRET = "T000-B000-s3cret"
MESSAGE = {"text": "🚩 At Risk: Zoë & Søn", "blocks": []}
FLOOD = trickle(b"HTTP/1.1 200 OK\r\n\r\nok", b"x" * 65536, every=0)


def settings(**values: Any) -> Settings:
    return Settings(**{"slack_timeout_seconds": 60, **values})


def post(base_url: str, channel: str = "amer", **values: Any) -> Answer:
    async def run() -> Answer:
        async with SlackWebhooks(settings(slack_webhook_base_url=base_url, **values)) as slack:
            return await slack.post(channel, MESSAGE)

    return asyncio.run(run())


def test_message_is_posted_as_utf8_json_to_its_channel() -> None:
    with HostileSlack() as slack:
        assert post(slack.url) == Answer(Verdict.DELIVERED)
        [request] = slack.requests
    assert request.path == "/amer"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["accept-encoding"] == "identity"
    assert request.message == MESSAGE
    assert "Zoë".encode() in request.body


@pytest.mark.parametrize(
    ("channel", "path"),
    [("#amer", "/%23amer"), ("a/b?c", "/a%2Fb%3Fc"), ("grün", "/gr%C3%BCn"), ("100%", "/100%25")],
)
def test_any_channel_is_one_path_segment(channel: str, path: str) -> None:
    with HostileSlack() as slack:
        post(f"{slack.url}/", channel)
        assert [request.path for request in slack.requests] == [path]


def test_single_webhook_takes_every_channel_in_one_lane() -> None:
    async def run(url: str) -> None:
        async with SlackWebhooks(settings(slack_webhook_url=f"{url}/services/{SECRET}/")) as slack:
            assert slack.lane("amer") == slack.lane("emea")
            assert (await slack.post("amer", MESSAGE)).verdict is Verdict.DELIVERED

    with HostileSlack() as slack:
        asyncio.run(run(slack.url))
        assert [request.path for request in slack.requests] == [f"/services/{SECRET}/"]


def test_base_url_wins_over_the_single_webhook() -> None:
    with HostileSlack() as base, HostileSlack() as single:
        post(base.url, slack_webhook_url=single.url)
        assert len(base.requests) == 1
        assert single.requests == []
        slack = SlackWebhooks(settings(slack_webhook_base_url=base.url, slack_webhook_url=single.url))
        assert slack.lane("amer") != slack.lane("emea")


def reach(url: str, setting: str = "slack_webhook_base_url", **values: Any) -> None:
    async def run() -> None:
        async with SlackWebhooks(settings(**{setting: url}, **values)) as slack:
            await slack.reach()

    asyncio.run(run())


@pytest.mark.parametrize("setting", ["slack_webhook_base_url", "slack_webhook_url"])
def test_reaching_slack_sends_no_secret(setting: str) -> None:
    with HostileSlack() as slack:
        slack.script("/", answer(404))
        reach(f"http://{SECRET}:{SECRET}@127.0.0.1:{slack.port}/services/{SECRET}", setting)
        [request] = slack.requests
    assert (request.path, request.body) == ("/", b"")
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("reply", "seconds", "reason"),
    [
        (silence, 0.5, "no answer in 0.5 s"),
        (trickle(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"), 0.5, "no answer in 0.5 s"),
        (reset, 60, "no reason given"),
        (raw(f"smtp {SECRET}\r\n\r\n".encode()), 60, r"illegal status line: .*smtp \*\*\*.*"),
    ],
)
def test_unreached_slack_has_a_reason_without_secrets(reply: Reply, seconds: float, reason: str) -> None:
    protect([SECRET])
    with HostileSlack() as slack:
        slack.script("/", reply)
        with pytest.raises(ConnectionError, match=f"^{reason}$"):
            reach(slack.url, slack_timeout_seconds=seconds)


NO_ANSWER = (Verdict.UNCONFIRMED, "no_answer")
HOSTILE: dict[str, tuple[Reply, tuple[Verdict, str | None]]] = {
    "reset after the request": (reset, NO_ANSWER),
    "closed without an answer": (raw(b""), NO_ANSWER),
    "garbage": (raw(b"220 smtp ready\r\n\r\n"), NO_ANSWER),
    "half a status line": (raw(b"HTTP/1.1 200"), NO_ANSWER),
    "no answer at all": (silence, NO_ANSWER),
    "trickling headers": (trickle(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"), NO_ANSWER),
    "a body that never ends": (trickle(b"HTTP/1.1 200 OK\r\n\r\nok", b" "), (Verdict.DELIVERED, None)),
    "JSON that never ends": (trickle(b'HTTP/1.1 200 OK\r\n\r\n{"ok": ', b" "), NO_ANSWER),
    "an endless 500": (trickle(b"HTTP/1.1 500 Oops\r\n\r\n", b"x"), (Verdict.RETRY, "server_error")),
    "a flood": (FLOOD, (Verdict.DELIVERED, None)),
    "a short body": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok"), (Verdict.DELIVERED, None)),
}
ENDLESS = {
    *("no answer at all", "trickling headers", "an endless 500"),
    *("a body that never ends", "JSON that never ends"),
}
"""The answers that only the timeout ends; their status must arrive before it, also on a busy machine."""


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_answers_end_within_the_timeout(case: str) -> None:
    reply, expected = HOSTILE[case]
    with HostileSlack() as slack:
        slack.script("/amer", reply)
        found = post(slack.url, slack_timeout_seconds=2 if case in ENDLESS else 60)
        assert len(slack.requests) == 1
    assert (found.verdict, found.reason) == expected


def test_redirect_is_not_followed() -> None:
    with HostileSlack() as elsewhere, HostileSlack() as slack:
        slack.script("/amer", answer(307, headers={"Location": f"{elsewhere.url}/amer"}))
        assert post(slack.url).reason == "redirected"
        assert elsewhere.requests == []


@pytest.mark.parametrize(("size", "verdict"), [(65_536, Verdict.DELIVERED), (200_000, Verdict.UNCONFIRMED)])
def test_long_answer_is_not_read_to_its_end(size: int, verdict: Verdict) -> None:
    body = '{"ok":' + "true}".rjust(size - 6)
    with HostileSlack() as slack:
        slack.script("/amer", answer(200, body))
        assert post(slack.url).verdict is verdict


async def stay(writer: asyncio.StreamWriter) -> None:
    """Answer, and keep the connection open for the next request."""
    await answer(200, "ok")(writer)
    await silence(writer)


@pytest.mark.parametrize(("reply", "seconds"), [(stay, 60), (FLOOD, 60), (silence, 2)])
def test_no_connection_outlives_its_attempt(reply: Reply, seconds: int) -> None:
    async def run(url: str) -> Answer:
        async with SlackWebhooks(
            settings(slack_webhook_base_url=url, slack_timeout_seconds=seconds)
        ) as slack:
            await slack.post("amer", MESSAGE)
            assert slack._client._transport._pool.connections == []
        return await slack.post("amer", MESSAGE)

    with HostileSlack() as slack:
        slack.script("/amer", reply)
        assert asyncio.run(run(slack.url)).verdict is Verdict.RETRY
        assert len(slack.requests) == 1


def test_httpx_does_not_shorten_the_timeout() -> None:
    slack = SlackWebhooks(settings(slack_webhook_base_url="http://127.0.0.1:9", slack_timeout_seconds=30))
    assert slack._client.timeout == httpx.Timeout(None)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "no-such-host.invalid", "256.1.1.1", "\u00e4..b", "a..b", "xn--", "a" * 70 + ".com"],
)
def test_unreached_host_is_no_connection_and_shows_no_secret(host: str) -> None:
    url = f"https://{host}:{closed_port()}/{SECRET}"
    found = post(url, slack_timeout_seconds=5)
    assert (found.verdict, found.reason) == (Verdict.RETRY, "connection_failed")
    assert SECRET not in str(found)
    with pytest.raises(ConnectionError) as error:
        reach(url, slack_timeout_seconds=5)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("reply", "seconds"), [(answer(200), 60), (answer(407), 60), (reset, 60), (silence, 2)]
)
def test_proxy_failure_is_no_connection(reply: Reply, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileSlack() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        proxy.script("slack.invalid:443", reply)
        found = post("https://slack.invalid", slack_timeout_seconds=seconds)
        assert [request.path for request in proxy.requests] == ["slack.invalid:443"]
    assert (found.verdict, found.reason) == (Verdict.RETRY, "connection_failed")


@pytest.mark.parametrize(
    ("greeting", "seconds"), [(silence, 1), (raw(b"not TLS at all\r\n"), 60), (reset, 60)]
)
def test_tls_failure_is_no_connection(greeting: Any, seconds: int) -> None:
    with HostileSlack(greeting) as slack:
        found = post(slack.url.replace("http:", "https:"), slack_timeout_seconds=seconds)
    assert (found.verdict, found.reason) == (Verdict.RETRY, "connection_failed")


def test_post_can_be_canceled() -> None:
    async def run(url: str) -> None:
        async with SlackWebhooks(settings(slack_webhook_base_url=url)) as webhooks:
            task = asyncio.create_task(webhooks.post("amer", MESSAGE))
            await asyncio.to_thread(until, lambda: slack.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with HostileSlack() as slack:
        slack.script("/amer", silence)
        asyncio.run(run(slack.url))


def test_webhook_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run(url: str) -> list[Answer]:
        async with SlackWebhooks(settings(slack_webhook_url=f"{url}/services/{SECRET}")) as slack:
            return [await slack.post("amer", MESSAGE) for _ in range(5)]

    # Lower than what other tests may have set.
    for name in (None, "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    with HostileSlack() as slack:
        path = f"/services/{SECRET}"
        moved = answer(301, headers={"Location": path})
        here = answer(404, f"no {path} here")
        slack.script(path, moved, here, answer(200, "ok"), reset, raw(path.encode()))
        answers = asyncio.run(run(slack.url))
        port = slack.port
    answers += asyncio.run(run(f"http://127.0.0.1:{port}"))
    assert len(answers) == 10
    assert SECRET not in repr(answers)
    assert SECRET not in caplog.text
