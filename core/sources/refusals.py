"""What each refusal of an object store means: `refusals.toml` has the words, and what to do."""

import logging
import re
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from core.domain import (
    RiskAlertsError,
    SettingsError,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)

logger = logging.getLogger(__name__)

ENCODED = "the object is stored with Content-Encoding: upload it without (Parquet is compressed inside)"

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
TEXTS = _TABLES.pop("texts")
_ERRORS = {
    kind.code: kind
    for kind in (SettingsError, SourceChanged, SourceForbidden, SourceNotFound, SourceUnreachable)
}
REFUSALS = {
    (provider, word): (_ERRORS[code], meaning)
    for provider, codes in _TABLES.items()
    for code, meanings in codes.items()
    for words, meaning in meanings.items()
    for word in words.split("|")
}
"""The error and its message for each word of a provider."""


@dataclass(eq=False)
class Refused(Exception):
    """A refusal: HTTP status, codes and text of the error document; `issuer`, if not the store itself."""

    status: int | None
    codes: Sequence[str] = ()
    text: str = ""
    issuer: str | None = None


def error_for(error: Exception, provider: str, what: str) -> RiskAlertsError:
    """Return the project's error for one of a provider's library, about `what`.

    The first word that the table has decides: a phrase of the refusal's text, which is never shown as it may
    hold secrets, then a code or the status, then the exception's name.
    """
    if isinstance(error, OSError) and error.filename is not None:
        # The stores' own FileNotFoundError names no file.
        return SourceForbidden(
            f"{what}: the credentials need {error.filename}, which cannot be used ({error.strerror}):"
            " check the variable or profile that names it"
        )
    refused = _refused(error)
    provider = refused.issuer or provider
    phrases = [word for of, word in REFUSALS if of == provider and " " in word and word in refused.text]
    codes = [*refused.codes, str(refused.status)]
    facts = _message_values(error)
    kinds = ["missing-file"] * ("file" in facts) + [kind.__name__ for kind in type(error).__mro__]
    for word in (*phrases, *codes, *kinds):
        if (provider, word) in REFUSALS:
            error_kind, meaning = REFUSALS[provider, word]
            # The provider's code helps a search; the name of a Python exception does not.
            shown = f" ({'HTTP ' * word.isdigit()}{word})" if word in codes else ""
            return error_kind(f"{what}: {meaning.format_map(facts)}{shown}")
    logger.debug("%s: %s", what, type(error).__name__)
    answered = f"answers HTTP {refused.status}" if refused.status else "gives no answer that can be used"
    return SourceUnreachable(f"{what}: the store {answered}: run the month again later")


def _refused(error: Exception) -> Refused:
    """Return the refusal behind a library's error."""
    for candidate in (error, error.__cause__):
        if isinstance(candidate, Refused):
            return candidate
        if isinstance(candidate, ClientError):
            document = candidate.response.get("Error", {})
            status = candidate.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            issuer = "sts" if candidate.operation_name.startswith("AssumeRole") else None
            return Refused(status, [document.get("Code", "")], document.get("Message", ""), issuer)
        status = getattr(candidate, "code", getattr(candidate, "status", None))
        if status is not None and str(status).isdigit():
            return Refused(int(status), text=str(error))
    return Refused(None, text=str(error))


def _message_values(error: Any) -> dict[str, Any]:
    """Return what a message may show of a library's error: hosts, and names in the configuration."""
    facts = defaultdict(str, TEXTS | getattr(error, "kwargs", {}))
    if missing := re.search(r"[Ff]ile '?([^'\n]+?)'? was not found", str(error)):
        facts["file"] = missing[1]
    url = urlsplit(str(facts.get("proxy_url") or facts.get("endpoint_url") or ""))
    host = url.netloc.rpartition("@")[2]
    if not host and getattr(error, "host", None):
        host = f"{error.host}:{error.port}"
    facts["host"] = host or "the store"
    return facts
