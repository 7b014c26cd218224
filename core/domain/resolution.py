"""A person's decision about an unconfirmed alert."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from core.domain.alerts import AlertKey
from core.domain.errors import InvalidRequest


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

    def __post_init__(self) -> None:
        """Raise `InvalidRequest` for a text that is too long, or that no database can hold."""
        if not self.by.strip():
            raise InvalidRequest("by: must not be empty")
        for name, text, most in (
            ("by", self.by, 200),
            ("note", self.note or "", 2000),
            ("account_id", self.key.account_id, 2500),
            ("alert_type", self.key.alert_type, 200),
        ):
            if not re.fullmatch(rf"[^\0\ud800-\udfff]{{0,{most}}}", text):
                raise InvalidRequest(f"{name}: must have at most {most} characters, all in UTF-8, and no NUL")
