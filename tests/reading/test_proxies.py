"""Object stores use the proxy of the environment."""

import base64
from pathlib import Path

import pytest

from core.domain import RiskAlertsError, SourceNotFound, SourceUnreachable
from core.runtime import Settings, prepare_libraries, process_stop
from core.sources import open_uri
from tests.reading.conftest import Place
from tests.reading.servers import Proxy, Request
from tests.service import closed_port

STORE = "http://store"
LOGIN = "Basic " + base64.b64encode(b"user:word").decode()


@pytest.fixture(autouse=True)
def _keys_and_no_proxy(aws_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            monkeypatch.setenv(variable, "")  # so that monkeypatch undoes the changes of `prepare_libraries`
            monkeypatch.delenv(variable)


def prepared(settings: Settings) -> Settings:
    """Return the settings after preparing the proxy variables as `load_settings` does."""
    prepare_libraries(settings.urls())
    return settings


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_store_is_read_through_the_proxy(
    scheme: str,
    variable: str,
    gcs_server: str,
    s3_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The emulator reads the bucket from the path, but the AWS library writes it into the host.
    (tmp_path / "config").write_text("[default]\ns3 =\n  addressing_style = path\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    uri = Place(scheme, tmp_path, gcs_server, s3_server).put("p", b"data")
    with Proxy(gcs_server if scheme == "gs" else s3_server) as proxy:
        monkeypatch.setenv(variable, f"http://user:word@{proxy.address}")
        source = open_uri(uri, prepared(Settings(gcs_endpoint_url=STORE, s3_endpoint_url=STORE)))
        assert source.read(source.files[0], [(0, 4)]) == [b"data"]
    assert all("http://store/" in line for line in proxy.asked)
    assert proxy.authorizations == {LOGIN}


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_https_goes_through_a_tunnel_of_the_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_stop, "requested", False)

    def refuse_and_stop(request: Request) -> None:
        process_stop.requested = True  # otherwise, the libraries retry for seconds
        Proxy.answer(proxy, request)

    with Proxy(STORE) as proxy:
        monkeypatch.setattr(proxy, "answer", refuse_and_stop)
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        settings = prepared(Settings(gcs_token="anon"))
        with pytest.raises(RiskAlertsError):
            open_uri(f"{scheme}://bucket/p", settings)
    hosts = {"gs": "storage.googleapis.com:443", "s3": "bucket.s3.amazonaws.com:443"}
    assert set(proxy.asked) == {f"CONNECT {hosts[scheme]}"}


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_loopback_never_goes_through_the_proxy(
    scheme: str, gcs_server: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(STORE) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        settings = prepared(Settings(gcs_endpoint_url=gcs_server, s3_endpoint_url=s3_server))
        with pytest.raises(SourceNotFound):
            open_uri(f"{scheme}://bucket/nothing", settings)
    assert proxy.asked == []


def test_ipv6_address_in_no_proxy_is_honored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore does not find it there."""
    with Proxy(STORE) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        url = f"http://[::1]:{closed_port()}"
        settings = prepared(Settings(s3_endpoint_url=url, source_timeout_seconds=0.2))
        with pytest.raises(SourceUnreachable):
            open_uri("s3://bucket/p", settings)
    assert proxy.asked == []
