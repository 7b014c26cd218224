"""Turn errors of the clouds' libraries into errors of this project, with the table in `refusals.toml`."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from core.domain import RiskAlertsError, SettingsError, SourceError, SourceUnreachable

ENCODED = "the object is stored with Content-Encoding: upload it without (Parquet is compressed inside)"

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
TEXTS = _TABLES.pop("texts")
_KINDS: tuple[type[RiskAlertsError], ...] = (SettingsError, *SourceError.__subclasses__())
_ERRORS = {kind.code: kind for kind in _KINDS}
REFUSALS = {
    provider: {
        word: (_ERRORS[code], meaning)
        for code, meanings in codes.items()
        for words, meaning in meanings.items()
        for word in words.split("|")
    }
    for provider, codes in _TABLES.items()
}
"""The error and its message for each word of each provider."""


@dataclass(eq=False)
class Refused(Exception):
    """A refusal by an object store: the HTTP status, and the codes and the text of the error document."""

    status: Any
    codes: Sequence[str] = ()
    text: str = ""


def error_for(error: Exception, provider: str, what: str) -> RiskAlertsError:
    """Return the project's error about `what` for an error of a provider's library.

    The first word that is in the table decides. The order is: a phrase of the refusal's text (never shown,
    because the text may hold secrets), a code, the HTTP status, the name of the exception.
    """
    # s3fs raises an OSError from the error of the AWS library.
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    if isinstance(cause, ClientError) and cause.operation_name.startswith("AssumeRole"):
        provider = "sts"
    table, refused = REFUSALS[provider], _refused(cause)
    facts = _message_values(error, refused)
    phrases = [word for word in table if " " in word and word in refused.text]
    codes = [*refused.codes, str(refused.status)]
    kinds = (["needs-file"] if "file" in facts else []) + [kind.__name__ for kind in type(error).__mro__]
    for word in (*phrases, *codes, *kinds):
        if word in table:
            error_kind, meaning = table[word]
            # The provider's code helps a search; the name of a Python exception does not.
            shown = f" ({'HTTP ' if word.isdigit() else ''}{word})" if word in codes else ""
            return error_kind(f"{what}: {meaning.format_map(facts)}{shown}")
    answered = f"answers HTTP {refused.status}" if refused.status else "gives no answer that can be used"
    return SourceUnreachable(f"{what}: the store {answered}: run the month again later")


def _refused(error: Any) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, ClientError):
        document = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return Refused(status, [document.get("Code", "")], document.get("Message", ""))
    status = getattr(error, "code", getattr(error, "status", None))
    return Refused(status if str(status).isdigit() else None, text=str(error))


def _message_values(error: Any, refused: Refused) -> dict[str, Any]:
    """Return what a message may show of a library's error: hosts, and names in the configuration."""
    facts = defaultdict(str, TEXTS | getattr(error, "kwargs", {}))
    if getattr(error, "filename", None):  # The libraries' FileNotFoundError for an object has none.
        facts["file"] = f"{_shown_file(str(error.filename))}, which cannot be used ({error.strerror})"
    elif not refused.status and (missing := re.search(r"[Ff]ile '?([^'\n]+?)'? was not found", str(error))):
        facts["file"] = f"{_shown_file(missing[1])}, which is missing"
    url = urlsplit(str(facts.get("proxy_url") or facts.get("endpoint_url") or ""))
    address = f"{error.host}:{error.port}" if getattr(error, "host", None) else "the store"
    facts["host"] = url.netloc.rpartition("@")[2] or address
    return facts


def _shown_file(name: str) -> str:
    """Return an absolute path, but no other name: it may be a key or a token in place of its file."""
    return name if name.startswith("/") else "a file"
