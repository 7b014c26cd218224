"""Each refusal of a store has its error, and a message that says what to do."""

import gzip
import json
from collections import defaultdict

import pytest
from botocore.exceptions import HTTPClientError
from gcsfs.retry import NonRetryableError
from google.auth.exceptions import TransportError

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
from core.sources.refusals import REFUSALS, TEXTS, Refused, error_for
from tests.reading.conftest import assert_clear, assert_refused
from tests.reading.servers import Refusing, Request, Server

GS, S3 = "gs://bucket/x.parquet", "s3://bucket/x.parquet"


@pytest.mark.parametrize(
    ("provider", "word"), [(of, word) for of, table in REFUSALS.items() for word in table]
)
def test_every_refusal_has_advice(provider: str, word: str) -> None:
    _, meaning = REFUSALS[provider][word]
    assert ": " in meaning.format_map(defaultdict(str, TEXTS))


SSE_C = "The object was stored using a form of Server Side Encryption."
NO_DECRYPT = "is not authorized to perform: kms:Decrypt on resource: canary"

S3_REFUSALS = [
    (400, "ExpiredToken", "", SourceForbidden, "renew AWS_SESSION_TOKEN"),
    (400, "InvalidToken", "", SourceForbidden, "AWS_SESSION_TOKEN does not belong to AWS_ACCESS_KEY_ID"),
    (400, "TokenRefreshRequired", "", SourceForbidden, "renew AWS_SESSION_TOKEN"),
    (400, "InvalidRequest", SSE_C, SourceForbidden, "a key of the customer's own"),
    (400, "KMS.DisabledException", "canary is disabled", SourceForbidden, "deleted: enable it"),
    (400, "KMS.KMSInvalidStateException", "", SourceForbidden, "deleted: enable it"),
    (400, "AuthorizationHeaderMalformed", "", SettingsError, "set AWS_DEFAULT_REGION"),
    (400, "SomethingNew", "", SourceForbidden, "HTTP 400"),
    (403, "AccessDenied", "", SourceForbidden, "s3:ListBucket on the bucket (if it is requester pays, set"),
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


def s3_error(code: str, said: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>canary {said}</Message></Error>".encode()


def gcs_error(status: int, reason: str, said: str) -> bytes:
    errors = [{"domain": "global", "reason": reason, "message": said}]
    return json.dumps({"error": {"code": status, "message": said, "errors": errors}}).encode()


REFUSED = [*(("s3", *one) for one in S3_REFUSALS), *(("gs", *one) for one in GCS_REFUSALS)]


@pytest.mark.parametrize("path", ["x.parquet", "folder/"])
@pytest.mark.parametrize(("scheme", "status", "code", "said", "error", "words"), REFUSED)
def test_refusal_has_advice(
    store: Refusing,
    aws_keys: None,
    path: str,
    scheme: str,
    status: int,
    code: str,
    said: str,
    error: type[RiskAlertsError],
    words: str,
) -> None:
    store.status = status
    store.body = s3_error(code, said) if scheme == "s3" else gcs_error(status, code, said)
    uri = f"{scheme}://bucket/{path}"
    assert_refused(uri, store.settings(), error, words, f"{uri}: ")
    assert len(store.asked) <= 3


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SourceForbidden),
        (401, SourceForbidden),
        (403, SourceForbidden),
        (404, SourceNotFound),
        (429, SourceUnreachable),
        (500, SourceUnreachable),
        (503, SourceUnreachable),
    ],
)
def test_status_alone_decides_the_error(
    store: Refusing, aws_keys: None, scheme: str, status: int, error: type[RiskAlertsError]
) -> None:
    store.status = status
    # The time limit ends retries of server errors. A refusal is not retried, so it gets a long limit.
    timeout = 0.5 if error is SourceUnreachable else 60
    assert_refused(f"{scheme}://bucket/x.parquet", store.settings(source_timeout_seconds=timeout), error)


@pytest.mark.parametrize(
    ("provider", "error", "kind", "words"),
    [
        ("s3", Refused(400, ["InvalidBucketName"]), SourceNotFound, "S3 allows no bucket of this name"),
        ("s3", HTTPClientError(error="canary"), SourceUnreachable, "the store closed the connection"),
        ("gs", Refused(400, ["AuthenticationRequiredRequesterPays"]), SourceForbidden, "use credentials"),
        ("gs", Refused(403, ["accessNotConfigured"]), SourceForbidden, "the Cloud Storage API is off"),
        ("gs", Refused(407), SourceUnreachable, "the proxy refuses the request"),
        ("gs", TransportError("canary"), SourceUnreachable, "the service that gives the Google credentials"),
        ("gs", TransportError("the metadata service"), SourceForbidden, "the metadata server gives no"),
        ("gs", NonRetryableError("canary"), SourceForbidden, "the Google credentials cannot be renewed"),
        ("gs", ValueError("canary"), SourceUnreachable, "the store gives no answer that can be used: run"),
    ],
)
def test_error_that_no_server_here_causes_has_advice(
    provider: str, error: Exception, kind: type[RiskAlertsError], words: str
) -> None:
    found = error_for(error, provider, "gs://bucket/x")
    assert isinstance(found, kind)
    assert_clear(found, words)


def assert_not_read(settings: Settings, error: type[RiskAlertsError], words: str) -> None:
    """Assert that the source can be opened but not read, and why."""
    source = open_uri(S3, settings)
    [file] = source.files
    with pytest.raises(error) as caught:
        source.read(file, [(0, file.size)])
    assert_clear(caught.value, words)


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
    """HEAD succeeds also for an archived object or a key that the credentials cannot use."""
    store.found, store.status, store.body = True, status, s3_error(code, said)
    assert_not_read(store.settings(), SourceForbidden, words)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_s3_endpoint_that_redirects_is_named(store: Refusing, aws_keys: None, status: int) -> None:
    """For example, from http to https; botocore follows it to its own end without an answer."""
    store.status, store.headers = status, {"Location": "https://localhost/"}
    assert_refused(S3, store.settings(), SourceUnreachable, "redirects to another address")


@pytest.mark.parametrize("path", ["folder", "folder/", "folder/*.parquet"])
def test_s3_folder_that_may_not_be_listed_is_forbidden(aws_keys: None, path: str) -> None:
    """A policy may deny ListBucket for a prefix alone; a key that is missing is then a 404."""

    class Unlisted(Server):
        def answer(self, request: Request) -> None:
            denied = "list-type" in request.path
            body = s3_error("AccessDenied" if denied else "NoSuchKey", "")
            request.send(403 if denied else 404, body)

    with Unlisted() as server:
        uri = f"s3://bucket/{path}"
        assert_refused(uri, server.settings(), SourceForbidden, "s3:ListBucket on the bucket")


@pytest.mark.parametrize("encoding", ["gzip", "br", "aws-chunked,gzip"])
def test_s3_object_with_content_encoding_is_refused(store: Refusing, aws_keys: None, encoding: str) -> None:
    store.found, store.body = True, gzip.compress(b"PAR1")
    store.headers = {"Content-Encoding": encoding}
    assert_not_read(store.settings(), SourceInvalid, "Content-Encoding")


def test_plain_parquet_with_a_wrong_content_encoding_is_read(store: Refusing, aws_keys: None) -> None:
    store.found, store.body, store.headers = True, b"PAR1", {"Content-Encoding": "gzip"}
    source = open_uri(S3, store.settings())
    assert source.read(source.files[0], [(0, 4)]) == [b"PAR1"]


def test_requester_pays_is_paid_when_it_is_set(store: Refusing, aws_keys: None) -> None:
    store.status, store.body = 403, b""
    assert_refused(GS, store.settings(gcs_user_project="payer"), SourceForbidden)
    assert all("userProject=payer" in line for line in store.asked)


@pytest.mark.parametrize("header", ["Content-Encoding", "X-Goog-Stored-Content-Encoding"])
def test_gcs_object_with_content_encoding_is_refused(store: Refusing, header: str) -> None:
    """Cloud Storage decompresses such an object, so that it ignores ranges."""
    store.body = json.dumps({"name": "x.parquet", "generation": "1", "size": "4"}).encode()
    source = open_uri(GS, store.settings())
    store.body, store.headers = gzip.compress(b"PAR1"), {header: "gzip"}
    with pytest.raises(SourceInvalid, match="Content-Encoding"):
        source.read(source.files[0], [(0, 4)])


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, {"error": "invalid_grant", "error_description": "canary"}, SourceForbidden, "were revoked"),
        (401, {"error": "unauthorized_client"}, SourceForbidden, ": renew GOOGLE_APPLICATION_CREDENTIALS"),
        (503, {"error": "unavailable"}, SourceUnreachable, "SOURCE_TIMEOUT_SECONDS"),
        (200, [], SourceUnreachable, "no answer that can be used"),
    ],
)
def test_refusing_google_token_endpoint_is_no_outage(
    store: Refusing,
    google_key: dict[str, str],
    status: int,
    body: object,
    error: type[RiskAlertsError],
    words: str,
) -> None:
    store.status, store.body = status, json.dumps(body).encode()
    token = json.dumps(google_key | {"token_uri": f"{store.url}/token"})
    timeout = 3 if error is SourceUnreachable else 30
    settings = store.settings(gcs_token=token, source_timeout_seconds=timeout)
    assert_refused(GS, settings, error, words)
    assert {line.split("?")[0] for line in store.asked} == {"POST /token"}
