"""Mask secrets in logs, rows, errors and answers."""

import logging
import re
from collections.abc import Iterable

MASK = "***"

_WORD_WITH_AT = re.compile(r"(?<![^\s\"'<>])[^\s\"'<>]*@")
"""A word up to its last @. Credentials are searched only in these, so that the search takes linear time."""
# Credentials in a URI: scheme://user:password@host. A password may have unescaped / and @ in it, so that
# after a colon everything up to the last @ counts.
_CREDENTIALS = re.compile(
    r"((?<![a-zA-Z0-9+.-])[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)(?:[^\s/@:\"'<>]*:[^\s\"'<>]*|[^\s/\"'<>]+)@"
)
_PATTERNS = (
    # The whole URL of a Slack webhook is a secret.
    (re.compile(r"(https://hooks\.slack(?:-gov)?\.com/)[^\s\"'<>]+"), rf"\g<1>{MASK}"),
    (re.compile(r"(?i)(\bbearer\s+)[^\s\"',]+"), rf"\g<1>{MASK}"),
    # The HTTP library shows a header that it refuses, such as one of PREFECT_CLIENT_CUSTOM_HEADERS.
    (re.compile(r"(Illegal header value )b([\"']).*\2"), rf"\g<1>{MASK}"),
)

_secrets: set[str] = set()


def protect(secrets: Iterable[str]) -> None:
    """Mask these values in `redact` from now on, in this process."""
    # A shorter value may occur by chance in any text.
    _secrets.update(secret for secret in secrets if len(secret) >= 4)  # noqa: PLR2004


def redact(text: str) -> str:
    """Mask every protected value and everything that looks like a credential in `text`."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _WORD_WITH_AT.sub(lambda word: _CREDENTIALS.sub(rf"\g<1>{MASK}@", word[0]), text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def mask_record(record: logging.LogRecord) -> bool:
    """Mask secrets in a log record, its arguments and its traceback, and keep it: a filter of handlers."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  # a library's arguments may not match its text: that must fail no run
        message = str(record.msg)
    record.msg, record.args = redact(message), None
    if record.exc_info:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    record.exc_text = record.exc_text and redact(record.exc_text)
    record.stack_info = record.stack_info and redact(record.stack_info)
    return True
