"""Where a CSV file is: on this machine, or in an S3 store, which is asked for the ranges that are read and no more."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, TypeAlias
from urllib.parse import unquote, urlsplit

from pipeline.errors import SourceError
from pipeline.files import disk_errors
from pipeline.landed import Asset, file_of, version_of
from pipeline.s3 import RemoteObject, ReplacedError, client_config, endpoint_of, look_at, read_on, s3_errors
from pipeline.settings import RecordKind, Settings, file_uri
from pipeline.source import Source, Store, open_client, open_store, store_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3 import S3Client

# What is asked for where less is read: much more than a line, and not much more than the rest of a partition.
_READ_AHEAD = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """An object that is read as a file, and only as it was when it was looked at.

    Attributes:
        found: the object.
        store: how it is reached, with the credentials. Whoever sends it to an executor sends it with the code, as the
            password of MySQL, and not among the data of tasks, which Spark's client writes to a file.
    """

    found: RemoteObject
    store: Store = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return PurePosixPath(self.found.key).name

    def __str__(self) -> str:
        """Its address."""
        return self.found.uri


Place: TypeAlias = Path | RemoteFile


@contextmanager
def open_csv(place: Place) -> Iterator[BinaryIO]:
    """Open a CSV file for reading, wherever it is.

    Raises:
        PipelineError: it cannot be opened, or not be read, as the line says that names it.
    """
    if isinstance(place, RemoteFile):
        with io.BufferedReader(_Ranges(_client(place.store), place.found), _READ_AHEAD) as file:
            yield file
    else:
        with disk_errors(place), place.open("rb") as file:
            yield file


def identity_of(place: Place) -> tuple[str, str, int]:
    """Give the address of a CSV file, what tells it from another one in its place, and its size.

    Raises:
        OSError: there is no such file.
    """
    if isinstance(place, RemoteFile):
        return place.found.uri, place.found.etag, place.found.size_bytes
    return file_uri(place), version_of(place), place.stat().st_size


def places_of(settings: Settings, landed: Mapping[RecordKind, tuple[Path, Asset]]) -> dict[RecordKind, Place]:
    """Give where landed CSV files are read.

    Args:
        settings: of the run.
        landed: of each file the name that it has landed by, and what its manifest says.

    Raises:
        SourceError: one is an object that cannot be read, or is another one by now.
        SettingsError: the credentials are incomplete.
    """
    remote = {kind: asset for kind, (_, asset) in landed.items() if asset.is_remote}
    places: dict[RecordKind, Place] = {
        kind: file_of(path, asset) for kind, (path, asset) in landed.items() if kind not in remote
    }
    if not remote:
        return places
    with s3_errors(next(iter(remote.values())).uri):
        client = open_client(Source("s3", settings.source.requester_pays), client_config(1))
    with closing(client):
        found = {kind: _look_again(client, asset) for kind, asset in remote.items()}
        return places | remote_files(client, found, settings)


def _look_again(client: S3Client, asset: Asset) -> RemoteObject:
    address = urlsplit(asset.uri)
    found = look_at(client, address.netloc, unquote(address.path.lstrip("/")))
    if (found.etag, found.size_bytes) != (asset.version, asset.size_bytes):
        raise _replaced(found)
    return found


def remote_files(
    client: S3Client, found: Mapping[RecordKind, RemoteObject], settings: Settings
) -> dict[RecordKind, RemoteFile]:
    """Let objects be read by whoever is given them, with the credentials of a client.

    Raises:
        SettingsError: there are none, or they cannot be told.
    """
    with s3_errors(settings.archive_uri, endpoint_of(client)):
        store = store_of(client, requester_pays=settings.source.requester_pays)
    return {kind: RemoteFile(each, store) for kind, each in found.items()}


@lru_cache(maxsize=1)
def _client(store: Store) -> S3Client:
    """Open a client, once for all the partitions that a process reads."""
    return open_store(store, client_config(1))


class _Ranges(io.RawIOBase):
    """An object as a file: each read is a request of its own, so that nothing is left open while others are waited for.

    Args:
        client: the S3 client.
        found: the object.
    """

    def __init__(self, client: S3Client, found: RemoteObject) -> None:
        self.name = found.uri
        self._client, self._found, self._position = client, found, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._found.size_bytes}[whence]
        self._position = max(0, begin + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view, begin = memoryview(buffer), self._position
        wanted = range(begin, min(begin + len(view), self._found.size_bytes))
        try:
            with s3_errors(self.name, endpoint_of(self._client)):
                for block in read_on(self._client, self._found, wanted):
                    view[self._position - begin :][: len(block)] = block
                    self._position += len(block)
        except ReplacedError:
            raise _replaced(self._found) from None
        return self._position - begin


def _replaced(found: RemoteObject) -> SourceError:
    return SourceError(f"{found.uri} was replaced meanwhile: run the same command again with FORCE=1")
