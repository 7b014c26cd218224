"""Unusable credentials and connection settings are named, each with what to do."""

import json
import os
from pathlib import Path

import pytest

from core.domain import SettingsError, SourceForbidden, SourceNotFound, SourceUnreachable
from core.runtime import Settings
from tests.reading.conftest import assert_refused
from tests.reading.servers import Refusing
from tests.service import closed_port
from tests.support.servers import self_signed

GS, S3 = "gs://bucket/x.parquet", "s3://bucket/x.parquet"
CLOSED = f"127.0.0.1:{closed_port()}"
ROLE = "arn:aws:iam::123456789012:role/reader"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "canary"}
ANSWER = {"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "canary"}


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the credentials of this machine and its metadata service."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


GAVE_NONE = "the provider of the AWS credentials gave none: run credential_process of the AWS profile by hand"
PROFILES = {
    "process is missing": ("credential_process = /no/process --token canary", "/no/process"),
    "process is missing, with a blank": (
        'credential_process = "/no/my tools/process" --token=canary',
        "the credentials need /no/my tools/process, which cannot be used (No such file or directory)",
    ),
    "process fails": ("credential_process = /bin/false --token canary", GAVE_NONE),
    "process gives no JSON": ("credential_process = /bin/echo canary", GAVE_NONE),
    "process gives any bytes": (r"credential_process = /bin/printf \\377", GAVE_NONE),
    "process has an open quote": ("credential_process = /bin/echo 'canary", GAVE_NONE),
    "process of the source profile fails": (
        f"role_arn = {ROLE}\nsource_profile = two\n[profile two]\ncredential_process = /bin/false canary",
        GAVE_NONE,
    ),
    "wrong expiry of a process": (
        f"credential_process = /bin/echo '{json.dumps(ANSWER | {'Expiration': '2099-01-01T00:00:00'})}'",
        "Expiration from credential_process, is not a time with a zone",
    ),
    "role without a source": (f"role_arn = {ROLE}", "incomplete"),
    "role with an unknown source": (f"role_arn = {ROLE}\ncredential_source = none", "AWS_CONFIG_FILE"),
    "expired SSO": (
        "sso_account_id = 1\nsso_role_name = r\nsso_start_url = https://x.test\nsso_region = us-east-1",
        "run `aws sso login`",
    ),
    "wrong number": ("max_attempts = canary", "in the AWS profile, has a value that cannot be used"),
    "wrong checksums": ("request_checksum_calculation = canary", "request_checksum_calculation"),
    "wrong endpoint": ("endpoint_url = minio:9000", "endpoint_url in the AWS profile"),
    "wrong addressing style": ("s3 =\n  addressing_style = canary", "addressing_style"),
    "wrong section": ("s3 = canary", "in the section s3"),
    "login of the console": ("login_session = canary", "login_session in the AWS profile"),
    "missing certificates": (
        "ca_bundle = /no/file",
        "ca_bundle in the AWS profile: /no/file cannot be used",
    ),
    "not an INI file": ("=", "is not in the INI format"),
}


@pytest.mark.parametrize("case", PROFILES)
def test_unusable_aws_profile_is_named(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, words = PROFILES[case]
    error = SettingsError if case.startswith(("wrong", "missing")) else SourceForbidden
    (tmp_path / "config").write_text(f"[default]\n{lines}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert_refused(S3, Settings(), error, words)


TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"
EXPIRY = "AWS_CREDENTIAL_EXPIRATION"
ENVIRONMENTS = {
    "profile is missing": ({"AWS_PROFILE": "none"}, "no profile none"),
    "no credentials": ({}, "set AWS_PROFILE, or AWS_ACCESS_KEY_ID"),
    "key without a secret": ({"AWS_ACCESS_KEY_ID": "key"}, "incomplete"),
    "token file is missing": ({"AWS_ROLE_ARN": ROLE, TOKEN_FILE: "/no/token"}, "need /no/token"),
    "token is no file": ({"AWS_ROLE_ARN": ROLE, TOKEN_FILE: "eyJ.canary"}, "need a file, which cannot be"),
    "token file is empty": ({"AWS_ROLE_ARN": ROLE, TOKEN_FILE: os.devnull}, f"{TOKEN_FILE} holds no token"),
    "keys have expired": ({**KEYS, EXPIRY: "2020-01-01T00:00:00Z"}, "the AWS credentials have expired"),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_unusable_aws_credentials_are_named(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, words = ENVIRONMENTS[case]
    set_all(monkeypatch, environment)
    assert_refused(S3, Settings(), SourceForbidden, words)


def test_foreign_host_gives_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.test/canary")
    assert_refused(S3, Settings(), SettingsError, "AWS_CONTAINER_CREDENTIALS_FULL_URI")


OPTIONS = [
    ("AWS_DEFAULT_REGION", "us east", "'us east' is not a region"),
    (EXPIRY, "canary", "2026-01-31T12:00:00Z"),
    (EXPIRY, "2099-01-01T00:00:00", "a time with a zone"),
    ("AWS_RETRY_MODE", "canary", "legacy, standard or adaptive"),
    ("AWS_MAX_ATTEMPTS", "canary", "whole number"),
    ("AWS_MAX_ATTEMPTS", "9" * 5_000, "whole number"),
    ("AWS_MAX_ATTEMPTS", "0", "1 or more"),
    ("AWS_DEFAULTS_MODE", "canary", "in-region"),
    ("AWS_REQUEST_CHECKSUM_CALCULATION", "canary", "when_supported or when_required"),
    ("AWS_RESPONSE_CHECKSUM_VALIDATION", "canary", "when_supported or when_required"),
    ("AWS_STS_REGIONAL_ENDPOINTS", "canary", "legacy or regional"),
    ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "canary", "legacy or regional"),
    ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "canary", "preferred, disabled or required"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "canary", "ipv4 or ipv6"),
    ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "0", "from 1 to 1048576"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), OPTIONS)
def test_unusable_aws_option_is_named(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, {**KEYS, "AWS_DEFAULT_REGION": "us-east-1", name: value})
    assert_refused(S3, Settings(s3_endpoint_url=f"http://{CLOSED}"), SettingsError, name, allowed)


FEDERATED = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": "/no/token"},
}

UNUSABLE = "there are no usable Google credentials"
KEY_FILES = {
    "is missing": (None, "key.json, which is missing"),
    "is not JSON": ("canary", UNUSABLE),
    "is a list": ("[]", UNUSABLE),
    "is of an unknown kind": ('{"type": "canary"}', UNUSABLE),
    "is half a key": ('{"type": "service_account", "private_key": "canary"}', UNUSABLE),
    "names a missing file": (json.dumps(FEDERATED), "the Google credentials need /no/token"),
}


@pytest.mark.parametrize("case", KEY_FILES)
def test_unusable_google_key_file_is_named(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's default chain would continue without credentials, and the store would refuse the request."""
    text, words = KEY_FILES[case]
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert_refused(GS, Settings(), SourceForbidden, words, "GOOGLE_APPLICATION_CREDENTIALS")


def test_google_key_in_place_of_its_file_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = '{"type": "service_account", "private_key": "canary"}'
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key)
    words = "the Google credentials need a file, which is missing: set GOOGLE_APPLICATION_CREDENTIALS"
    assert_refused(GS, Settings(), SourceForbidden, words)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("/no/canary.json", "GCS_TOKEN cannot be used (No such file"),
        ("canary.json", "GCS_TOKEN cannot be used (No such file"),
        ("~/canary", "GCS_TOKEN cannot be used (No such file"),
        ("/", "GCS_TOKEN cannot be used (Is a directory"),
        ('{"canary', "GCS_TOKEN cannot be used (it is no JSON"),
        (__file__, "GCS_TOKEN cannot be used (it is no JSON"),
        ('{"type": "service_account", "private_key": "canary"}', UNUSABLE),
        ("two canaries", "set it to anon, cloud, google_default, an access token, a key file"),
    ],
)
def test_unusable_gcs_token_is_named_and_never_shown(token: str, words: str) -> None:
    assert_refused(GS, Settings(gcs_token=token), SourceForbidden, words, "GCS_TOKEN")


def test_gcs_token_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    """Null would select Google's own chain, and its other credentials."""
    (tmp_path / "key.json").write_text("null")
    settings = Settings(gcs_token=str(tmp_path / "key.json"))
    assert_refused(GS, settings, SourceForbidden, "it is no JSON object")


def test_access_token_is_sent_to_the_store_alone(store: Refusing) -> None:
    """The library would first ask a service of Google's when the token expires."""
    store.status = 403
    assert_refused(GS, store.settings(gcs_token="ya29.canary"), SourceForbidden)
    assert store.authorizations == {"Bearer ya29.canary"}


def test_google_credentials_go_to_no_other_store(store: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/key.json")
    store.status = 404
    assert_refused(GS, store.settings(), SourceNotFound)
    assert store.authorizations == {None}


@pytest.mark.parametrize("environment", [KEYS, {"AWS_PROFILE": "broken"}], ids=["keys", "no usable keys"])
def test_anonymous_s3_request_has_no_credentials(
    store: Refusing, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile broken]\ncredential_process = /bin/false\n")
    set_all(monkeypatch, {"AWS_CONFIG_FILE": str(tmp_path / "config"), **environment})
    store.status = 403
    assert_refused(S3, store.settings(s3_anon=True), SourceForbidden)
    assert store.authorizations == {None}


def test_unreachable_s3_is_named_without_the_proxy_password(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"https_proxy": f"http://user:canary@{CLOSED}", "AWS_MAX_ATTEMPTS": "1", **KEYS})
    assert_refused(S3, Settings(), SourceUnreachable, f"the proxy {CLOSED} cannot be reached")


def variables_of_a_role(folder: Path, sts: str) -> dict[str, str]:
    """Return the variables of a role, whose keys the service at `sts` gives for a token."""
    (folder / "token").write_text("canary")
    return {
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_ENDPOINT_URL_STS": sts,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "the role cannot be assumed: check AWS_ROLE_ARN"),
        (400, "ExpiredTokenException", "the token in AWS_WEB_IDENTITY_TOKEN_FILE has expired"),
        (400, "InvalidIdentityToken", "check the role's identity provider"),
        (403, "SomethingNew", "AWS gives no credentials for the role"),
    ],
)
def test_refused_role_is_named_instead_of_the_bucket(
    store: Refusing, status: int, code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, variables_of_a_role(tmp_path, store.url))
    store.status = status
    store.body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
    assert_refused(S3, Settings(s3_endpoint_url=f"http://{CLOSED}"), SourceForbidden, words)


def test_s3_is_asked_with_the_credentials_of_the_role(
    store: Refusing, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, variables_of_a_role(tmp_path, s3_server))
    store.status = 404
    assert_refused(S3, store.settings(), SourceNotFound)
    of_role = "AWS4-HMAC-SHA256 Credential=ASIA"
    assert store.authorizations
    assert all(sent and sent.startswith(of_role) for sent in store.authorizations)


@pytest.mark.parametrize(("scheme", "variable"), [("gs", "SSL_CERT_FILE"), ("s3", "AWS_CA_BUNDLE")])
def test_untrusted_certificate_is_named(
    scheme: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, KEYS)
    with Refusing(tls=self_signed(tmp_path)) as store:
        uri = f"{scheme}://bucket/x.parquet"
        assert_refused(uri, store.settings(), SourceUnreachable, "is not trusted", variable)
