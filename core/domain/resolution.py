"""A person's decision about an unconfirmed alert."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from core.domain.alerts import AlertKey


class Decision(StrEnum):
    """What a person found in the channel of an unconfirmed alert."""

    DELIVERED = "delivered"
    """The message is there: it is never sent again."""
    SEND_AGAIN = "send_again"
    """The message is not there: the next run of the month sends it."""


RESOLVED = {Decision.DELIVERED: "resolved_delivered", Decision.SEND_AGAIN: "resolved_send_again"}
"""The reason of an outcome that a person has resolved."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's decision about one unconfirmed alert: who, when and why."""

    key: AlertKey
    month: date
    decision: Decision
    by: str
    note: str | None
    at: datetime


def check_key(text: str) -> str:
    """Return a part of an alert's key; raise `ValueError` for text that no ledger can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    return text


def check_by(text: str) -> str:
    """Return the name of the person who decides, trimmed; raise `ValueError` unless it is one short line."""
    name = text.strip()
    if not 0 < len(name) <= 200 or not name.isprintable():  # noqa: PLR2004  # enough for a name and an address
        raise ValueError("by must be 1 to 200 characters on one line")
    return name


def check_note(text: str) -> str | None:
    """Return a note, trimmed, or None; raise `ValueError` for a long one or one with control characters."""
    note = text.strip()
    if len(note) > 2000 or not note.replace("\r\n", "").replace("\n", "").isprintable():  # noqa: PLR2004
        raise ValueError("note must be at most 2000 characters, without control characters")
    return note or None
