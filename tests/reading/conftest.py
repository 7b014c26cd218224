import socket
from collections.abc import Iterator

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gcp_storage_emulator.server import create_server
from gcsfs.core import GCSFileSystem
from moto.server import ThreadedMotoServer

from core.runtime import Settings


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    yield f"http://127.0.0.1:{port}"
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
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(params=["gs", "s3"])
def cloud(request: pytest.FixtureRequest, gcs_server: str, s3_server: str, aws_keys: None) -> "Cloud":
    return Cloud(request.param, gcs_server, s3_server)


class Cloud:
    def __init__(self, scheme: str, gcs: str, s3: str) -> None:
        self.scheme = scheme
        self.settings = Settings(gcs_endpoint_url=gcs, s3_endpoint_url=s3)
        self._gcs = GCSFileSystem(token="anon", endpoint_url=gcs, skip_instance_cache=True)
        self._s3 = boto3.client("s3", endpoint_url=s3)

    def put(self, key: str, data: bytes) -> str:
        if self.scheme == "gs":
            self._gcs.pipe_file(f"bucket/{key}", data)
        else:
            self._s3.put_object(Bucket="bucket", Key=key, Body=data)
        return f"{self.scheme}://bucket/{key}"
