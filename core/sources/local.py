"""`file://`: a file or folder of this machine."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from core.domain import SourceForbidden, SourceInvalid, SourceNotAllowed, SourceNotFound, SourceUnreachable
from core.sources.folder import METADATA, NOT_DATA, data_names, delta_logs
from core.sources.location import Location, is_allowed
from core.sources.source import Bytes, Range, Source, SourceFile


class LocalSource(Source):
    """Local files, by their real paths, so that no link leads out of `ALLOWED_SOURCES`."""

    def _find(self, location: Location) -> list[SourceFile]:
        path = location.path
        with _mapped(location.uri):
            # `stat` also raises an error if the path does not exist or cannot be read.
            if location.pattern is None and not stat.S_ISDIR(os.stat(path).st_mode):
                return [self._file(path, os.path.basename(path))]
            names = data_names(location, [*self._names(location), *filter(os.path.isdir, delta_logs(path))])
        return [self._file(f"{path}/{name}", name) for name in names]

    def _read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        with _mapped(file.path):
            # If the file has become a FIFO since it was listed, opening it would wait for a writer.
            _check(file, os.stat(file.key))
            # The name is given as bytes, because it may not be valid UTF-8.
            with pa.OSFile(os.fsencode(file.key)) as opened:
                # Arrow allocates and frees large buffers faster than Python does.
                parts = [opened.get_stream(at, end - at).read_buffer(end - at) for at, end in ranges]
                # Check again, because the file may have been overwritten while it was read.
                _check(file, os.fstat(opened.fileno()))
            return parts

    def _names(self, location: Location) -> Iterator[str]:
        """Yield the names of the files below a folder; names of folders that are not searched end in `/`."""
        entered, seen = [""], set()
        for inside in entered:
            folder = os.path.join(location.path, inside)
            if (real := self._real_path(folder)) in seen:
                continue  # A link leads here again: the files would be read twice, or without an end.
            seen.add(real)
            for name in os.listdir(folder):
                if not os.path.isdir(os.path.join(folder, name)):
                    yield inside + name
                elif name.startswith(NOT_DATA) or (location.pattern is not None and name != METADATA):
                    yield f"{inside}{name}/"
                else:
                    entered.append(f"{inside}{name}/")

    def _file(self, path: str, name: str) -> SourceFile:
        with _mapped(name):
            real = self._real_path(path)
            status = os.stat(real)
        if not stat.S_ISREG(status.st_mode):
            # Reading a FIFO may block forever, and a device may never end.
            raise SourceInvalid(f"{name}: not a regular file: name a Parquet file, or a folder of them")
        return _pinned(name, real, status)

    def _real_path(self, path: str) -> str:
        real = os.path.realpath(path)
        if not is_allowed(real, self._settings.allowed_sources):
            raise SourceNotAllowed(f"{path}: a link out of ALLOWED_SOURCES: add a prefix, or copy the file")
        return real


def _pinned(name: str, real_path: str, status: os.stat_result) -> SourceFile:
    version = f"size:{status.st_size},mtime_ns:{status.st_mtime_ns}"
    return SourceFile(name, real_path, status.st_size, version, f"{status.st_dev}:{status.st_ino}")


def _check(file: SourceFile, status: os.stat_result) -> None:
    if _pinned(file.path, file.key, status) != file:
        raise SourceNotFound(f"{file.path}: no longer the same file")


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Raise an error of the operating system as a `SourceError` about `what`."""
    try:
        yield
    except PermissionError as error:
        closed = what if error.filename is None else f"{what}: {error.filename}"
        raise SourceForbidden(f"{closed}: permission denied: grant the user of this process access") from None
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFound(f"{what}: no such file or folder: check source_uri") from None
    except OSError as error:
        raise SourceUnreachable(f"{what}: {error.strerror}: check the disk or the mount") from None
