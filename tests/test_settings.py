"""Settings: their defaults, where they come from, and that a bad one is one clear error without its value."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core import redaction
from core.errors import SettingsError
from core.redaction import redact
from core.settings import Settings, load_settings

DEFAULTS: dict[str, Any] = {
    "regions": {},
    "slack_webhook_base_url": None,
    "slack_webhook_url": None,
    "slack_max_attempts": 5,
    "slack_backoff_seconds": 0.5,
    "slack_retry_after_max_seconds": 120,
    "slack_timeout_seconds": 10,
    "slack_channel_rate": 1,
    "arr_threshold": 10_000,
    "max_alerts_per_run": 5000,
    "app_base_url": "https://app.yourcompany.com",
    "database_url": "sqlite:///data/risk_alerts.db",
    "support_email": "support@quadsci.ai",
    "smtp_host": None,
    "smtp_username": None,
    "smtp_password": None,
    "smtp_starttls": None,
    "api_token": None,
    "allowed_sources": None,
    "gcs_token": None,
    "gcs_endpoint_url": None,
    "s3_endpoint_url": None,
    "s3_anon": False,
    "source_timeout_seconds": 60,
    "log_format": "text",
}
"""The contract's table."""


@pytest.fixture(autouse=True)
def _no_secrets_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the path of a file that `CONFIG_FILE` names and a test writes."""
    path = tmp_path / "config.json"
    monkeypatch.setenv("CONFIG_FILE", str(path))
    return path


def test_the_defaults_are_the_contracts() -> None:
    settings = load_settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


def test_every_setting_can_stand_in_the_environment_and_in_a_json_or_toml_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_regions_of_the_environment_replace_those_of_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('{"regions": {"AMER": "amer", "EMEA": "emea"}}')
    monkeypatch.setenv("REGIONS", '{"APAC": "apac"}')
    assert load_settings().regions == {"APAC": "apac"}


def test_an_empty_variable_is_as_if_it_were_not_set(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('{"arr_threshold": 7}')
    for name in ("ARR_THRESHOLD", "REGIONS", "API_TOKEN"):
        monkeypatch.setenv(name, "")
    assert (load_settings().arr_threshold, load_settings().api_token) == (7, None)
    monkeypatch.setenv("CONFIG_FILE", "")
    assert load_settings().arr_threshold == 10_000


BAD = [
    ("REGIONS", "canary"),
    ("REGIONS", '["canary"]'),
    ("REGIONS", '{"canary": ""}'),
    ("REGIONS", '{"": "canary"}'),
    ("REGIONS", '{"canary": null}'),
    ("REGIONS", '{"canary": ".."}'),
    ("SLACK_WEBHOOK_BASE_URL", "canary"),
    ("SLACK_WEBHOOK_BASE_URL", "http://host/hook?token=canary"),
    ("SLACK_WEBHOOK_BASE_URL", "http://host/hook#canary"),
    ("SLACK_WEBHOOK_BASE_URL", "http://canary:99999"),
    ("SLACK_WEBHOOK_BASE_URL", "http://[::1"),
    ("SLACK_WEBHOOK_URL", "ftp://canary"),
    ("SLACK_WEBHOOK_URL", "https://can ary"),
    ("SLACK_MAX_ATTEMPTS", "canary"),
    ("SLACK_MAX_ATTEMPTS", "0"),
    ("SLACK_BACKOFF_SECONDS", "-1"),
    ("SLACK_BACKOFF_SECONDS", "nan"),
    ("SLACK_TIMEOUT_SECONDS", "0"),
    ("SLACK_TIMEOUT_SECONDS", "inf"),
    ("SLACK_CHANNEL_RATE", "-0.5"),
    ("ARR_THRESHOLD", "10k-canary"),
    ("ARR_THRESHOLD", "1.5"),
    ("MAX_ALERTS_PER_RUN", "-1"),
    ("APP_BASE_URL", "canary"),
    ("DATABASE_URL", "canary"),
    ("DATABASE_URL", "mysql://canary/x"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("SUPPORT_EMAIL", "canary"),
    ("SUPPORT_EMAIL", "canary@x\n.y"),
    ("SMTP_PORT", "70000"),
    ("SMTP_STARTTLS", "canary"),
    ("SMTP_USERNAME", "canary"),
    ("API_TOKEN", "canary with spaces"),
    ("API_TOKEN", "canary\n"),
    ("ALLOWED_SOURCES", "gs://canary"),
    ("ALLOWED_SOURCES", '["/canary"]'),
    ("ALLOWED_SOURCES", '["https://canary/"]'),
    ("SOURCE_TIMEOUT_SECONDS", "0"),
    ("LOG_FORMAT", "canary"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_one_line_that_names_the_setting_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in caught.value.message
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None


FILES: list[tuple[Any, str]] = [
    ("{", "is not valid JSON"),
    ("", "is not valid JSON"),
    ("[]", "must hold one object"),
    ("null", "must hold one object"),
    ('"canary"', "must hold one object"),
    ('{"unknown_key": "canary"}', "unknown settings: unknown_key"),
    ('{"ARR_THRESHOLD": 1}', "unknown settings: ARR_THRESHOLD"),
    ('{"arr_threshold": "canary"}', "ARR_THRESHOLD: "),
    ('{"arr_threshold": null}', "ARR_THRESHOLD: "),
    ('{"regions": "canary"}', "REGIONS: "),
    ('{"api_token": ""}', "API_TOKEN: "),
    ('{"max_alerts_per_run": false}', "MAX_ALERTS_PER_RUN: "),
    (b"\xff\xfe\x00", "can't be read"),
    (None, "can't be read"),
]


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_a_bad_file_is_one_clear_error(config: Path, content: str | bytes | None, expected: str) -> None:
    if content is not None:
        config.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=re.escape(expected)) as caught:
        load_settings()
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bad_toml_file_is_named_as_such(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = config.with_suffix(".toml")
    toml.write_text("api_token = canary")
    monkeypatch.setenv("CONFIG_FILE", str(toml))
    with pytest.raises(SettingsError, match="is not valid TOML") as caught:
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


def test_secrets_show_in_no_representation_and_are_masked_wherever_they_turn_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**SECRETS, "SMTP_USERNAME": "someone"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert "canary" not in repr(settings) + str(settings)
    everything = json.dumps(SECRETS) + " canary/database canary%2Fdatabase"
    assert "canary" not in redact(everything)


def test_the_words_that_stand_for_a_kind_of_google_credentials_are_no_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GCS_TOKEN", "anon")
    load_settings()
    assert redact("anon") == "anon"


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())
