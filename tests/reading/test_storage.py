import gc
import json
import os
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import boto3
import pyarrow as pa
import pytest

from core.domain import (
    InvalidRequest,
    RiskAlertsError,
    SourceChanged,
    SourceForbidden,
    SourceNotAllowed,
    SourceNotFound,
    SourceSchemeUnsupported,
    SourceUnreachable,
)
from core.runtime import Settings
from core.sources import Source, open_uri
from core.sources.location import check_source
from core.sources.workers import wait_for
from tests.machine import as_somebody_else, needs_any_name
from tests.reading.conftest import Place
from tests.reading.servers import CloudStorage, Refusing, Request, Server
from tests.service import closed_port
from tests.waiting import until


def read_all(source: Source) -> bytes:
    return b"".join(bytes(source.read(file, [(0, file.size)])[0]) for file in source.files)


@pytest.mark.parametrize(
    ("uri", "error", "said"),
    [
        ("https://host/file.parquet", SourceSchemeUnsupported, "scheme 'https' is not"),
        ("/data/hunter22.parquet", SourceSchemeUnsupported, "^source_uri without a scheme is not"),
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
        *(
            (uri, InvalidRequest, "only in its last segment")
            for uri in ("file:///*/x.parquet", "gs://bucket/a*/x", "s3://bucket/a*/")
        ),
    ],
)
def test_unusable_uri_is_refused_without_its_secret(
    uri: str, error: type[RiskAlertsError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        check_source(uri, Settings())
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("gs://bucket/a/x.parquet", "gs://bucket/a"),
        ("gs://bucket/a/x.parquet", "gs://bucket/a/"),
        ("gs://bucket/a", "gs://bucket/a/"),
        ("gs://bucket/a", "gs://"),
        ("gs://bucket/a%00b", "gs://bucket"),
        ("GS://bucket/a/b", "gs://bucket/a"),
        ("gs://bucket/a/b", "GS://bucket/a"),
    ],
)
def test_sources_below_an_allowed_prefix_are_allowed(uri: str, prefix: str) -> None:
    check_source(uri, Settings(allowed_sources=["s3://elsewhere", prefix, "file:///else/where"]))


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("gs://bucket/ab", "gs://bucket/a"),
        ("gs://bucket/ab", "gs://bucket/a/"),
        ("gs://bucket2/a", "gs://bucket"),
        ("s3://bucket/a", "gs://bucket"),
        ("gs://bucket/a/../b", "gs://bucket/a"),
        ("gs://bucket/a/%2E./b", "gs://bucket/a"),
        ("gs://bucket/a/..%2fb", "gs://bucket/a"),
        ("gs://bucket/%61/x", "gs://bucket/a"),
        ("gs://bucket/A/x", "gs://bucket/a"),
        ("gs://bucket//a/x", "gs://bucket/a"),
        ("gs://bucket/in*", "gs://bucket/in"),
        ("s3://bucket/in/x*", "s3://bucket/in/x"),
        ("file:///etc/passwd", "gs://bucket"),
        (Path("bucket/x").absolute().as_uri(), "gs://bucket"),
    ],
)
def test_only_allowed_prefixes_are_sources(uri: str, prefix: str) -> None:
    settings = Settings(allowed_sources=["s3://elsewhere", prefix, "file:///else/where"])
    with pytest.raises(SourceNotAllowed, match=f"^{re.escape(uri)}: not in ALLOWED_SOURCES"):
        check_source(uri, settings)


@needs_any_name
@pytest.mark.parametrize("prefix", ["FILE://{}/%FF", "file://{}/link"])
def test_local_prefix_means_its_real_path(tmp_path: Path, prefix: str) -> None:
    """A name on disk may be no UTF-8."""
    (tmp_path / "\udcff").mkdir()
    (tmp_path / "link").symlink_to("\udcff")
    settings = Settings(allowed_sources=[prefix.format(tmp_path)])
    check_source(f"{tmp_path.as_uri()}/%FF/x.parquet", settings)


@pytest.mark.parametrize(("uri", "folder"), [("gs://bucket//a/*", "bucket//a"), ("file:///*", "/")])
def test_star_selects_in_its_folder(uri: str, folder: str) -> None:
    """An empty segment is a part of an object's key."""
    assert check_source(uri, Settings()).path == folder


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
        "//../out/x.parquet",
        "/link/../../out/x.parquet",
        "/link/x.parquet",
        "/link",
        "",
    ):
        with pytest.raises(SourceNotAllowed):
            open_uri(inside.as_uri() + tail, settings)
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


@needs_any_name
@pytest.mark.parametrize("beginning", ["file://localhost/", "FILE://LocalHost/", "file:///"])
def test_local_uri_may_have_localhost_and_encodings(tmp_path: Path, beginning: str) -> None:
    path = tmp_path / "with space%\udcff.parquet"
    path.write_bytes(b"data")
    uri = path.as_uri().replace("file:///", beginning)
    assert read_all(open_uri(uri, Settings())) == b"data"


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


@pytest.fixture
def local(tmp_path: Path) -> tuple[Path, Source]:
    """Return a local file and its open source."""
    path = tmp_path / "x.parquet"
    path.write_bytes(b"data")
    return path, open_uri(path.as_uri(), Settings())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda _: None])
def test_local_file_that_is_no_file_any_more_is_noticed(
    local: tuple[Path, Source], make: Callable[[Path], None]
) -> None:
    path, source = local
    path.unlink()
    make(path)
    with pytest.raises(SourceChanged):
        read_all(source)


def test_local_file_overwritten_while_it_is_read_is_noticed(
    local: tuple[Path, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, source = local
    open_file = pa.OSFile

    def open_and_overwrite(name: bytes) -> pa.OSFile:
        opened = open_file(name)
        path.write_bytes(b"two")
        return opened

    monkeypatch.setattr(pa, "OSFile", open_and_overwrite)
    with pytest.raises(SourceChanged, match=r"^x\.parquet was replaced"):
        read_all(source)


def test_request_without_an_answer_is_canceled() -> None:
    future = Future[None]()
    with pytest.raises(SourceUnreachable, match=r"^x\.parquet: no answer in 0 s"):
        wait_for(future, "x.parquet", 0)
    assert future.cancelled()


def test_missing_bytes_are_noticed(local: tuple[Path, Source]) -> None:
    _, source = local
    with pytest.raises(SourceUnreachable, match=r"^x\.parquet: the store sent 3 of 4 bytes: run"):
        source.read(source.files[0], [(0, 4), (1, 5)])


def test_local_file_closed_after_the_listing_is_forbidden(local: tuple[Path, Source]) -> None:
    path, source = local
    path.chmod(0)
    with (
        as_somebody_else(path.parent),
        pytest.raises(SourceForbidden, match=r"^x\.parquet: permission denied"),
    ):
        read_all(source)


@pytest.mark.parametrize("path", ["x.parquet", ""])
def test_replaced_source_is_noticed(place: Place, path: str) -> None:
    place.put("x.parquet", b"one")
    source = place.open(path)
    source.verify_unchanged()
    place.put("x.parquet", b"other")
    with pytest.raises(SourceChanged, match=f"^{re.escape(source.uri)} was replaced"):
        source.verify_unchanged()


def test_removed_local_source_is_noticed(local: tuple[Path, Source]) -> None:
    path, source = local
    path.unlink()
    with pytest.raises(SourceChanged):
        source.verify_unchanged()


def test_object_is_read_by_ranges(place: Place) -> None:
    source = open_uri(place.put("x.parquet", b"0123456789"), place.settings)
    parts = source.read(source.files[0], [(6, 8), (0, 1), (8, 10)])
    assert [bytes(part) for part in parts] == [b"67", b"0", b"89"]
    assert source.version.startswith(("size:10,mtime_ns:", "generation:", "etag:"))


def test_prefix_is_a_folder_with_partitions(place: Place) -> None:
    place.put("hive/month=2026-01-01/b.parquet", b"b")
    place.put("hive/month=2025-12-01%2000%3A00%3A00/a.parquet", b"a")
    place.put("hive/_SUCCESS")
    place.put("hive2/c.parquet")
    for name in ("hive", "hive/"):
        source = place.open(name)
        assert [str(file.month) for file in source.files] == ["2025-12-01", "2026-01-01"]
        assert read_all(source) == b"ab"


def test_missing_file_folder_or_bucket_is_not_found(place: Place) -> None:
    place.put("x.parquet")
    others = [f"{place.scheme}://no-such-bucket/x.parquet", f"{place.scheme}://no-such-bucket"]
    paths = ("none.parquet", "none/", "none/*.parquet", "x.parquet/", "x.parquet/*", "y*")
    for uri in [*map(place.uri, paths), *(others if place.scheme != "file" else [])]:
        with pytest.raises(SourceNotFound):
            open_uri(uri, place.settings)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_connections_end_with_the_source(scheme: str, aws_keys: None, store: Refusing) -> None:
    store.body = json.dumps({"name": "x.parquet", "generation": "1", "size": "3"}).encode()
    gc.disable()
    try:
        source = open_uri(f"{scheme}://bucket/x.parquet", store.settings())
        assert source.files
        assert store.connected
        del source
        until(lambda: not store.connected)
    finally:
        gc.enable()


def test_s3_requests_name_the_service(aws_keys: None, store: Refusing) -> None:
    store.authorization = "User-Agent"
    open_uri("s3://bucket/x.parquet", store.settings())
    [sent] = store.authorizations
    assert sent.startswith("account-risk-alerts/0.1.0 ")


def test_s3_read_never_mixes_two_versions(tmp_path: Path, s3_server: str, aws_keys: None) -> None:
    s3 = Place("s3", tmp_path, s3_server, s3_server)
    source = open_uri(s3.put("x.parquet", b"one"), s3.settings)
    s3.put("x.parquet", b"two")
    with pytest.raises(SourceChanged):
        read_all(source)


def test_version_of_an_s3_object_is_shown(s3_server: str, aws_keys: None) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="versioned")
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket="versioned", Key="x.parquet", Body=b"one")["VersionId"]
    source = open_uri("s3://versioned/x.parquet", Settings(s3_endpoint_url=s3_server))
    assert source.version == f"version:{version}"


@pytest.mark.parametrize("uri", ["gs://bucket/x.parquet", "gs://bucket/", "gs://bucket/x*"])
@pytest.mark.parametrize("versioning", [False, True])
def test_gcs_read_never_mixes_two_versions(uri: str, *, versioning: bool) -> None:
    """The pinned generation is read while the bucket keeps it."""
    with CloudStorage(versioning=versioning) as storage:
        pinned = storage.put("x.parquet", b"one")
        source = open_uri(uri, storage.settings())
        storage.put("x.parquet", b"two")
        assert source.version == f"generation:{pinned}"
        with nullcontext() if versioning else pytest.raises(SourceChanged):
            assert read_all(source) == b"one"
        with pytest.raises(SourceChanged):
            source.verify_unchanged()


def test_many_threads_read_one_source(place: Place) -> None:
    content = bytes(range(256)) * 100
    uri = place.put("x.parquet", content)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_all(open_uri(uri, place.settings)), range(8)))
    assert set(found) == {content}


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_unreachable_store_is_reported_in_bounded_time(scheme: str, aws_keys: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], closed_port()):
            url = f"http://127.0.0.1:{port}"
            settings = Settings(gcs_endpoint_url=url, s3_endpoint_url=url, source_timeout_seconds=1)
            with pytest.raises(SourceUnreachable, match=r"no answer in 1 s|cannot be reached"):
                open_uri(f"{scheme}://bucket/x.parquet", settings)


def test_unreachable_s3_is_named(aws_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    host = f"127.0.0.1:{closed_port()}"
    with pytest.raises(SourceUnreachable, match=f"^s3://bucket/x: {host} cannot be reached"):
        open_uri("s3://bucket/x", Settings(s3_endpoint_url=f"http://{host}"))


@pytest.mark.parametrize("silent", ["HEAD", "GET"])
def test_time_limit_of_the_library_is_not_taken_for_ours(
    silent: str, aws_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library waits 15 s for the next byte, and tries five times."""
    monkeypatch.setattr("s3fs.S3FileSystem.read_timeout", 0.1)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    over = threading.Event()

    class Silent(Server):
        def answer(self, request: Request) -> None:
            if request.command == silent == "HEAD":
                over.wait()
            request.send(200, headers={"Content-Length": "8", "ETag": '"e"'})
            if request.command == silent:
                over.wait()

    with Silent() as server:
        said = f"{server.address} does not answer: check"
        with pytest.raises(SourceUnreachable, match=said):
            read_all(open_uri("s3://bucket/x.parquet", server.settings()))
        over.set()


def test_closed_metadata_folder_of_a_store_is_ignored() -> None:
    """Credentials may be for some of the prefixes."""
    listing = {
        "prefixes": ["source/metadata/"],
        "items": [{"kind": "storage#object", "name": "source/x.parquet", "generation": "1", "size": "4"}],
    }

    class Closed(Server):
        def answer(self, request: Request) -> None:
            closed = "metadata" in request.path
            request.send(403 if closed else 200, json.dumps({} if closed else listing).encode())

    with Closed() as server:
        found = open_uri("gs://bucket/source/*", server.settings()).files
    assert [file.path for file in found] == ["x.parquet"]


@pytest.mark.parametrize(
    ("uri", "variable"), [("gs://bucket/x", "STORAGE_EMULATOR_HOST"), ("s3://bucket/x", "AWS_ENDPOINT_URL")]
)
def test_endpoint_of_the_provider_is_used(
    store: Refusing, aws_keys: None, monkeypatch: pytest.MonkeyPatch, uri: str, variable: str
) -> None:
    monkeypatch.setenv(variable, store.url)
    store.status = 404
    with pytest.raises(SourceNotFound):
        open_uri(uri, Settings())
    assert store.asked


@pytest.mark.parametrize("stray", ["latest.txt", ".git/HEAD", "_temporary/part.parquet", "notes/x.txt"])
def test_broken_link_that_is_no_data_is_ignored(tmp_path: Path, stray: str) -> None:
    (tmp_path / "data.parquet").touch()
    (tmp_path / stray).parent.mkdir(exist_ok=True)
    (tmp_path / stray).symlink_to(tmp_path / "nowhere")
    files = open_uri(tmp_path.as_uri(), Settings(allowed_sources=[tmp_path.as_uri()])).files
    assert [file.path for file in files] == ["data.parquet"]


def test_broken_link_to_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "month.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceNotFound, match=r"month\.parquet"):
        open_uri(tmp_path.as_uri(), Settings())
