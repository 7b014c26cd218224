"""The service sends requests only where the settings allow, redirects included."""

import json
from collections.abc import Iterator

import pytest

from tests.conftest import Serve
from tests.reading.servers import Refusing
from tests.service import problem_of


@pytest.fixture
def inside() -> Iterator[Refusing]:
    """Yield a host that no caller may make the service ask, such as a cloud's metadata service."""
    with Refusing() as listener:
        yield listener


STORE = {
    "GCS_TOKEN": "anon",
    "S3_ANON": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
    "SOURCE_TIMEOUT_SECONDS": "5",
}


def test_source_not_allowed_causes_no_request(serve: Serve, inside: Refusing) -> None:
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


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_redirect_of_the_store_is_not_followed(serve: Serve, inside: Refusing, scheme: str) -> None:
    with Refusing() as store:
        store.headers = {"Location": f"{inside.url}/latest/meta-data"}
        service = serve(**STORE, GCS_ENDPOINT_URL=store.url, S3_ENDPOINT_URL=store.url)
        for status in (301, 302, 307, 308):
            store.status = status
            store.asked.clear()
            answer = service.post("/preview", f"{scheme}://bucket/x.parquet")
            assert problem_of(answer)["code"].startswith("source_")
            assert store.asked
        assert inside.asked == []
