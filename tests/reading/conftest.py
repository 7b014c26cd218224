from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gcp_storage_emulator.server import create_server
from gcsfs.core import GCSFileSystem
from moto.server import ThreadedMotoServer

from core.domain import RiskAlertsError
from core.runtime import Settings
from core.sources import Source, open_uri
from tests.reading.servers import Refusing, ignore_disconnects


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    ignore_disconnects(server._api._httpd)
    yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="bucket")
    yield url
    server.stop()


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="session")
def google_key() -> dict[str, str]:
    """Return a key of a service account, without the address of its token endpoint."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"type": "service_account", "client_email": "us@example.test", "private_key": text}


class Place:
    """A local folder, or a folder in a bucket of a cloud."""

    def __init__(self, scheme: str, folder: Path, gcs: str, s3: str) -> None:
        self.scheme = scheme
        self.settings = Settings(gcs_endpoint_url=gcs, s3_endpoint_url=s3)
        self._folder = folder
        self._prefix = f"bucket/{folder.name}"
        if scheme == "gs":
            self._gcs = GCSFileSystem(token="anon", endpoint_url=gcs, skip_instance_cache=True)
        elif scheme == "s3":
            self._s3 = boto3.client("s3", endpoint_url=s3)

    def uri(self, path: str) -> str:
        root = self._folder.as_uri() if self.scheme == "file" else f"{self.scheme}://{self._prefix}"
        return f"{root}/{path}"

    def put(self, path: str, data: bytes = b"x") -> str:
        if self.scheme == "file":
            folder, _, name = path.rpartition("/")
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
            if name:
                (self._folder / path).write_bytes(data)
        elif self.scheme == "gs":
            self._gcs.pipe_file(f"{self._prefix}/{path}", data)
        else:
            self._s3.put_object(Bucket="bucket", Key=f"{self._folder.name}/{path}", Body=data)
        return self.uri(path)

    def open(self, path: str) -> Source:
        return open_uri(self.uri(path), self.settings)

    def names(self, path: str) -> list[str]:
        """Return the files of the source."""
        return [file.path for file in self.open(path).files]


@pytest.fixture(params=["file", "gs", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, gcs_server: str, s3_server: str, aws_keys: None
) -> Place:
    return Place(request.param, tmp_path, gcs_server, s3_server)


@pytest.fixture
def store() -> Iterator[Refusing]:
    with Refusing() as server:
        yield server


def assert_refused(uri: str, settings: Settings, error: type[RiskAlertsError], *words: str) -> None:
    """Assert that the source cannot be opened, and why."""
    with pytest.raises(error) as caught:
        open_uri(uri, settings)
    assert_clear(caught.value, *words)


def assert_clear(error: RiskAlertsError, *words: str) -> None:
    """Assert that the error says this, in one line without a secret or traceback."""
    for word in words:
        assert word in error.message
    for part in ("canary", "\n", "Error", "Traceback"):
        assert part not in error.message
    assert error.__cause__ is None
