"""The verdict on Slack's answer, or on a missing one.

`judge` and `judge_failure` are pure functions, and no other code reads a status code of Slack. Slack has no
idempotency key, so a verdict states whether Slack can have posted the message.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from core.domain import Verdict, one_line, reason_of
from core.runtime import redact


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict with its reason and a line for a person (None when delivered).

    `retry_after` is the number of seconds that Slack asked to wait.
    """

    verdict: Verdict
    reason: str | None = None
    error: str | None = None
    retry_after: float | None = None


CHANNEL_WIDE_STATUSES = frozenset({401, 403, 404, 410})
_WORD = re.compile(r"[a-z_]{3,64}")


def judge(  # noqa: PLR0911  # one table, a row for each answer
    status: int, headers: httpx.Headers, body: bytes, *, body_complete: bool, now: datetime
) -> Answer:
    """Return the verdict on an answer: the status decides first, the word in the body second.

    `now` (with a zone) stands for the server's clock if the answer has no `Date`.
    """
    parsed = _parse(body)
    text = str(parsed.get("error")) if parsed is not None else body.decode(errors="replace").strip()
    # Show only a short word of Slack: a proxy's error page may quote the webhook's path, which is a secret.
    word = text if _WORD.fullmatch(text) and redact(text) == text else None
    channel_wide = status in CHANNEL_WIDE_STATUSES or reason_of(word).channel_wide
    refused = Verdict.CHANNEL_REFUSED if channel_wide else Verdict.REFUSED
    title = f"Slack answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    error = f"{title}: {word}" if word else title
    match status // 100:
        case 4 if status == httpx.codes.TOO_MANY_REQUESTS:
            return Answer(Verdict.RETRY, "rate_limited", error, _retry_after(headers, now))
        case 5:
            return Answer(Verdict.RETRY, "server_error", error, _retry_after(headers, now))
        case 3:
            return Answer(Verdict.REFUSED, "redirected", f"{error}; redirects are not followed")
        case 4:
            return Answer(refused, word or "slack_refused", error)
        case 2 if parsed is not None and parsed.get("ok") is False:
            return Answer(refused, word or "slack_refused", f"{error} (ok: false)")
        case 2 if not body_complete and _may_be_json(headers, body):
            return Answer(Verdict.UNCONFIRMED, "no_answer", f"{error}, but its JSON is incomplete")
        case 2:
            return Answer(Verdict.DELIVERED)
    return Answer(Verdict.UNCONFIRMED, "no_answer", f"{error}, which is not a valid answer")


def judge_failure(error: Exception, *, request_started: bool) -> Answer:
    """Return the verdict on a missing answer; `request_started`: Slack may have received the request."""
    late = isinstance(error, TimeoutError)
    if request_started:
        # The text of the error is left out, because it may quote the answer.
        why = "timed out" if late else "the connection broke, or the answer is not HTTP"
        text = f"No answer from Slack after the request was sent ({why})"
        return Answer(Verdict.UNCONFIRMED, "no_answer", text)
    detail = one_line(redact(str(error))).strip() or ("timed out" if late else "no reason given")
    return Answer(Verdict.RETRY, "connection_failed", f"No connection to Slack: {detail}"[:300])


def _may_be_json(headers: httpx.Headers, body: bytes) -> bool:
    """Return whether an incomplete body can be JSON with `"ok": false`."""
    start = body.lstrip()
    return start.startswith(b"{") or (not start and "json" in headers.get("content-type", ""))


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Return `Retry-After` in seconds from now; None when it is absent, invalid or not in the future."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value) or None
    until = _http_date(value)
    if until is None:
        return None
    # The server's clock may differ from this machine's.
    seconds = (until - (_http_date(headers.get("date", "")) or now)).total_seconds()
    return seconds if seconds > 0 else None


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
