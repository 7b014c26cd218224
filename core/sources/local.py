"""`file://`: a file or folder of this machine."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from core.domain import (
    SourceChanged,
    SourceForbidden,
    SourceInvalid,
    SourceNotAllowed,
    SourceNotFound,
    SourceUnreachable,
)
from core.runtime import Settings
from core.sources.folder import NOT_DATA, data_names, delta_logs
from core.sources.location import Location, is_path_allowed
from core.sources.source import Bytes, Listing, Range, StoredFile


class LocalStore:
    """Local files, by their real paths, so that no link leads out of `ALLOWED_SOURCES`."""

    requests = 0

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.allowed_sources

    def find(self, location: Location) -> Listing:
        """See `Store`."""
        path = location.path
        with _mapped(location.uri):
            # One stat tells every kind of file apart.
            if location.pattern is None and not stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116
                return Listing(is_folder=False, files=(self._stored(path, os.path.basename(path)),))  # noqa: PTH119
            logs = filter(os.path.isdir, delta_logs(path))
            names = data_names(location, [*self._names(path, deep=location.pattern is None), *logs])
        return Listing(is_folder=True, files=tuple(self._data_files(path, names)))

    def read(self, file: StoredFile, ranges: Sequence[Range]) -> list[Bytes]:
        """See `Store`; the bytes are read into memory of Arrow's."""
        with _mapped(file.path):
            # Should the file have become a FIFO since it was listed, opening it must not wait for a writer.
            descriptor = os.open(file.key, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if (_version(status), _identity(status)) != (file.version, file.pin):
                    raise SourceChanged(
                        f"{file.path} was replaced while the source was read: run the month again"
                    )
                return [_pread(file, descriptor, start, end) for start, end in ranges]
            finally:
                os.close(descriptor)

    def _names(self, root: str, *, deep: bool) -> Iterator[str]:
        """Yield the names in a folder, relative to it; names of folders that are not entered end in `/`."""
        seen = {os.path.realpath(root)}
        for folder, folders, names in os.walk(root, followlinks=True, onerror=_raise):
            here = os.path.relpath(folder, root)
            inside = "" if here == "." else f"{here}/"
            yield from (inside + name for name in names)
            for name in list(folders):
                if not deep or name.startswith(NOT_DATA):
                    folders.remove(name)
                    yield f"{inside}{name}/"
                    continue
                real = self._real_path(os.path.join(folder, name))  # noqa: PTH118 - text paths, as os.walk's
                if real in seen:
                    folders.remove(name)  # A link back to a parent folder would never end.
                seen.add(real)

    def _data_files(self, root: str, names: Iterable[str]) -> Iterator[StoredFile]:
        """Yield the data files with their versions; other names may be broken links."""
        for name in names:
            with _mapped(name):
                yield self._stored(f"{root}/{name}", name)

    def _stored(self, path: str, relative: str) -> StoredFile:
        real = self._real_path(path)
        status = os.stat(real)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            # Reading a FIFO may block forever, and a device may never end.
            raise SourceInvalid(f"{relative}: not a regular file: name a Parquet file, or a folder of them")
        return StoredFile(relative, real, status.st_size, _version(status), pin=_identity(status))

    def _real_path(self, path: str) -> str:
        real = os.path.realpath(path)
        if not is_path_allowed(real, self._allowed):
            raise SourceNotAllowed(
                f"{path}: the link leads out of ALLOWED_SOURCES: add a prefix, or copy the file"
            )
        return real


def _pread(file: StoredFile, descriptor: int, start: int, end: int) -> pa.Buffer:
    # Arrow allocates and frees large buffers faster than Python does.
    buffer = pa.allocate_buffer(end - start)
    free = memoryview(buffer)
    while start < end:  # One call reads at most 2 GiB.
        count = os.preadv(descriptor, [free], start)
        if not count:
            raise SourceChanged(f"{file.path} became shorter while the source was read: run the month again")
        free = free[count:]
        start += count
    return buffer


def _version(status: os.stat_result) -> str:
    return f"size:{status.st_size},mtime_ns:{status.st_mtime_ns}"


def _identity(status: os.stat_result) -> str:
    """Return what tells the file from another of the same name, size and time."""
    return f"{status.st_dev}:{status.st_ino}"


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Raise an operating system's error as the source's."""
    try:
        yield
    except PermissionError:
        raise SourceForbidden(
            f"{what}: this process may not read it: grant its user the permission"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFound(f"{what}: no such file or folder: check source_uri") from None
    except OSError as error:
        raise SourceUnreachable(
            f"{what}: {error.strerror or 'it cannot be read'}: check the disk or the mount"
        ) from None
