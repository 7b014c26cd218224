"""The table from an answer to its verdict."""

import json
from datetime import UTC, datetime

import httpx
import pytest

from core.domain import REASONS, Verdict
from core.runtime import protect
from core.slack.verdicts import judge, judge_failure

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

DELIVERED, RETRY, REFUSED = Verdict.DELIVERED, Verdict.RETRY, Verdict.REFUSED
CHANNEL_REFUSED, UNCONFIRMED = Verdict.CHANNEL_REFUSED, Verdict.UNCONFIRMED


@pytest.mark.parametrize(
    ("status", "body", "verdict", "reason"),
    [
        (200, b"ok", DELIVERED, None),
        (204, b"", DELIVERED, None),
        (200, b'{"ok": true}', DELIVERED, None),
        (200, b"{}", DELIVERED, None),
        (200, b'{"ok": "false"}', DELIVERED, None),
        (200, b"[false]", DELIVERED, None),
        (200, b"\xff\xfe garbage", DELIVERED, None),
        (200, b"[" * 60_000, DELIVERED, None),
        (200, b'{"ok": false, "error": "invalid_blocks"}', REFUSED, "invalid_blocks"),
        (200, b'{"ok": false, "error": "channel_not_found"}', CHANNEL_REFUSED, "channel_not_found"),
        (200, b'{"ok": false}', REFUSED, "slack_refused"),
        (200, b'{"ok": false, "error": ["x"]}', REFUSED, "slack_refused"),
        (300, b"no_service", REFUSED, "redirected"),
        (400, b"invalid_payload", REFUSED, "invalid_payload"),
        (400, b"invalid_payload\n", REFUSED, "invalid_payload"),
        (400, b"channel_not_found", CHANNEL_REFUSED, "channel_not_found"),
        (400, b"<html>Bad Request</html>", REFUSED, "slack_refused"),
        (400, b"no_service here", REFUSED, "slack_refused"),
        (400, b"", REFUSED, "slack_refused"),
        (401, b"", CHANNEL_REFUSED, "slack_refused"),
        (403, b"", CHANNEL_REFUSED, "slack_refused"),
        (404, b"", CHANNEL_REFUSED, "slack_refused"),
        (404, b"no_service", CHANNEL_REFUSED, "no_service"),
        (410, b"", CHANNEL_REFUSED, "slack_refused"),
        (429, b'{"ok": false, "error": "rate_limited"}', RETRY, "rate_limited"),
        (429, b"no_service", RETRY, "rate_limited"),
        (500, b"rollup_error", RETRY, "server_error"),
        (500, b"channel_not_found", RETRY, "server_error"),
        (199, b'{"ok": false}', UNCONFIRMED, "no_answer"),
        (600, b'{"ok": false}', UNCONFIRMED, "no_answer"),
        (999, b"ok", UNCONFIRMED, "no_answer"),
    ],
)
def test_status_decides_before_the_body(
    status: int, body: bytes, verdict: Verdict, reason: str | None
) -> None:
    answer = judge(status, httpx.Headers(), body, body_complete=True, now=NOW)
    assert (answer.verdict, answer.reason) == (verdict, reason)
    assert (answer.error is None) == (verdict is DELIVERED)


@pytest.mark.parametrize("word", [code for code, reason in REASONS.items() if reason.channel_wide])
def test_word_about_the_channel_refuses_the_channel(word: str) -> None:
    for status, body in ((400, word), (200, json.dumps({"ok": False, "error": word}))):
        answer = judge(status, httpx.Headers(), body.encode(), body_complete=True, now=NOW)
        assert (answer.verdict, answer.reason) == (CHANNEL_REFUSED, word)


@pytest.mark.parametrize(
    ("status", "body", "complete", "error"),
    [
        (302, b"", True, "302 Found; redirects are not followed"),
        (400, b"invalid_payload", True, "400 Bad Request: invalid_payload"),
        (503, b"<html>", True, "503 Service Unavailable"),
        # A page may quote the path of the webhook.
        (404, b"<p>/services/T1/B2/s3cret was not found</p>", True, "404 Not Found"),
        (999, b"", True, "999, which is not a valid answer"),
        (200, b'{"ok": false, "error": "no_text"}', True, "200 OK: no_text (ok: false)"),
        (200, b"{", False, "200 OK, but its JSON is incomplete"),
    ],
)
def test_answer_is_described_in_one_line(status: int, body: bytes, error: str, *, complete: bool) -> None:
    found = judge(status, httpx.Headers(), body, body_complete=complete, now=NOW)
    assert found.error == f"Slack answered {error}"


@pytest.mark.parametrize(
    ("body", "headers", "verdict"),
    [
        (b"o", {}, DELIVERED),
        (b"o", {"Content-Type": "application/json"}, DELIVERED),
        (b"", {}, DELIVERED),
        (b'  {"ok": tr', {}, UNCONFIRMED),
        (b"{", {}, UNCONFIRMED),
        (b"", {"Content-Type": "application/json"}, UNCONFIRMED),
        (b'{"ok": false, "error": "no_service"}', {}, CHANNEL_REFUSED),
    ],
)
def test_incomplete_json_success_is_unconfirmed(
    body: bytes, headers: dict[str, str], verdict: Verdict
) -> None:
    answer = judge(200, httpx.Headers(headers), body, body_complete=False, now=NOW)
    assert answer.verdict is verdict
    assert (answer.reason == "no_answer") == (verdict is UNCONFIRMED)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "30"}, 30),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e400"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:20 GMT"}, 20),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:20 -0000"}, 20),
        ({"Retry-After": "Thu, 01 Jan 2026 14:00:20 +0200"}, 20),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:01 GMT"}, 1),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:00 GMT"}, None),
        ({"Retry-After": "Thu, 01 Jan 2026 11:59:00 GMT"}, None),
        ({"Retry-After": "Thu, 99 Jan 2026 12:00:20 GMT"}, None),
        ({"Retry-After": "Thu, 01 Jan 99999999999999999999 12:00:20 GMT"}, None),
        (
            {"Retry-After": "Thu, 01 Jan 2026 17:00:07 GMT", "Date": "Thu, 01 Jan 2026 17:00:00 GMT"},
            7,  # the server's clock is five hours ahead, and the wait is still seven seconds
        ),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:20 GMT", "Date": "yesterday"}, 20),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    # Bytes, because httpx requires str headers to be ASCII, and servers may send others.
    raw = httpx.Headers([(name.encode(), value.encode()) for name, value in headers.items()])
    assert judge(status, raw, b"", body_complete=True, now=NOW).retry_after == seconds


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "[Errno 111] Connection refused"),
        (httpx.ConnectError(""), "no reason given"),
        (httpx.ConnectError(" \n"), "no reason given"),
        (TimeoutError(), "timed out"),
        (RuntimeError("anything"), "anything"),
    ],
)
def test_failure_before_the_request_is_retried(error: Exception, shown: str) -> None:
    answer = judge_failure(error, request_started=False)
    assert (answer.verdict, answer.reason) == (RETRY, "connection_failed")
    assert answer.error == f"No connection to Slack: {shown}"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (httpx.ReadError("s3cret"), "the connection broke, or the answer is not HTTP"),
        (httpx.RemoteProtocolError("s3cret"), "the connection broke, or the answer is not HTTP"),
        (httpx.ConnectError("it had begun"), "the connection broke, or the answer is not HTTP"),
        (TimeoutError(), "timed out"),
    ],
)
def test_failure_after_the_request_is_unconfirmed(error: Exception, shown: str) -> None:
    answer = judge_failure(error, request_started=True)
    assert (answer.verdict, answer.reason) == (UNCONFIRMED, "no_answer")
    assert answer.error == f"No answer from Slack after the request was sent ({shown})"


def test_error_is_one_short_line_without_secrets() -> None:
    protect(["https://hooks.example.com/T1/s3cret"])
    error = httpx.ConnectError("no way to\nhttps://hooks.example.com/T1/s3cret " + "x" * 1000)
    text = judge_failure(error, request_started=False).error
    assert text.startswith("No connection to Slack: no way to *** x")
    assert len(text) == 300
    assert "\n" not in text


def test_word_with_a_secret_is_not_repeated() -> None:
    protect(["open_sesame"])
    answer = judge(400, httpx.Headers(), b"open_sesame_please", body_complete=True, now=NOW)
    assert (answer.reason, answer.error) == ("slack_refused", "Slack answered 400 Bad Request")
