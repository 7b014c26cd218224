import gc
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.domain import (
    InvalidRequest,
    RiskAlertsError,
    SourceChanged,
    SourceForbidden,
    SourceInvalid,
    SourceNotAllowed,
    SourceNotFound,
    SourceSchemeUnsupported,
    SourceUnreachable,
)
from core.runtime import Settings
from core.sources import Source, open_uri
from core.sources.location import check_source
from core.sources.workers import wait_for
from tests.reading.cloud_storage import CloudStorage
from tests.reading.conftest import Cloud
from tests.users import as_somebody_else
from tests.waiting import until


def read_all(source: Source) -> bytes:
    return b"".join(bytes(source.read(file, [(0, file.size)])[0]) for file in source.files)


@pytest.mark.parametrize(
    ("uri", "error", "said"),
    [
        ("https://host/file.parquet", SourceSchemeUnsupported, "scheme 'https' is not"),
        ("/data/file.parquet", SourceSchemeUnsupported, "^a URI without a scheme is not"),
        ("", InvalidRequest, "^source_uri must not be empty: name a file or a folder$"),
        (" ", InvalidRequest, "must not be empty"),
        ("s3", SourceSchemeUnsupported, "without a scheme"),
        ("token=hunter22://bucket/file", SourceSchemeUnsupported, "without a scheme"),
        ("gs://user:hunter22@bucket/file", InvalidRequest, "credentials"),
        ("s3://bucket/file?token=hunter22", InvalidRequest, "query string"),
        ("file:///data?token=hunter22", InvalidRequest, "query string"),
        ("file://relative/path", InvalidRequest, "absolute path"),
        ("file://", InvalidRequest, "absolute path"),
        ("file:///a%00b", InvalidRequest, "null byte"),
        ("GS:///no-bucket", InvalidRequest, "gs://bucket/path"),
        ("s3://no bucket/file", InvalidRequest, "s3://bucket/path"),
        ("gs://bucket/a/../b", InvalidRequest, "segments"),
        ("gs://bucket/./b", InvalidRequest, r"^gs://bucket/\./b: the path .* segments"),
        ("s3://bucket/a/%2e%2E/b", InvalidRequest, "segments"),
        ("s3://bucket/a\nb", InvalidRequest, "unprintable"),
    ],
)
def test_unusable_uri_is_refused_without_its_secret(
    uri: str, error: type[RiskAlertsError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        check_source(uri, Settings())
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "prefix", "allowed"),
    [
        ("gs://bucket/a/x.parquet", "gs://bucket/a", True),
        ("gs://bucket/a/x.parquet", "gs://bucket/a/", True),
        ("gs://bucket/a", "gs://bucket/a/", True),
        ("gs://bucket/ab", "gs://bucket/a", False),
        ("gs://bucket/ab", "gs://bucket/a/", False),
        ("gs://bucket2/a", "gs://bucket", False),
        ("s3://bucket/a", "gs://bucket", False),
        ("gs://bucket/a/../b", "gs://bucket/a", False),
        ("gs://bucket/a/%2e%2e/b", "gs://bucket/a", False),
        ("gs://bucket/a/%2E./b", "gs://bucket/a", False),
        ("gs://bucket/a/..%2fb", "gs://bucket/a", False),
        ("gs://bucket/%61/x", "gs://bucket/a", False),
        ("gs://bucket/A/x", "gs://bucket/a", False),
        ("gs://bucket//a/x", "gs://bucket/a", False),
        ("gs://bucket/a", "gs://", True),
        ("gs://bucket/a%00b", "gs://bucket", True),
        ("GS://bucket/a/b", "gs://bucket/a", True),
        ("gs://bucket/a/b", "GS://bucket/a", True),
        ("file:///etc/passwd", "gs://bucket", False),
        (Path("bucket/x").absolute().as_uri(), "gs://bucket", False),
    ],
)
def test_only_allowed_prefixes_are_sources(uri: str, prefix: str, allowed: bool) -> None:  # noqa: FBT001
    settings = Settings(allowed_sources=["s3://elsewhere", prefix, "file:///else/where"])
    if allowed:
        check_source(uri, settings)
    else:
        with pytest.raises(SourceNotAllowed, match=f"^{re.escape(uri)}: not in ALLOWED_SOURCES"):
            check_source(uri, settings)


@pytest.mark.parametrize("prefix", ["FILE://{}/%FF", "file://{}/link"])
def test_local_prefix_means_its_real_path(tmp_path: Path, prefix: str) -> None:
    """A name on disk may be no UTF-8."""
    (tmp_path / "\udcff").mkdir()
    (tmp_path / "link").symlink_to("\udcff")
    settings = Settings(allowed_sources=[prefix.format(tmp_path)])
    check_source(f"{tmp_path.as_uri()}/%FF/x.parquet", settings)


def test_star_keeps_an_empty_segment() -> None:
    """In an object store, it is a part of the key."""
    assert check_source("gs://bucket//a/*", Settings()).path == "bucket//a"


def test_dots_and_links_do_not_leave_the_allowed_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "x.parquet").write_bytes(b"secret")
    (inside / "link").symlink_to(outside)
    settings = Settings(allowed_sources=["file:///no%00path", inside.as_uri()])
    for tail in (
        "/../out/x.parquet",
        "/%2e%2e/out/x.parquet",
        "/..%2Fout/x.parquet",
        "/./../out/x.parquet",
        "//../out/x.parquet",
        "/%2e%2e%2fout%2fx.parquet",
        "/link/../../out/x.parquet",
        "/link/%2e%2e/out/x.parquet",
        "/link/x.parquet",
        "/link",
    ):
        with pytest.raises(SourceNotAllowed):
            open_uri(inside.as_uri() + tail, settings)
    with pytest.raises(SourceNotAllowed):
        open_uri(inside.as_uri(), settings)
    (inside / "link").unlink()
    (inside / "x.parquet").symlink_to(outside / "x.parquet")
    with pytest.raises(SourceNotAllowed):
        open_uri(inside.as_uri(), settings)


def test_dots_and_links_inside_the_folder_are_allowed(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "x.parquet").write_bytes(b"data")
    (tmp_path / "link").symlink_to(inside)
    settings = Settings(allowed_sources=["gs://bucket", inside.as_uri()])
    for uri in (f"{inside.as_uri()}/./../in/x.parquet", f"{tmp_path.as_uri()}/link/x.parquet"):
        assert read_all(open_uri(uri, settings)) == b"data"


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_link_created_after_the_check_is_not_followed(tmp_path: Path, swapped: str) -> None:
    """The target of the link has the same size and time as the checked file."""
    inside, outside = tmp_path / "in" / "folder", tmp_path / "out"
    for folder, data in ((inside, b"public"), (outside, b"secret")):
        folder.mkdir(parents=True)
        (folder / "x.parquet").write_bytes(data)
        os.utime(folder / "x.parquet", (1, 1))
    source = open_uri(inside.as_uri(), Settings(allowed_sources=[inside.parent.as_uri()]))
    victim, target = (
        (inside, outside) if swapped == "folder" else (inside / "x.parquet", outside / "x.parquet")
    )
    victim.rename(tmp_path / "old")
    victim.symlink_to(target)
    with pytest.raises(SourceChanged):
        read_all(source)


def test_folder_lists_parquet_files_in_name_order(tmp_path: Path) -> None:
    for name in (
        "b.parquet",
        "a/z.pq",
        "a/c.PARQ",
        "_tmp/x.parquet",
        ".x/y.parquet",
        "a/_z.parquet",
        "n.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [file.path for file in open_uri(tmp_path.as_uri(), Settings()).files] == [
        "a/c.PARQ",
        "a/z.pq",
        "b.parquet",
    ]


@pytest.mark.parametrize("beginning", ["file://localhost/", "FILE://LocalHost/", "file:///"])
def test_local_uri_may_have_localhost_and_encodings(tmp_path: Path, beginning: str) -> None:
    path = tmp_path / "with space%\udcff.parquet"
    path.write_bytes(b"data")
    uri = path.as_uri().replace("file:///", beginning)
    assert read_all(open_uri(uri, Settings())) == b"data"


def test_missing_local_source_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(SourceNotFound):
            open_uri(path.as_uri(), Settings())
    (tmp_path / "x.parquet").write_bytes(b"data")
    with pytest.raises(SourceNotFound):
        open_uri(f"{(tmp_path / 'x.parquet').as_uri()}/", Settings())


def test_version_of_several_files_is_a_digest_of_all(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"data")
    version = open_uri(tmp_path.as_uri(), Settings()).version
    assert version == open_uri((tmp_path / "x.parquet").as_uri(), Settings()).version
    assert version.startswith("size:4,mtime_ns:")
    (tmp_path / "y.parquet").write_bytes(b"data")
    both = open_uri(tmp_path.as_uri(), Settings()).version
    assert re.fullmatch("files:2,sha256:[0-9a-f]{64}", both)
    (tmp_path / "y.parquet").rename(tmp_path / "z.parquet")
    renamed = open_uri(tmp_path.as_uri(), Settings()).version
    os.utime(tmp_path / "x.parquet", (1, 1))
    assert len({both, renamed, open_uri(tmp_path.as_uri(), Settings()).version}) == 3


def test_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    for path in (tmp_path / "pipe.parquet", tmp_path):
        with pytest.raises(SourceInvalid):
            open_uri(path.as_uri(), Settings())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda _: None])
def test_local_file_that_is_no_file_any_more_is_noticed(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"one")
    source = open_uri(path.as_uri(), Settings())
    path.unlink()
    make(path)
    with pytest.raises(SourceChanged):
        read_all(source)


def test_local_file_overwritten_while_it_is_read_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"one")
    source = open_uri(path.as_uri(), Settings())
    allocate = pa.allocate_buffer

    def overwrite_and_allocate(size: int) -> pa.Buffer:
        path.write_bytes(b"two")
        return allocate(size)

    monkeypatch.setattr(pa, "allocate_buffer", overwrite_and_allocate)
    with pytest.raises(SourceChanged, match=r"^x\.parquet was replaced"):
        read_all(source)


def test_request_without_an_answer_is_canceled() -> None:
    future = Future[None]()
    with pytest.raises(SourceUnreachable, match=r"^x\.parquet: no answer in 0 s"):
        wait_for(future, "x.parquet", 0)
    assert future.cancelled()


def test_missing_bytes_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"data")
    source = open_uri(tmp_path.as_uri(), Settings())
    with pytest.raises(SourceUnreachable, match=r"^x\.parquet: the store sent 3 of 4 bytes: run"):
        source.read(source.files[0], [(0, 4), (1, 5)])


def test_local_file_closed_after_the_listing_is_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"one")
    source = open_uri(path.as_uri(), Settings())
    path.chmod(0)
    with as_somebody_else(tmp_path), pytest.raises(SourceForbidden, match=r"^x\.parquet: .*this process may"):
        read_all(source)


@pytest.mark.parametrize("folder", [False, True])
def test_replaced_local_source_is_noticed(tmp_path: Path, folder: bool) -> None:  # noqa: FBT001
    path = tmp_path / "x.parquet"
    path.write_bytes(b"one")
    source = open_uri((tmp_path if folder else path).as_uri(), Settings())
    source.verify_unchanged()
    path.write_bytes(b"other")
    with pytest.raises(SourceChanged, match=f"^{re.escape(source.uri)} was replaced"):
        source.verify_unchanged()
    with pytest.raises(SourceChanged):
        read_all(source)
    path.unlink()
    with pytest.raises(SourceChanged):
        source.verify_unchanged()


def test_object_is_read_by_ranges(cloud: Cloud) -> None:
    source = open_uri(cloud.put("one/x.parquet", b"0123456789"), cloud.settings)
    parts = source.read(source.files[0], [(6, 8), (0, 1), (8, 10)])
    assert [bytes(part) for part in parts] == [b"67", b"0", b"89"]
    assert source.version.startswith(("generation:", "etag:"))


def test_prefix_is_a_folder_with_partitions(cloud: Cloud) -> None:
    cloud.put("hive/month=2026-01-01/b.parquet", b"b")
    cloud.put("hive/month=2025-12-01%2000%3A00%3A00/a.parquet", b"a")
    cloud.put("hive/_SUCCESS", b"")
    cloud.put("hive2/c.parquet", b"c")
    for name in ("hive", "hive/"):
        source = open_uri(f"{cloud.scheme}://bucket/{name}", cloud.settings)
        assert [str(file.month) for file in source.files] == ["2025-12-01", "2026-01-01"]
        assert read_all(source) == b"ab"


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_connections_end_with_the_source(scheme: str, aws_keys: None) -> None:
    connected = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connected.add(self.client_address)

        def finish(self) -> None:
            super().finish()
            connected.remove(self.client_address)

        def do_GET(self) -> None:
            found = json.dumps({"name": "x.parquet", "generation": "1", "size": "3"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(found)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    gc.disable()
    try:
        source = open_uri(f"{scheme}://bucket/x.parquet", Settings(gcs_endpoint_url=url, s3_endpoint_url=url))
        assert source.files
        assert connected
        del source
        until(lambda: not connected)
    finally:
        gc.enable()
        server.shutdown()
        server.server_close()


def test_replaced_object_is_noticed(cloud: Cloud) -> None:
    uri = cloud.put("changing/x.parquet", b"one")
    source = open_uri(uri, cloud.settings)
    source.verify_unchanged()
    cloud.put("changing/x.parquet", b"two")
    with pytest.raises(SourceChanged):
        source.verify_unchanged()


def test_s3_read_never_mixes_two_versions(s3_server: str, aws_keys: None) -> None:
    cloud = Cloud("s3", s3_server, s3_server)
    source = open_uri(cloud.put("mixing/x.parquet", b"one"), cloud.settings)
    cloud.put("mixing/x.parquet", b"two")
    with pytest.raises(SourceChanged):
        read_all(source)


def test_version_of_an_s3_object_is_shown(s3_server: str, aws_keys: None) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="versioned")
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket="versioned", Key="x.parquet", Body=b"one")["VersionId"]
    source = open_uri("s3://versioned/x.parquet", Settings(s3_endpoint_url=s3_server))
    assert source.version == f"version:{version}"


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Iterator[CloudStorage]:
    server = CloudStorage(versioning=request.param)
    yield server
    server.close()


@pytest.mark.parametrize("uri", ["gs://bucket/x.parquet", "gs://bucket/"])
@pytest.mark.parametrize("storage", [False], indirect=True)
def test_gcs_read_never_mixes_two_versions(storage: CloudStorage, uri: str) -> None:
    storage.put("x.parquet", b"one")
    source = open_uri(uri, Settings(gcs_endpoint_url=storage.url))
    storage.put("x.parquet", b"two")
    with pytest.raises(SourceChanged):
        read_all(source)


@pytest.mark.parametrize("storage", [True], indirect=True)
def test_pinned_gcs_generation_is_read_while_it_is_kept(storage: CloudStorage) -> None:
    pinned = storage.put("x.parquet", b"one")
    source = open_uri("gs://bucket/x.parquet", Settings(gcs_endpoint_url=storage.url))
    storage.put("x.parquet", b"two")
    assert read_all(source) == b"one"
    assert source.version == f"generation:{pinned}"
    with pytest.raises(SourceChanged):
        source.verify_unchanged()


def test_many_threads_read_one_source(cloud: Cloud) -> None:
    uri = cloud.put("threads/x.parquet", bytes(range(256)) * 100)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_all(open_uri(uri, cloud.settings)), range(8)))
    assert set(found) == {bytes(range(256)) * 100}


def test_missing_object_bucket_or_folder_is_not_found(cloud: Cloud) -> None:
    cloud.put("missing/x.parquet", b"no folder")
    paths = ("bucket/none.parquet", "no-such-bucket/x.parquet", "no-such-bucket", "bucket/none/")
    for path in (*paths, "bucket/missing/x.parquet/"):
        with pytest.raises(SourceNotFound):
            open_uri(f"{cloud.scheme}://{path}", cloud.settings)


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.parametrize(
    ("answering", "error"),
    [
        (401, SourceForbidden),
        (403, SourceForbidden),
        (404, SourceNotFound),
        (429, SourceUnreachable),
        (500, SourceUnreachable),
        (503, SourceUnreachable),
    ],
    indirect=["answering"],
)
def test_each_refusal_has_its_error(
    answering: str, scheme: str, error: type[RiskAlertsError], aws_keys: None
) -> None:
    # The time limit ends retries of server errors. A refusal is not retried, so it gets a long limit.
    timeout = 1.5 if error is SourceUnreachable else 60
    settings = Settings(gcs_endpoint_url=answering, s3_endpoint_url=answering, source_timeout_seconds=timeout)
    with pytest.raises(error):
        open_uri(f"{scheme}://bucket/x.parquet", settings)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_unreachable_store_is_reported_in_bounded_time(scheme: str, aws_keys: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], 1):
            url = f"http://127.0.0.1:{port}"
            settings = Settings(gcs_endpoint_url=url, s3_endpoint_url=url, source_timeout_seconds=1)
            with pytest.raises(SourceUnreachable, match=r"no answer in 1 s|cannot be reached"):
                open_uri(f"{scheme}://bucket/x.parquet", settings)


@pytest.mark.parametrize("silent", ["HEAD", "GET"])
def test_time_limit_of_the_library_is_not_taken_for_ours(
    silent: str, aws_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library waits 15 s for the next byte, and tries five times."""
    monkeypatch.setattr("s3fs.S3FileSystem.read_timeout", 0.1)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.command != silent or self.command == "GET":
                self.send_response(200)
                self.send_header("Content-Length", "8")
                self.send_header("ETag", '"e"')
                self.end_headers()
            if self.command == silent:
                over.wait()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(SourceUnreachable, match=f"127.0.0.1:{server.server_port} does not answer: check"):
            read_all(open_uri("s3://bucket/x.parquet", Settings(s3_endpoint_url=url)))
        over.set()
        server.shutdown()


def test_closed_metadata_folder_of_a_store_does_not_close_the_others() -> None:
    """Credentials may be for some of the prefixes."""
    listing = {
        "prefixes": ["source/metadata/"],
        "items": [{"kind": "storage#object", "name": "source/x.parquet", "generation": "1", "size": "4"}],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            closed = "metadata" in self.path
            body = json.dumps({} if closed else listing).encode()
            self.send_response(403 if closed else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = Settings(gcs_endpoint_url=f"http://127.0.0.1:{server.server_port}")
        found = open_uri("gs://bucket/source/*", settings).files
        server.shutdown()
    assert [file.path for file in found] == ["x.parquet"]


def test_s3_without_credentials_is_forbidden(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(SourceForbidden):
        open_uri("s3://bucket/x.parquet", Settings(s3_endpoint_url=s3_server))


def test_storage_emulator_host_is_used(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)
    with pytest.raises(SourceNotFound):
        open_uri("gs://bucket/nothing-here.parquet", Settings())


@pytest.mark.parametrize("stray", ["latest.txt", ".git/HEAD", "_temporary/part.parquet", "notes/x.txt"])
def test_broken_link_that_is_no_data_is_ignored(tmp_path: Path, stray: str) -> None:
    pq.write_table(pa.table({"account_id": ["A"]}), tmp_path / "data.parquet")
    (tmp_path / stray).parent.mkdir(exist_ok=True)
    (tmp_path / stray).symlink_to(tmp_path / "nowhere")
    files = open_uri(tmp_path.as_uri(), Settings(allowed_sources=[tmp_path.as_uri()])).files
    assert [file.path for file in files] == ["data.parquet"]


def test_broken_link_to_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "month.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceNotFound, match=r"month\.parquet"):
        open_uri(tmp_path.as_uri(), Settings())
