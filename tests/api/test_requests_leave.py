"""The service sends requests only where the settings allow, redirects included."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import Serve
from tests.service import problem_of


class Listener:
    """An HTTP server that records requests, and answers with one status and one Location."""

    def __init__(self, status: int = 404, location: str | None = None) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    asked: list[str]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inside() -> Iterator[Listener]:
    """Yield a host that no caller may make the service ask, such as a cloud's metadata service."""
    listener = Listener()
    yield listener
    listener.close()


STORE = {
    "GCS_TOKEN": "anon",
    "S3_ANON": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
    "SOURCE_TIMEOUT_SECONDS": "5",
}


def test_source_not_allowed_causes_no_request(serve: Serve, inside: Listener) -> None:
    service = serve(
        **STORE,
        GCS_ENDPOINT_URL=inside.url,
        S3_ENDPOINT_URL=inside.url,
        ALLOWED_SOURCES=json.dumps(["gs://ours/data", "s3://ours/data"]),
    )
    host = inside.url.removeprefix("http://")
    for uri in (
        "gs://other/x.parquet",
        "gs://ours/database/x.parquet",
        "s3://other/data/x.parquet",
        "s3://ours/data/../x.parquet",
        f"http://{host}/latest/meta-data",
        f"s3://{host}/x.parquet",
        f"gs://{host}/x.parquet",
        f"file://{host}/x.parquet",
    ):
        for path in ("/preview", "/runs"):
            answer = service.post(path, uri)
            assert answer.status_code in {400, 422}, (uri, answer.text)
            assert problem_of(answer)["code"] in {
                "source_not_allowed",
                "source_scheme_unsupported",
                "invalid_request",
            }
    assert inside.asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_redirect_of_the_store_is_not_followed(
    serve: Serve, inside: Listener, scheme: str, status: int
) -> None:
    store = Listener(status, f"{inside.url}/latest/meta-data")
    try:
        service = serve(**STORE, GCS_ENDPOINT_URL=store.url, S3_ENDPOINT_URL=store.url)
        answer = service.post("/preview", f"{scheme}://bucket/x.parquet")
        assert problem_of(answer)["code"].startswith("source_")
        assert store.asked
        assert inside.asked == []
    finally:
        store.close()
