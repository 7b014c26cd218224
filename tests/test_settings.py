"""Settings: defaults, sources, and one clear error without the value for each bad one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.alerts import RULES
from core.domain import SettingsError
from core.runtime import load_settings, redact, redaction


@pytest.fixture(autouse=True)
def _no_secrets_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path in `CONFIG_FILE`, where a test writes its file."""
    path = tmp_path / "config.json"
    monkeypatch.setenv("CONFIG_FILE", str(path))
    return path


def test_settings_come_from_environment_json_and_toml(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('{"regions": {"AMER": "amer"}, "arr_threshold": 1, "s3_anon": true}')
    settings = load_settings()
    assert (settings.regions, settings.arr_threshold, settings.s3_anon) == ({"AMER": "amer"}, 1, True)
    toml = config.with_suffix(".toml")
    toml.write_text('arr_threshold = 2\nallowed_sources = ["gs://b/"]\n[regions]\nEMEA = "emea"\n')
    monkeypatch.setenv("CONFIG_FILE", str(toml))
    settings = load_settings()
    assert (settings.regions, settings.arr_threshold) == ({"EMEA": "emea"}, 2)
    assert settings.allowed_sources == ["gs://b/"]
    monkeypatch.setenv("ARR_THRESHOLD", "3")
    assert load_settings().arr_threshold == 3


def test_environment_replaces_the_regions_of_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('{"regions": {"AMER": "amer", "EMEA": "emea"}}')
    monkeypatch.setenv("REGIONS", '{"APAC": "apac"}')
    assert load_settings().regions == {"APAC": "apac"}


def test_empty_variable_counts_as_unset(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('{"arr_threshold": 7}')
    for name in ("ARR_THRESHOLD", "REGIONS", "API_TOKEN"):
        monkeypatch.setenv(name, "")
    assert (load_settings().arr_threshold, load_settings().api_token) == (7, None)
    monkeypatch.setenv("CONFIG_FILE", "")
    assert load_settings().arr_threshold == 10_000


BAD = {
    "REGIONS": [
        '["canary"]',
        '{"canary": ""}',
        '{"canary": null}',
        '{"canary": ".."}',
        r'{"canary": "a\u202eb"}',
        '{"canary": " # "}',
    ],
    "OWNERS": [
        '{"": "U012AB3CD"}',
        '{"canary": "<@U012AB3CD>"}',
        '{"canary": "u012ab3cd"}',
        '{"canary": "C012AB3CD"}',
        '{"canary": "UA"}',
        '{"canary": "U12345678901234567890A"}',
    ],
    "SLACK_WEBHOOK_BASE_URL": [
        "canary",
        "http://host/hook?token=canary",
        "http://host/hook#canary",
        "http://canary:99999",
        "http://[::1",
        "https://user:p/canary@host/x",
    ],
    "SLACK_WEBHOOK_URL": [
        "ftp://canary",
        "https://can ary",
        "https://host/canary\x7f",
        "https://user:p@canary@host/x",
    ],
    "SLACK_MAX_ATTEMPTS": ["0"],
    "SLACK_BACKOFF_SECONDS": ["-1", "nan"],
    "SLACK_TIMEOUT_SECONDS": ["0", "inf"],
    "SLACK_CHANNEL_RATE": ["-0.5"],
    "ARR_THRESHOLD": ["10k-canary", "-1", "9223372036854775808"],
    "MAX_ALERTS_PER_RUN": ["-1"],
    "APP_BASE_URL": ["canary", "https://user:canary@host", "https://canary@host"],
    "DATABASE_URL": [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:canary.db?uri=true",
        "sqlite:///canary/",
        "sqlite:///x.db?timeout=60&canary",
        "sqlite:///canary\n.db",
        "postgresql://user:x:canary@host/db",
        "postgresql://user:x/canary@host/db",
        "postgresql://user:x@y:canary@host/db",
        "postgresql://user:x@y/canary@host/db",
        "postgresql://user:canary/db",
        "postgresql://host:canary/db",
        "postgresql://user@host/",
        "postgresql+asyncpg://user@host/canary",
    ],
    "GCS_ENDPOINT_URL": ["https://host/#canary"],
    "S3_ENDPOINT_URL": ["https://host/?canary", "http://user:p:canary@host"],
    "ALLOWED_SOURCES": ['["file://canary/x"]', '["/canary"]', '["https://canary/"]'],
    "SUPPORT_EMAIL": ["canary@", "@canary", "a@canary@b", "a,canary@b", "a@canary;b"],
    "SMTP_HOST": ["smtp://canary", "canary:587", "user@canary", "[::1]"],
    "SMTP_PORT": ["70000"],
    "SMTP_STARTTLS": ["canary"],
    "SMTP_USERNAME": ["canary"],
    "SMTP_PASSWORD": ["canary-\udcff"],
    "API_TOKEN": ["canary with spaces"],
    "CONFIG_FILE": ['"canary"'],
    "API_RUNS_AT_ONCE": ["0"],
    "SOURCE_TIMEOUT_SECONDS": ["0"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_bad_value_names_the_setting_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in caught.value.message
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARR_THRESHOLD", "0"),
        ("ARR_THRESHOLD", "9223372036854775807"),
        ("SLACK_WEBHOOK_URL", "https://host/x?y=z#a"),
        ("OWNERS", '{"Ana": "WAB", "Zo\u00eb": "U12345678901234567890"}'),
        ("ALLOWED_SOURCES", '["GS://b/", "File:///a\\nb"]'),
    ],
)
def test_unusual_value_is_good(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    load_settings()


def test_blanks_and_newlines_around_values_are_stripped(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(
        '{"regions": {" AM\\nER ": " #amer\\n", "-": "other"}, "smtp_username": " ana\\n",'
        ' "allowed_sources": [" gs://b/ "], "s3_requester_pays": " true ", "log_format": " json "}'
    )
    for name, value in {
        "CONFIG_FILE": f" {config}\n",
        "APP_BASE_URL": " https://host/a@b\n",
        "SMTP_PASSWORD": "a secret\r\n",
        "API_TOKEN": "\ttoken\n",
        "DATABASE_URL": "sqlite:///data/x.db\n",
        "S3_ANON": " true ",
        "ARR_THRESHOLD": " \n",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    secrets = [
        secret and secret.get_secret_value() for secret in (settings.smtp_password, settings.api_token)
    ]
    assert secrets == ["a secret", "token"]
    # A region matches the data exactly.
    assert settings.regions == {" AM\nER ": "amer", "-": "other"}
    assert settings.app_base_url == "https://host/a@b"
    assert (settings.smtp_username, settings.allowed_sources) == ("ana", ["gs://b/"])
    assert (settings.log_format, settings.database_url) == ("json", "sqlite:///data/x.db")
    assert (settings.s3_anon, settings.s3_requester_pays, settings.arr_threshold) == (True, True, 10_000)


TWICE = "must be a JSON object that has each key once"
REFUSED = [
    ("LOG_FORMAT", '"json"', "the value is in quotes; remove them"),
    ("LOG_FORMAT", "xml", "must be 'text' or 'json'"),
    ("ALERT_TYPES", '["at_risk", "At Risk"]', f"'At Risk' is not an alert type; use {', '.join(RULES)}"),
    ("ALERT_TYPES", "at_risk,recovered", "must be a JSON list"),
    ("ALLOWED_SOURCES", "gs://bucket/", "must be a JSON list"),
    ("OWNERS", "Ana=U012AB3CD", TWICE),
    ("REGIONS", "AMER=amer", TWICE),
    ("REGIONS", '{"AMER": "amer", "AMER": "emea"}', TWICE),
    ("REGIONS", "[" * 100_000, TWICE),
    ("REGIONS", '{"AMER": ' + "1" * 5000 + "}", TWICE),
    ("REGIONS", '{" ": "amer"}', "each entry must have a nonblank key"),
    ("DATABASE_URL", "sqlite://data/x.db", "sqlite:///data/risk_alerts.db"),
    ("DATABASE_URL", "sqlite:///~/x.db", "sqlite:////home/"),
    ("DATABASE_URL", "mysql://host/db", "postgresql://user:password@host/database"),
    ("DATABASE_URL", "data/x.db", "sqlite:////data/risk_alerts.db"),
    ("DATABASE_URL", "postgresql://user:p@ss@host/db", "%40"),
]


@pytest.mark.parametrize("name", ["SMTP_USERNAME", "SMTP_PASSWORD", "SUPPORT_EMAIL", "SMTP_FROM"])
def test_mail_settings_are_ascii(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Not every mail server accepts other characters, and the first mail would fail."""
    monkeypatch.setenv(name, "zo\u00eb@example.com")
    with pytest.raises(SettingsError, match=f"^{name}: must be .*ASCII"):
        load_settings()


@pytest.mark.parametrize(("name", "value", "valid"), REFUSED)
def test_refused_value_shows_what_is_valid(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, valid: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: .*{re.escape(valid)}"):
        load_settings()


GOOD_DATABASES = [
    "sqlite:///data/x.db",
    "sqlite:////data/a@b:c/x.db",
    "postgres://host/db",
    "postgresql://user:p%40ss@host:5432/db?sslmode=require",
    "postgresql://user@server:pass@host/db",
    "postgresql://user@[::1]:5432/db",
    "postgresql:///db?host=/var/run/postgresql",
    "postgresql://user@host/a@b",
]


@pytest.mark.parametrize("url", GOOD_DATABASES)
def test_usual_database_urls_are_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert load_settings().database_url == url


def test_each_refused_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REGIONS": '{"AMER": 1}', "SMTP_PORT": "70000", "ARR_THRESHOLD": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.message == (
        "REGIONS: each entry must be a valid string;"
        " ARR_THRESHOLD: must be a valid integer, unable to parse string as an integer;"
        " SMTP_PORT: must be less than or equal to 65535"
    )


FILES: list[tuple[Any, str]] = [
    ("{", "is not valid JSON in UTF-8 (Expecting property name"),
    ("[" * 100_000, "is not valid JSON"),
    ('{"regions": {"canary": "a", "canary": "b"}}', "must be a JSON object that has each key once"),
    ('{"s3_anon": true, "s3_anon": false}', "must hold one object that has each key once"),
    ("[]", "must hold one object"),
    ('"canary"', "must hold one object"),
    ('{"zeta": "canary", "ARR_THRESHOLD": 1}', "unknown settings: ARR_THRESHOLD, zeta;"),
    ('{"arr_threshold": "canary"}', "ARR_THRESHOLD: "),
    ('{"arr_threshold": null}', "ARR_THRESHOLD: "),
    ('{"regions": "canary"}', "REGIONS: "),
    ('{"api_token": ""}', "API_TOKEN: "),
    ('{"smtp_username": ""}', "SMTP_USERNAME: "),
    ('{"gcs_user_project": ""}', "GCS_USER_PROJECT: "),
    ('{"max_alerts_per_run": false}', "MAX_ALERTS_PER_RUN: "),
    (b"\xff\xfe\x00", "is not valid JSON in UTF-8"),
    (None, "cannot be read (No such file or directory)"),
]


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_bad_config_file_is_one_clear_error(config: Path, content: str | bytes | None, expected: str) -> None:
    if content is not None:
        config.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=re.escape(expected)) as caught:
        load_settings()
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", '{"arr_threshold": 5}'), ("x.TOML", "arr_threshold = 5")]
)
def test_config_file_may_begin_with_a_bom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    monkeypatch.setenv("CONFIG_FILE", str(tmp_path / name))
    assert load_settings().arr_threshold == 5


def test_bad_toml_file_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = config.with_suffix(".toml")
    toml.write_text("api_token = canary")
    monkeypatch.setenv("CONFIG_FILE", str(toml))
    wrong = f"^CONFIG_FILE: {re.escape(str(toml))} is not valid TOML"
    with pytest.raises(SettingsError, match=wrong) as caught:
        load_settings()
    assert "canary" not in caught.value.message


SECRETS = {
    "SLACK_WEBHOOK_BASE_URL": "https://canary-base.example/x",
    "SLACK_WEBHOOK_URL": "https://canary-webhook.example/x",
    "SMTP_PASSWORD": "canary-smtp",
    "API_TOKEN": "canary-token",
    "GCS_TOKEN": "canary-gcs",
    "DATABASE_URL": "postgresql://user:canary%2Fdatabase@host/ledger?sslpassword=canary-key",
}


def test_secrets_are_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, "SMTP_USERNAME": "someone"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert "canary" not in repr(settings) + str(settings)
    everything = json.dumps(SECRETS) + " canary/database canary%2Fdatabase"
    assert "canary" not in redact(everything)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("S3_ENDPOINT_URL", "https://user:canary%2Fs3@host", "canary/s3 canary%2Fs3"),
        ("GCS_ENDPOINT_URL", "https://user:canary!gcs@host", "canary!gcs canary%21gcs"),
        ("SLACK_WEBHOOK_URL", "https://user:canary!s@host", "canary!s canary%21s"),
        ("SLACK_WEBHOOK_BASE_URL", "https://user:canary!b@host", "canary!b canary%21b"),
        ("DATABASE_URL", "postgresql://user:canary%2fdb@host/ledger", "canary%2fdb canary%2Fdb"),
    ],
)
def test_password_in_a_url_is_masked(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    load_settings()
    assert redact(shown) == "*** ***"


@pytest.mark.parametrize(
    "text",
    [
        "http://user:canary@host/x",
        "http://user:a@canary@host/x",
        "http://user:a/canary@host/x",
        "http://user:a?b/@canary@host/x",
        "postgresql://canary@host/db",
    ],
)
def test_user_info_of_a_url_is_masked(text: str) -> None:
    assert "canary" not in redact(text)
    assert "host/" in redact(text)


@pytest.mark.parametrize("text", ["http://host:80/x, a@b.example", '{"a": "http://host:80/x", "b": "c@d"}'])
def test_address_after_a_url_is_not_masked(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", ["a://" * 500_000, "a://b:" * 500_000, "u@" + "a://" * 500_000])
def test_long_text_is_searched_in_linear_time(text: str) -> None:
    # A search whose time grows with the square would reach the time limit of a test.
    assert redact(text) == text


@pytest.mark.parametrize("word", ["anon", "cloud", "google_default"])
def test_gcs_token_keywords_are_no_secrets(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("GCS_TOKEN", word)
    load_settings()
    assert redact(f"from {word}") == f"from {word}"
