"""Settings: defaults, sources, and one clear error without the value for each bad one."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from core.alerts import RULES
from core.domain import SettingsError
from core.runtime import Settings, load_settings, redact

Load = Callable[..., Settings]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that sets variables and loads the settings."""

    def set_and_load(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return set_and_load


def refused(load: Load, **variables: str) -> str:
    """Return the error about these variables, after a check that it is one line and shows no value."""
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None
    return caught.value.message


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path in `CONFIG_FILE`, where a test writes its file."""
    path = tmp_path / "config.json"
    monkeypatch.setenv("CONFIG_FILE", str(path))
    return path


def test_settings_come_from_environment_json_and_toml(config: Path, load: Load) -> None:
    config.write_text('{"regions": {"AMER": "amer"}, "arr_threshold": 1, "s3_anon": true}')
    settings = load()
    assert (settings.regions, settings.arr_threshold, settings.s3_anon) == ({"AMER": "amer"}, 1, True)
    toml = config.with_suffix(".toml")
    toml.write_text('arr_threshold = 2\nallowed_sources = ["gs://b/"]\n[regions]\nEMEA = "emea"\n')
    settings = load(CONFIG_FILE=str(toml))
    assert (settings.regions, settings.arr_threshold) == ({"EMEA": "emea"}, 2)
    assert settings.allowed_sources == ["gs://b/"]
    settings = load(ARR_THRESHOLD="3", REGIONS='{"APAC": "apac"}')
    assert (settings.regions, settings.arr_threshold) == ({"APAC": "apac"}, 3)


def test_empty_variable_counts_as_unset(config: Path, load: Load) -> None:
    config.write_text('{"arr_threshold": 7}')
    settings = load(ARR_THRESHOLD="", REGIONS="", API_TOKEN="")
    assert (settings.arr_threshold, settings.api_token) == (7, None)
    assert load(CONFIG_FILE="").arr_threshold == 10_000


BAD = {
    "REGIONS": [
        '["canary"]',
        '{"canary": ""}',
        '{"canary": null}',
        '{"canary": "."}',
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
        "https:///canary",
        "http://[::1",
        "https://user:p/canary@host/x",
    ],
    "SLACK_WEBHOOK_URL": [
        "ftp://canary",
        "https://can ary",
        "https://host/canary\x7f",
        "https://user:p@canary@host/x",
    ],
    "SLACK_MAX_ATTEMPTS": ["0", "101"],
    "SLACK_BACKOFF_SECONDS": ["-1", "nan"],
    "SLACK_TIMEOUT_SECONDS": ["0", "inf"],
    "SLACK_CHANNEL_RATE": ["-0.5"],
    "ARR_THRESHOLD": ["10k-canary", "-1", "9223372036854775808"],
    "MAX_ALERTS_PER_RUN": ["-1"],
    "APP_BASE_URL": ["canary", "https://user:canary@host", "https://canary@host", "https://host/canary|x"],
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
        "postgresql://host/canary?port=x",
        "postgresql:///canary?host=a,b&port=1,2,3",
    ],
    "GCS_ENDPOINT_URL": ["https://host/#canary"],
    "S3_ENDPOINT_URL": ["https://host/?canary", "http://user:p:canary@host"],
    "ALLOWED_SOURCES": ['["file://canary/x"]', '["/canary"]', '["https://canary/"]'],
    "SUPPORT_EMAIL": [
        *("canary@", "@canary", "a@canary@b"),
        *("a,canary@b", "a;canary@b", "a@canary,b", "a@canary;b"),
    ],
    "SMTP_HOST": ["smtp://canary", "canary:587", "user@canary", "[::1]"],
    "SMTP_PORT": ["0", "65536"],
    "SMTP_STARTTLS": ["canary"],
    "SMTP_USERNAME": ["canary"],
    "SMTP_PASSWORD": ["canary-\udcff"],
    "API_TOKEN": ["canary with spaces"],
    "CONFIG_FILE": ['"canary"'],
    "API_RUNS_AT_ONCE": ["0", "257"],
    "SOURCE_TIMEOUT_SECONDS": ["0"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_bad_value_names_the_setting_and_not_the_value(load: Load, name: str, value: str) -> None:
    assert name in refused(load, **{name: value})


GOOD = {
    "ARR_THRESHOLD": ["0", "9223372036854775807"],
    "SLACK_WEBHOOK_URL": ["https://host/x?y=z#a"],
    "OWNERS": ['{"Ana": "WAB", "Zo\u00eb": "U12345678901234567890"}'],
    "ALLOWED_SOURCES": ['["GS://b/", "File:///a\\nb"]'],
    "DATABASE_URL": [
        "sqlite:///data/x.db",
        "sqlite:////data/a@b:c/x.db",
        "postgresql://user:p%40ss@host:5432/db?sslmode=require",
        "postgresql://user@server:pass@host/db",
        "postgresql://user@[::1]:5432/db",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://user@host/a@b",
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in GOOD for value in GOOD[name]])
def test_unusual_value_is_good(load: Load, name: str, value: str) -> None:
    settings = load(**{name: value})
    assert name != "DATABASE_URL" or settings.database_url == value


def test_blanks_and_newlines_around_values_are_stripped(config: Path, load: Load) -> None:
    config.write_text(
        '{"regions": {" AM\\nER ": " #amer\\n", "-": "other"}, "smtp_username": " ana\\n",'
        ' "allowed_sources": [" gs://b/ "], "s3_requester_pays": " true ", "log_format": " json "}'
    )
    settings = load(
        CONFIG_FILE=f" {config}\n",
        APP_BASE_URL=" https://host/a@b\n",
        SMTP_PASSWORD="a secret\r\n",
        API_TOKEN="\ttoken\n",
        DATABASE_URL="sqlite:///data/x.db\n",
        S3_ANON=" true ",
        ARR_THRESHOLD=" \n",
    )
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


TWICE = 'must be a JSON object such as {"key": "value"}, with each key once'
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
    *(
        ("SOURCE_TIMEZONE", zone, "install tzdata")
        for zone in ("Berlin", "UTC+1", "../etc/passwd", "europe/berlin")
    ),
    ("DATABASE_URL", "sqlite://data/x.db", "sqlite:///data/risk_alerts.db"),
    ("DATABASE_URL", "sqlite:///~/x.db", "sqlite:////home/"),
    ("DATABASE_URL", "mysql://host/db", "postgresql://user:password@host/database"),
    ("DATABASE_URL", "data/x.db", "sqlite:////data/risk_alerts.db"),
    ("DATABASE_URL", "postgresql://user:p@ss@host/db", "%40"),
    ("DATABASE_URL", "postgresql://user@{host}/db", "postgresql://user:password@host/database"),
    # Not every mail server accepts other characters, and the first mail would fail.
    *(
        (name, "zo\u00eb@example.com", "ASCII")
        for name in ("SMTP_USERNAME", "SMTP_PASSWORD", "SUPPORT_EMAIL", "SMTP_FROM")
    ),
]


@pytest.mark.parametrize(("name", "value", "valid"), REFUSED)
def test_refused_value_shows_what_is_valid(load: Load, name: str, value: str, valid: str) -> None:
    assert re.match(f"{name}: .*{re.escape(valid)}", refused(load, **{name: value}))


def test_each_refused_value_is_named(load: Load) -> None:
    bad = {"REGIONS": '{"AMER": 1}', "SMTP_PORT": "70000", "ARR_THRESHOLD": "x", "ALERT_TYPES": '["risk"]'}
    assert refused(load, **bad) == (
        "REGIONS: each entry must be a valid string;"
        " ARR_THRESHOLD: must be a valid integer;"
        f" ALERT_TYPES: 'risk' is not an alert type; use {', '.join(RULES)};"
        " SMTP_PORT: must be less than or equal to 65535"
    )


@pytest.mark.parametrize("name", ["SMTP_USERNAME", "SMTP_PASSWORD"])
def test_half_a_login_is_refused(load: Load, name: str) -> None:
    assert refused(load, **{name: "canary"}) == (
        "SMTP_USERNAME and SMTP_PASSWORD go together: set both or neither"
    )


FILES: list[tuple[str, bytes | None, str]] = [
    ("x.json", b"{", "is not valid JSON in UTF-8 (Expecting property name"),
    ("x.json", b"[" * 100_000, "is not valid JSON"),
    ("x.json", b"\xff\xfe\x00", "is not valid JSON in UTF-8"),
    ("x.json", b'{"regions": {"canary": "a", "canary": "b"}}', "(an object names a key twice)"),
    ("x.json", b'{"s3_anon": true, "s3_anon": false}', "(an object names a key twice)"),
    ("x.json", b"[]", "must hold one object"),
    ("x.json", b'"canary"', "must hold one object"),
    ("x.json", b'{"zeta": "canary", "ARR_THRESHOLD": 1}', "unknown settings: ARR_THRESHOLD, zeta;"),
    ("x.json", b'{"arr_threshold": "canary"}', "ARR_THRESHOLD: "),
    ("x.json", b'{"arr_threshold": null}', "ARR_THRESHOLD: "),
    ("x.json", b'{"regions": "canary"}', "REGIONS: "),
    ("x.json", b'{"api_token": ""}', "API_TOKEN: "),
    ("x.json", b'{"smtp_username": ""}', "SMTP_USERNAME: "),
    ("x.json", b'{"gcs_user_project": ""}', "GCS_USER_PROJECT: "),
    ("x.json", b'{"source_timezone": ""}', "SOURCE_TIMEZONE: "),
    ("x.json", b'{"max_alerts_per_run": false}', "MAX_ALERTS_PER_RUN: "),
    ("x.json", None, "/x.json cannot be read (No such file or directory)"),
    ("x.toml", b"api_token = canary", "/x.toml is not valid TOML"),
]


@pytest.mark.parametrize(("name", "content", "expected"), FILES)
def test_bad_config_file_is_one_clear_error(
    tmp_path: Path, load: Load, name: str, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert expected in refused(load, CONFIG_FILE=str(tmp_path / name))


@pytest.mark.parametrize("content", ['{"api_token": "canary"}', "api_token = 'canary'"])
def test_config_in_place_of_its_file_is_not_shown(load: Load, content: str) -> None:
    assert refused(load, CONFIG_FILE=content).startswith(
        "CONFIG_FILE: its value cannot be read (No such file"
    )


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", '{"arr_threshold": 5}'), ("x.TOML", "arr_threshold = 5")]
)
def test_config_file_may_begin_with_a_bom(tmp_path: Path, load: Load, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    assert load(CONFIG_FILE=str(tmp_path / name)).arr_threshold == 5


SECRETS = {
    "SLACK_WEBHOOK_BASE_URL": "https://canary-base.example/x",
    "SLACK_WEBHOOK_URL": "https://canary-webhook.example/x",
    "SMTP_PASSWORD": "canary-smtp",
    "API_TOKEN": "canary-token",
    "GCS_TOKEN": "canary-gcs",
    "DATABASE_URL": "postgresql://user:canary%2Fdatabase@host/ledger?password=canary-query&sslpassword=canary-key",
}


def test_each_secret_setting_is_tested() -> None:
    """A `Secret` inside of a list or an object is a setting whose values `Settings.secrets` must find."""
    secret = {name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field)}
    assert secret | {"DATABASE_URL"} == SECRETS.keys()


def test_secrets_are_masked_everywhere(load: Load) -> None:
    settings = load(**SECRETS, SMTP_USERNAME="someone")
    assert "canary" not in repr(settings) + str(settings)
    everything = json.dumps(SECRETS) + " canary/database canary%2Fdatabase"
    assert "canary" not in redact(everything)


def test_secret_inside_of_another_leaves_no_rest(load: Load) -> None:
    load(API_TOKEN="canary", SMTP_PASSWORD="a-canary-tail", SMTP_USERNAME="someone")
    assert redact("a-canary-tail") == "***"


def test_webhook_is_masked_without_its_final_slash(load: Load) -> None:
    load(SLACK_WEBHOOK_URL="https://relay/canary/")
    assert redact("https://relay/canary https://relay/canary/") == "*** ***"


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
def test_password_in_a_url_is_masked(load: Load, name: str, value: str, shown: str) -> None:
    load(**{name: value})
    assert redact(shown) == "*** ***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://user:canary@host/x", "http://***@host/x"),
        ("http://user:a@canary@host/x", "http://***@host/x"),
        ("http://user:a/canary@host/x", "http://***@host/x"),
        ("http://user:a?b/@canary@host/x", "http://***@host/x"),
        ("postgresql://canary@host/db", "postgresql://***@host/db"),
        ("http://host:80/x, a@b.example", "http://host:80/x, a@b.example"),
        ('{"a": "http://host:80/x", "b": "c@d"}', '{"a": "http://host:80/x", "b": "c@d"}'),
    ],
)
def test_user_info_of_a_url_is_masked(text: str, masked: str) -> None:
    assert redact(text) == masked


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["a://" * 500_000, "a://b:" * 500_000, "u@" + "a://" * 500_000])
def test_long_text_is_searched_in_linear_time(text: str) -> None:
    """A search whose time grows with the square takes hours."""
    assert redact(text) == text


@pytest.mark.parametrize("word", ["anon", "cloud", "google_default"])
def test_gcs_token_keywords_are_no_secrets(load: Load, word: str) -> None:
    load(GCS_TOKEN=word)
    assert redact(f"from {word}") == f"from {word}"
