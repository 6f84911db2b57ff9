"""What a bucket has of a data set: its archive, or the CSV files unpacked already, which are read where they are.

Of several the first is taken by the rules of `extract.local`. The usual archive is asked for before anything is listed,
and folders below are listed only as far down as the first that has the CSV files: a bucket may be large.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from extract.local import MOST_FOLDERS_DOWN, Found
from pipeline.csv_files import RemoteFile, remote_files
from pipeline.errors import MissingObjectError, PipelineError, SourceError
from pipeline.s3 import RemoteObject, client_config, endpoint_of, look_at, s3_errors
from pipeline.settings import RECORD_KINDS, RecordKind, Settings, object_uri
from pipeline.source import find_source, open_client

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client


def find_in_bucket(client: S3Client, settings: Settings) -> Found[RemoteObject]:
    """Find the archive or the CSV files of the run's data set.

    Raises:
        SourceError: there are none, or they cannot be read.
        SettingsError: the credentials are incomplete.
    """
    bucket, source, data_set = settings.source.bucket, settings.source, settings.data_set
    try:
        archive = look_at(client, bucket, settings.archive_key)
        return Found(archive.uri, archive, {})
    except MissingObjectError as error:
        if source.kind != "s3":
            raise
        missing = error
    keys, folders = [source.key_of(name) for name in data_set.names[1:]], [_root(settings)]
    passed_over: tuple[str, ...] = ()
    with suppress(SourceError):  # who may not list a bucket may still read it
        keys, folders = _search(client, settings)
        passed_over = tuple(object_uri(bucket, each.rstrip("/")) for each in [*keys, *folders][1:])
    for key in keys:
        with suppress(MissingObjectError):
            archive = look_at(client, bucket, key)
            return Found(archive.uri, archive, {}, passed_over)
    for folder in folders:
        with suppress(MissingObjectError):
            files = {kind: look_at(client, bucket, folder + data_set.members[kind]) for kind in RECORD_KINDS}
            return Found(object_uri(bucket, folder.rstrip("/")), None, files, passed_over)
    raise MissingObjectError(
        f"{missing}; nor is another archive of {data_set.name} there ({', '.join(data_set.names[1:])}), or, there or in"
        f" a folder below, {' and '.join(data_set.members.values())}"
    ) from missing


def _root(settings: Settings) -> str:
    return f"{settings.source.prefix}/" if settings.source.prefix else ""


def _search(client: S3Client, settings: Settings) -> tuple[list[str], list[str]]:
    """Give the archives that a bucket lists, and the nearest folders, with a slash, that have both CSV files."""
    data_set = settings.data_set
    members, wanted = data_set.members.values(), {*data_set.names, *data_set.members.values()}
    level = [_root(settings)]
    archives: list[str] | None = None
    for _ in range(MOST_FOLDERS_DOWN + 1):
        keys: set[str] = set()
        below: list[str] = []
        for folder in level:
            with s3_errors(object_uri(settings.source.bucket, folder), endpoint_of(client)):
                pages = client.get_paginator("list_objects_v2")
                for page in pages.paginate(Bucket=settings.source.bucket, Prefix=folder, Delimiter="/"):
                    found = (each["Key"] for each in page.get("Contents", ()))
                    keys |= {key for key in found if PurePosixPath(key).name in wanted}
                    below += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
        if archives is None:
            archives = [key for key in map(settings.source.key_of, data_set.names) if key in keys]
        holding = [folder for folder in level if all(folder + name in keys for name in members)]
        if archives or holding:
            return archives, holding
        level = sorted(below, key=PurePosixPath)
    return [], []


def glance(settings: Settings) -> Found[RemoteObject] | None:
    """Look once at what a store has; None where it does not tell at once, so that the steps find out why."""
    from botocore.config import Config

    impatient = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})
    with suppress(PipelineError), _opened(settings, impatient) as client:
        return find_in_bucket(client, settings)
    return None


def find_csv_files(settings: Settings) -> Mapping[RecordKind, RemoteFile]:
    """Give the CSV files that a bucket has of the run's data set; none where it has an archive.

    Raises:
        SourceError: it has neither, or they cannot be read.
        SettingsError: the credentials are missing.
    """
    with _opened(settings, client_config(1)) as client:
        found = find_in_bucket(client, settings)
        return remote_files(client, found.files, settings)


@contextmanager
def _opened(settings: Settings, config: Config) -> Iterator[S3Client]:
    with s3_errors(settings.archive_uri):
        client = open_client(find_source(settings), config)
    with closing(client):
        yield client
