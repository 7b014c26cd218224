"""Each way in which a store says no has its error, and a message that says what to do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import RiskAlertsError, SourceForbidden, SourceNotFound, SourceUnreachable
from core.settings import Settings
from core.storage import open_uri


class Refusing:
    """A server that answers as one cloud or its token endpoint does: by method, a status and a body."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.asked: list[str] = []
        refusing = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                refusing.asked.append(f"{self.command} {self.path}")
                body = b"" if self.command == "HEAD" else refusing.body
                self.send_response(refusing.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_POST = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store() -> Iterator[Refusing]:
    server = Refusing()
    yield server
    server.close()


def refusal(uri: str, settings: Settings) -> RiskAlertsError:
    with pytest.raises(RiskAlertsError) as caught:
        open_uri(uri, settings)
    assert "canary" not in caught.value.message
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize("uri", ["s3://bucket/x.parquet", "s3://bucket/folder/"])
@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (400, "ExpiredToken", SourceForbidden, "renew AWS_SESSION_TOKEN"),
        (400, "InvalidToken", SourceForbidden, "AWS_SESSION_TOKEN is not one of the store's"),
        (400, "TokenRefreshRequired", SourceForbidden, "renew AWS_SESSION_TOKEN"),
        (403, "AccessDenied", SourceForbidden, "need s3:GetObject on its objects and s3:ListBucket"),
        (403, "InvalidAccessKeyId", SourceForbidden, "no such AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", SourceForbidden, "clock"),
        (403, "SignatureDoesNotMatch", SourceForbidden, "AWS_SECRET_ACCESS_KEY does not belong"),
        (403, "SomethingNew", SourceForbidden, "HTTP 403"),
        (404, "NoSuchBucket", SourceNotFound, "no such bucket"),
    ],
)
def test_what_s3_refuses_is_named_with_what_to_do(
    store: Refusing,
    aws_keys: None,
    uri: str,
    status: int,
    code: str,
    error: type[RiskAlertsError],
    words: str,
) -> None:
    store.status = status
    store.body = f"<Error><Code>{code}</Code><Message>canary</Message></Error>".encode()
    found = refusal(uri, Settings(s3_endpoint_url=store.url))
    assert isinstance(found, error)
    assert words in found.message
    assert len(store.asked) <= 3


def test_s3_without_a_word_of_why_is_still_told_by_its_status(store: Refusing, aws_keys: None) -> None:
    store.status = 400
    assert isinstance(refusal("s3://bucket/x.parquet", Settings(s3_endpoint_url=store.url)), SourceForbidden)


GCS_REFUSALS = [
    (401, "Invalid Credentials", SourceForbidden, "renew GCS_TOKEN or GOOGLE_APPLICATION_CREDENTIALS"),
    (403, "canary does not have storage.objects.get access", SourceForbidden, "roles/storage.objectViewer"),
    (404, "The specified bucket does not exist.", SourceNotFound, "no such object, folder or bucket"),
]


@pytest.mark.parametrize("uri", ["gs://bucket/x.parquet", "gs://bucket/folder/"])
@pytest.mark.parametrize(("status", "said", "error", "words"), GCS_REFUSALS)
def test_what_gcs_refuses_is_named_with_what_to_do(
    store: Refusing, uri: str, status: int, said: str, error: type[RiskAlertsError], words: str
) -> None:
    store.status = status
    store.body = json.dumps({"error": {"code": status, "message": said}}).encode()
    found = refusal(uri, Settings(gcs_endpoint_url=store.url))
    assert isinstance(found, error)
    assert words in found.message
    assert len(store.asked) <= 3


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (
            400,
            {"error": "invalid_grant", "error_description": "canary"},
            SourceForbidden,
            "expired or were revoked",
        ),
        (401, {"error": "unauthorized_client"}, SourceForbidden, "; renew GOOGLE_APPLICATION_CREDENTIALS"),
        (503, {"error": "unavailable"}, SourceUnreachable, "SOURCE_TIMEOUT_SECONDS"),
    ],
)
def test_what_googles_token_endpoint_refuses_is_told_from_one_in_trouble(
    store: Refusing,
    private_key: str,
    tmp_path: Path,
    status: int,
    body: dict[str, str],
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
