"""Each refusal of a store has its error, and a message that says what to do."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain import (
    RiskAlertsError,
    SettingsError,
    SourceForbidden,
    SourceInvalid,
    SourceNotFound,
    SourceUnreachable,
)
from core.runtime import Settings
from core.sources import open_uri
from core.sources.refusals import REFUSALS, TEXTS, error_for
from tests.reading.refusing import Refusing
from tests.service import closed_port


@pytest.mark.parametrize(
    ("provider", "word"), [(of, word) for of, table in REFUSALS.items() for word in table]
)
def test_every_refusal_has_advice(provider: str, word: str) -> None:
    _, meaning = REFUSALS[provider][word]
    assert ": " in meaning.format_map(defaultdict(str, TEXTS))


@pytest.fixture
def store() -> Iterator[Refusing]:
    server = Refusing()
    yield server
    server.close()


def refusal(uri: str, settings: Settings) -> RiskAlertsError:
    with pytest.raises(RiskAlertsError) as caught:
        open_uri(uri, settings)
    return checked(caught.value)


def checked(error: RiskAlertsError) -> RiskAlertsError:
    assert "canary" not in error.message
    assert "\n" not in error.message
    assert "Error" not in error.message
    assert error.__cause__ is None
    return error


S3_ERROR = "<Error><Code>{}</Code><Message>canary {}</Message></Error>"
SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to"
    " retrieve the object."
)
NO_DECRYPT = "is not authorized to perform: kms:Decrypt on resource: canary"

S3_REFUSALS = [
    (400, "ExpiredToken", "", SourceForbidden, "renew AWS_SESSION_TOKEN"),
    (400, "InvalidToken", "", SourceForbidden, "AWS_SESSION_TOKEN does not belong to AWS_ACCESS_KEY_ID"),
    (400, "TokenRefreshRequired", "", SourceForbidden, "renew AWS_SESSION_TOKEN"),
    (400, "InvalidRequest", SSE_C, SourceForbidden, "a key of the customer's own"),
    (
        400,
        "KMS.DisabledException",
        "canary is disabled",
        SourceForbidden,
        "is disabled or deleted: enable it",
    ),
    (400, "KMS.KMSInvalidStateException", "", SourceForbidden, "is disabled or deleted: enable it"),
    (400, "AuthorizationHeaderMalformed", "", SettingsError, "set AWS_DEFAULT_REGION"),
    (400, "SomethingNew", "", SourceForbidden, "HTTP 400"),
    (403, "AccessDenied", "", SourceForbidden, "grant s3:GetObject on the objects and s3:ListBucket"),
    (403, "AccessDenied", "", SourceForbidden, "S3_REQUESTER_PAYS"),
    (403, "AccessDenied", NO_DECRYPT, SourceForbidden, "grant kms:Decrypt on the key"),
    (403, "InvalidAccessKeyId", "", SourceForbidden, "or use a role (InvalidAccessKeyId)"),
    (403, "InvalidObjectState", "", SourceForbidden, "Glacier or Deep Archive): restore it"),
    (403, "RequestTimeTooSkewed", "", SourceForbidden, "clock"),
    (403, "SignatureDoesNotMatch", "", SourceForbidden, "AWS_SECRET_ACCESS_KEY does not belong"),
    (403, "SomethingNew", "", SourceForbidden, "HTTP 403"),
    (404, "NoSuchBucket", "", SourceNotFound, "no such bucket"),
    (418, "SomethingNew", "File canary was not found", SourceUnreachable, "HTTP 418"),
    (409, "SomethingNew", "", SourceUnreachable, "the store answers HTTP 409: run the month again later"),
]


@pytest.mark.parametrize("uri", ["s3://bucket/x.parquet", "s3://bucket/folder/"])
@pytest.mark.parametrize(("status", "code", "said", "error", "words"), S3_REFUSALS)
def test_s3_refusal_has_advice(
    store: Refusing,
    aws_keys: None,
    uri: str,
    status: int,
    code: str,
    said: str,
    error: type[RiskAlertsError],
    words: str,
) -> None:
    store.status, store.body = status, S3_ERROR.format(code, said).encode()
    found = refusal(uri, Settings(s3_endpoint_url=store.url))
    assert isinstance(found, error)
    assert found.message.startswith(f"{uri}: ")
    assert words in found.message
    assert len(store.asked) <= 3


def test_unknown_failure_of_a_store_is_unreachable() -> None:
    error = error_for(ValueError("canary"), "gs", "gs://bucket/x")
    assert isinstance(error, SourceUnreachable)
    said = "the store gives no answer that can be used: run the month again later"
    assert checked(error).message == f"gs://bucket/x: {said}"


def read_refusal(uri: str, settings: Settings, size: int = 4) -> RiskAlertsError:
    source = open_uri(uri, settings)
    with pytest.raises(RiskAlertsError) as caught:
        source.read(source.files[0], [(0, size)])
    return checked(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "said", "words"),
    [
        (403, "InvalidObjectState", "", "restore it"),
        (403, "AccessDenied", NO_DECRYPT, "grant kms:Decrypt"),
        (400, "KMS.DisabledException", "", "enable it"),
    ],
)
def test_s3_refusal_after_a_good_head_has_advice(
    store: Refusing, aws_keys: None, status: int, code: str, said: str, words: str
) -> None:
    """HEAD succeeds also for an archived object or a key that may not be used."""
    store.found, store.status, store.body = True, status, S3_ERROR.format(code, said).encode()
    found = read_refusal("s3://bucket/x.parquet", Settings(s3_endpoint_url=store.url))
    assert isinstance(found, SourceForbidden)
    assert words in found.message


def test_unreachable_s3_is_named(aws_keys: None) -> None:
    host = f"127.0.0.1:{closed_port()}"
    found = refusal("s3://bucket/x.parquet", Settings(s3_endpoint_url=f"http://{host}"))
    assert isinstance(found, SourceUnreachable)
    assert f"s3://bucket/x.parquet: {host} cannot be reached" in found.message


def test_s3_without_a_reason_is_explained_by_its_status(store: Refusing, aws_keys: None) -> None:
    store.status = 400
    assert isinstance(refusal("s3://bucket/x.parquet", Settings(s3_endpoint_url=store.url)), SourceForbidden)


@pytest.mark.parametrize("encoding", ["gzip", "br", "aws-chunked,gzip"])
def test_s3_object_with_content_encoding_is_refused(store: Refusing, aws_keys: None, encoding: str) -> None:
    store.found, store.body = True, gzip.compress(b"PAR1")
    store.headers = {"Content-Encoding": encoding}
    settings = Settings(s3_endpoint_url=store.url)
    found = read_refusal("s3://bucket/x.parquet", settings, len(store.body))
    assert isinstance(found, SourceInvalid)
    assert "Content-Encoding" in found.message


def test_plain_parquet_with_a_wrong_content_encoding_is_read(store: Refusing, aws_keys: None) -> None:
    store.found, store.body, store.headers = True, b"PAR1", {"Content-Encoding": "gzip"}
    source = open_uri("s3://bucket/x.parquet", Settings(s3_endpoint_url=store.url))
    assert source.read(source.files[0], [(0, 4)]) == [b"PAR1"]


def test_requester_pays_is_paid_when_it_is_set(store: Refusing, aws_keys: None) -> None:
    store.status, store.body = 403, b""
    refusal("gs://bucket/x.parquet", Settings(gcs_endpoint_url=store.url, gcs_user_project="payer"))
    assert all("userProject=payer" in line for line in store.asked)


PAYS = "Bucket is a requester pays bucket but no user project provided."
CSEK = "resourceIsEncryptedWithCustomerEncryptionKey"
NO_KMS = "Permission denied on Cloud KMS key. canary"
NO_BILLING = "The billing account for the owning project is disabled in state absent"

GCS_REFUSALS = [
    (400, "required", PAYS, SourceForbidden, "set GCS_USER_PROJECT"),
    (400, "userProjectMissing", "", SourceForbidden, "set GCS_USER_PROJECT"),
    (400, "userProjectInvalid", "invalid canary", SourceForbidden, "GCS_USER_PROJECT names no project"),
    (400, CSEK, "invalid", SourceForbidden, "a key of the customer's own"),
    (400, "cloudKmsDisabledKey", "The Cloud KMS key is disabled", SourceForbidden, "deleted: enable it"),
    (400, "cloudKmsDecryptionKeyNotFound", "File canary was not found", SourceForbidden, "enable it"),
    (400, "invalid", "Invalid bucket name: canary", SourceNotFound, "no bucket of this name"),
    (401, "authError", "Invalid Credentials", SourceForbidden, "renew GOOGLE_APPLICATION_CREDENTIALS"),
    (401, "required", "Anonymous caller canary", SourceForbidden, "there are no Google credentials"),
    (403, "forbidden", "canary has no access", SourceForbidden, "roles/storage.objectViewer"),
    (403, "forbidden", NO_KMS, SourceForbidden, "Cloud KMS key"),
    (403, "UserProjectAccessDenied", "", SourceForbidden, "serviceusage.services.use"),
    (403, "UserProjectAccountProblem", "", SourceForbidden, "billing"),
    (403, "accountDisabled", NO_BILLING, SourceForbidden, "billing"),
    (403, "vpcServiceControls", "", SourceForbidden, "perimeter"),
    (403, "insufficientPermissions", "", SourceForbidden, "scopes"),
    (403, "rateLimitExceeded", "", SourceUnreachable, "later"),
    (404, "notFound", "The specified bucket does not exist.", SourceNotFound, "no such object"),
    (409, "SomethingNew", "", SourceUnreachable, "the store answers HTTP 409: run the month again later"),
]


def gcs_error(status: int, reason: str, said: str) -> bytes:
    errors = [{"domain": "global", "reason": reason, "message": said}]
    return json.dumps({"error": {"code": status, "message": said, "errors": errors}}).encode()


@pytest.mark.parametrize("uri", ["gs://bucket/x.parquet", "gs://bucket/folder/"])
@pytest.mark.parametrize(("status", "reason", "said", "error", "words"), GCS_REFUSALS)
def test_gcs_refusal_has_advice(
    store: Refusing,
    uri: str,
    status: int,
    reason: str,
    said: str,
    error: type[RiskAlertsError],
    words: str,
) -> None:
    store.status, store.body = status, gcs_error(status, reason, said)
    found = refusal(uri, Settings(gcs_endpoint_url=store.url))
    assert isinstance(found, error)
    assert found.message.startswith(f"{uri}: ")
    assert words in found.message
    assert len(store.asked) <= 3


@pytest.mark.parametrize("header", ["Content-Encoding", "X-Goog-Stored-Content-Encoding"])
def test_gcs_object_with_content_encoding_is_refused(store: Refusing, header: str) -> None:
    """Cloud Storage decompresses such an object, so that it ignores ranges."""
    item = {"name": "x.parquet", "generation": "1", "size": "4", "contentEncoding": "gzip"}
    store.body = json.dumps(item).encode()
    source = open_uri("gs://bucket/x.parquet", Settings(gcs_endpoint_url=store.url))
    store.body, store.headers = gzip.compress(b"PAR1"), {header: "gzip"}
    with pytest.raises(SourceInvalid, match="Content-Encoding"):
        source.read(source.files[0], [(0, 4)])


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            400,
            {"error": "invalid_grant", "error_description": "canary"},
            SourceForbidden,
            "expired or were revoked",
        ),
        (401, {"error": "unauthorized_client"}, SourceForbidden, ": renew GOOGLE_APPLICATION_CREDENTIALS"),
        (503, {"error": "unavailable"}, SourceUnreachable, "SOURCE_TIMEOUT_SECONDS"),
        (200, [], SourceUnreachable, "no answer that can be used"),
    ],
)
def test_refusing_google_token_endpoint_is_no_outage(
    store: Refusing,
    private_key: str,
    tmp_path: Path,
    status: int,
    body: object,
    error: type[RiskAlertsError],
    words: str,
) -> None:
    store.status, store.body = status, json.dumps(body).encode()
    key_file = tmp_path / "key.json"
    key = {"type": "service_account", "client_email": "us@example.test", "private_key": private_key}
    key_file.write_text(json.dumps({**key, "token_uri": f"{store.url}/token"}))
    timeout = 1 if error is SourceUnreachable else 30
    settings = Settings(gcs_endpoint_url=store.url, gcs_token=str(key_file), source_timeout_seconds=timeout)
    found = refusal("gs://bucket/x.parquet", settings)
    assert isinstance(found, error)
    assert words in found.message
    assert {line.split("?")[0] for line in store.asked} == {"POST /token"}
