"""Every setting of the service: its name, default and check. docs/settings.md describes each."""

import json
import os
import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, Secret, StringConstraints, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.alerts import RULES
from core.domain import DEFAULT_ALERT_TYPE, SettingsError, SlackNotConfigured
from core.runtime.environment import clean_variables, prepare_libraries
from core.runtime.redaction import protect
from core.runtime.urls import check_database_url, check_http_url, passwords_in

CONFIG_FILE = "CONFIG_FILE"
_PLAIN = str | int | float


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of JSON with these pairs; raise `ValueError` if it names a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a key twice")
    return found


_parse_json = partial(json.loads, object_pairs_hook=_object)


def _decoded(value: Any) -> Any:
    """Return the object or list of a JSON text in the environment; any other value as it is."""
    try:
        return _parse_json(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _matching(pattern: str, message: str) -> AfterValidator:
    """Return a check that a whole text matches the pattern."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _channel(value: str) -> str:
    name = value.lstrip("#")
    if name in {"", ".", ".."} or not name.isprintable():
        raise ValueError("must be the name of a channel, such as amer-risk-alerts")
    return name


def _alert_type(value: str) -> str:
    if value not in RULES:
        raise ValueError(f"{value[:40]!r} is not an alert type; use {', '.join(RULES)}")
    return value


def _timezone(value: str) -> str:
    try:
        # Every system has UTC; the other zones come from its time zone database, which may be missing.
        if value != "UTC":
            pc.local_timestamp(pa.scalar(0, pa.timestamp("s", value or "?")))
    except pa.ArrowInvalid:
        raise ValueError(
            "is no time zone of this system: write an IANA name such as Europe/Berlin, or install tzdata"
        ) from None
    return value


Url = Annotated[str, AfterValidator(check_http_url)]
BaseUrl = Annotated[
    Url,
    _matching("[^?#]*", "must have no query and no fragment: a path is appended to it"),
    AfterValidator(lambda url: url.rstrip("/")),
]
PublicUrl = Annotated[
    BaseUrl, _matching(r"\w+://[^/@|]*(/[^|]*)?", "must have no user name, password or |: messages show it")
]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Timeout = Annotated[float, Field(ge=0.001, le=3600)]
_JSON = BeforeValidator(_decoded)
AlertType = Annotated[str, AfterValidator(_alert_type)]
Channel = Annotated[str, AfterValidator(_channel)]
DatabaseUrl = Annotated[str, AfterValidator(check_database_url)]
# Blanks around a key are kept, because a key must match the data exactly.
Key = Annotated[
    str, StringConstraints(strip_whitespace=False), _matching(r"(?s).*\S.*", "must have a nonblank key")
]
Email = Annotated[
    str, _matching(r"(?=[!-~]+$)[^@\s,;]+@[^@\s,;]+", "must be one ASCII address such as name@example.com")
]
SmtpHost = Annotated[
    str,
    _matching(
        r"[\w.-]+|[0-9a-fA-F]*(:[0-9a-fA-F.]*){2,}(%\w+)?",  # a name, or an address of IPv4 or IPv6
        "must be the name or address of the mail server alone; the port goes into SMTP_PORT",
    ),
]
# A login to a mail server can have no other characters.
Ascii = Annotated[str, _matching("[ -~]+", "must be printable ASCII characters")]
MemberId = Annotated[
    str, _matching("[UW][A-Z0-9]{2,20}", "must be a member ID such as U012AB3CD (Slack: Copy member ID)")
]
SourcePrefix = Annotated[
    str, _matching("(?is)(file:///|gs://|s3://).*", "must begin with file:///, gs:// or s3://")
]
# A header can have no other characters, and an empty token would admit every request.
Token = Annotated[str, _matching("[!-~]+", "must be printable ASCII characters without spaces")]


def _read_config_file() -> dict[str, Any]:
    """Return the values of the JSON or TOML file in `CONFIG_FILE`; raise an error for an unknown key."""
    name = os.environ.get(CONFIG_FILE, "")
    if not name:
        return {}
    path = Path(name)
    kind, parse = ("TOML", tomllib.loads) if path.suffix.lower() == ".toml" else ("JSON", _parse_json)
    try:
        values = parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        wrong = f"cannot be read ({error.strerror}); name a readable file or unset it"
    except (ValueError, RecursionError) as error:
        wrong = f"is not valid {kind} in UTF-8 ({error}); correct it"
    else:
        if not isinstance(values, dict):
            wrong = "must hold one object, whose keys are settings"
        elif unknown := ", ".join(sorted(values.keys() - Settings.model_fields)):
            wrong = f"has unknown settings: {unknown}; a key is a setting's name in lower case"
        else:
            # As text, like in the environment, because pydantic would accept `false` as the number 0.
            plain = {key: str(value).strip() for key, value in values.items() if isinstance(value, _PLAIN)}
            return values | plain
    # The content of a file in place of its name may hold secrets.
    shown = "its value" if re.search("[={]", name) else name
    raise SettingsError(f"{CONFIG_FILE}: {shown} {wrong}")


class Settings(BaseSettings):
    """The settings of one process, from the environment; `load_settings` adds those of `CONFIG_FILE`."""

    model_config = SettingsConfigDict(
        enable_decoding=False,
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    regions: Annotated[dict[Key, Channel], _JSON] = Field(default_factory=dict)
    owners: Annotated[dict[Key, MemberId], _JSON] = Field(default_factory=dict)
    slack_webhook_base_url: Secret[BaseUrl] | None = None
    slack_webhook_url: Secret[Url] | None = None
    slack_max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    slack_backoff_seconds: Seconds = 0.5
    slack_retry_after_max_seconds: Seconds = 120
    slack_timeout_seconds: Timeout = 10
    slack_channel_rate: Annotated[float, Field(ge=0, le=10_000)] = 1
    app_base_url: PublicUrl = "https://app.yourcompany.com"
    arr_threshold: Count = 10_000
    alert_types: Annotated[list[AlertType], Field(min_length=1), _JSON] = [DEFAULT_ALERT_TYPE]
    max_alerts_per_run: Count = 5000
    # Not in the representation: it may hold a password.
    database_url: DatabaseUrl = Field(default="sqlite:///data/risk_alerts.db", repr=False)
    support_email: Email = "support@quadsci.ai"
    smtp_host: SmtpHost | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65_535)] = 587
    smtp_username: Ascii | None = None
    smtp_password: Secret[Ascii] | None = None
    smtp_starttls: bool | None = None
    smtp_from: Email = "account-risk-alerts@localhost"
    api_token: Secret[Token] | None = None
    api_runs_at_once: Annotated[int, Field(ge=1, le=256)] = 16
    allowed_sources: Annotated[list[SourcePrefix] | None, _JSON] = None
    source_timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    source_timeout_seconds: Timeout = 60
    gcs_token: Secret[str] | None = None
    gcs_endpoint_url: BaseUrl | None = None
    gcs_user_project: Annotated[str, Field(min_length=1)] | None = None
    s3_endpoint_url: BaseUrl | None = None
    s3_anon: bool = False
    s3_requester_pays: bool = False
    log_format: Literal["text", "json"] = "text"

    @model_validator(mode="after")
    def _check_smtp_login(self) -> "Settings":
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("SMTP_USERNAME and SMTP_PASSWORD go together: set both or neither")
        return self

    @property
    def slack_webhook(self) -> str | None:
        """Return the URL of the webhooks, or of the single webhook, or None without either."""
        webhook = self.slack_webhook_base_url or self.slack_webhook_url
        return webhook.get_secret_value() if webhook else None

    @property
    def single_webhook(self) -> bool:
        """Return whether one webhook takes the messages of every channel."""
        return self.slack_webhook_base_url is None and self.slack_webhook_url is not None

    def require_slack(self) -> str:
        """Return `slack_webhook`; raise `SlackNotConfigured` without it."""
        if not self.slack_webhook:
            raise SlackNotConfigured(
                "No Slack webhook: set SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL, or ask for a dry run"
            )
        return self.slack_webhook

    def secrets(self) -> list[str]:
        """Return every value that must never be shown."""
        found = [value.get_secret_value() for _, value in self if isinstance(value, Secret)]
        found += [url.rstrip("/") for url in found]  # an error may show a URL without its final slash
        # An error of a driver or a store may show a password decoded, or as the URL has it.
        in_urls = [urlsplit(url).password or "" for url in self.urls()]
        for password in (*passwords_in(self.database_url), *in_urls):
            found += [unquote(password), password, quote(password, safe="")]
        # The words that `gcs_token` may hold instead of a secret.
        return [secret for secret in found if secret not in {"anon", "cloud", "google_default"}]

    def urls(self) -> list[str]:
        """Return every URL that this service sends requests to: the webhook's and each `…_ENDPOINT_URL`."""
        endpoints = (value for name, value in self if name.endswith("_endpoint_url"))
        return [url for url in (self.slack_webhook, *endpoints) if url]


def load_settings() -> Settings:
    """Return the settings of this process, mask its secrets from now on, and prepare the libraries.

    Raises `SettingsError`, which names each bad setting. It shows no value but an unknown alert type.
    """
    clean_variables({CONFIG_FILE, *(name.upper() for name in Settings.model_fields)})
    in_environment = {name.lower() for name in os.environ}
    in_file = _read_config_file()
    try:
        # Arguments would win over the environment, so only the settings that it lacks are passed.
        settings = Settings(**{name: value for name, value in in_file.items() if name not in in_environment})
    except ValidationError as error:
        raise SettingsError("; ".join(dict.fromkeys(map(_describe, error.errors())))) from None
    protect(settings.secrets())
    prepare_libraries(settings.urls())
    return settings


def exit_with(error: SettingsError) -> NoReturn:
    """End a process that cannot start with these settings: one line on stderr, and exit code 2."""
    sys.stderr.write(f"error: {error.code}: {error}\n")
    raise SystemExit(2) from error


def _describe(error: Any) -> str:
    setting, *inner = error["loc"] or [""]
    reason = invalid_value(error)
    if inner and reason.startswith("must "):
        reason = f"each entry {reason}"
    return f"{setting.upper()}: {reason}" if setting else reason


_WORDS = {
    "dataclass_type": "must be a JSON object",
    "dict_type": 'must be a JSON object such as {"key": "value"}, with each key once',
    "extra_forbidden": "is unknown; remove it",
    "list_type": 'must be a JSON list such as ["value"]',
    "missing": "is missing",
    "model_attributes_type": "must be a JSON object",
    "unexpected_keyword_argument": "is unknown; remove it",
}
"""Plain words for the errors that pydantic describes in terms of Python."""


def invalid_value(error: Any) -> str:
    """Return what is wrong with a value, according to an error of pydantic.

    The text does not show the value, which may be a secret in the wrong place.
    """
    said = re.sub("^Value error, |, unable to .*", "", error["msg"])
    return _WORDS.get(error["type"], re.sub(r"^\w+ should", "must", said))
