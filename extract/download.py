"""Land the archive of a data set: S3 object to local file, in parts, so that a download that was cut goes on.

The object is fetched by ranged GETs in a few threads, straight into `<archive>.part`; `<archive>.part.json` says which
parts are there. Every GET is pinned to one version, so that parts of two never mix. The archive gets its final name
when all of it is there; unpacking it checks its content. docs/decisions/landing.md gives the reasons.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract import local
from extract.bucket import find_in_bucket
from pipeline.cli import say
from pipeline.commands import make_command
from pipeline.errors import ServiceError, SettingsError, SourceError
from pipeline.files import disk_errors, make_private_folder, open_private, read_json, require_free_disk, write_json
from pipeline.landed import Asset, manifest_path, part_path, publish, read_manifest, write_manifest
from pipeline.progress import Progress, track
from pipeline.s3 import (
    RemoteObject,
    ReplacedError,
    client_config,
    endpoint_of,
    look_at,
    read_on,
    s3_errors,
)
from pipeline.settings import Settings
from pipeline.source import find_source, open_client, unused_credentials
from pipeline.steps import StepResult, byte_size, refuse_unknown
from pipeline.units import quantity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# How often an object that is replaced while it is downloaded is begun again.
REPLACED_ATTEMPTS = 3
SECONDS_BETWEEN_JOURNALS = 2.0
# How long a run that failed waits for its threads.
SECONDS_TO_STOP = 2.0


class _StoppedError(Exception):
    """The download was given up while a part was under way."""


@dataclass(frozen=True)
class _Journal:
    """What of an object has been downloaded.

    Attributes:
        part_bytes: the size of a part, but for the last one.
        done: numbers of the parts that are there, from 0.
    """

    etag: str
    size_bytes: int
    part_bytes: int
    done: frozenset[int]

    @property
    def num_parts(self) -> int:
        """How many parts the object has."""
        return -(-self.size_bytes // self.part_bytes)

    def part(self, number: int) -> range:
        """Give the bytes of a part."""
        start = number * self.part_bytes
        return range(start, min(start + self.part_bytes, self.size_bytes))

    def size_of(self, numbers: Iterable[int]) -> int:
        """Give the size of some parts together."""
        return sum(len(self.part(number)) for number in numbers)


@dataclass(frozen=True)
class _Transfer:
    """A download under way, as its threads share it.

    Attributes:
        client: the S3 client.
        found: the object.
        part: the file that its bytes go to.
        descriptor: the same file, open for writing.
        stop: set when the threads are to give up.
        lock: held to report progress.
    """

    client: S3Client
    found: RemoteObject
    part: Path
    descriptor: int
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Parameters:
    """The parameters of the step.

    Attributes:
        part_bytes: what one GET asks for.
        connections: how many of them run at once.
        check_etag: whether an ETag that looks like an MD5 sum is compared.
    """

    part_bytes: int = 8 << 20
    connections: int = 4
    check_etag: bool = True


def read_parameters(parameters: Mapping[str, Any]) -> Parameters:
    """Read `part_size`, `connections` and `check_etag`.

    Raises:
        SettingsError: a parameter is unknown, or makes no sense.
    """
    refuse_unknown(parameters, {"part_size", "connections", "check_etag"}, step="download")
    check_etag = parameters.get("check_etag", Parameters.check_etag)
    if not isinstance(check_etag, bool):
        raise SettingsError(f"pipeline.yml: check_etag is {check_etag!r}, expected true or false")
    return Parameters(
        part_bytes=byte_size(parameters, "part_size", default=Parameters.part_bytes),
        connections=_whole_number(parameters, "connections", default=Parameters.connections, largest=64),
        check_etag=check_etag,
    )


def run_step(settings: Settings, parameters: Parameters) -> StepResult:
    """Land the archive of the run's data set, unless the same object has landed already, or there are CSV files.

    Raises:
        SettingsError: no credentials are set.
        SourceError: the object cannot be read.
        PipelineError: the disk is full.
    """
    if settings.source.kind == "files":
        return local.register(settings)
    with closing(open_source(settings, parameters)) as client:
        return land(settings, client, parameters)


def open_source(settings: Settings, declared: Parameters) -> S3Client:
    """Open a client of the run's store, and say which credentials are there and not used.

    Args:
        settings: the run's settings.
        declared: the parameters of the step.

    Raises:
        SettingsError: no credentials are set.
        ServiceError: the embedded server is to be used, and is not running.
    """
    with s3_errors(settings.archive_uri):
        source = find_source(settings)
        if line := unused_credentials(settings):
            say(line)
        return open_client(source, client_config(declared.connections))


def land(settings: Settings, client: S3Client, declared: Parameters, *, command: str = "extract") -> StepResult:
    """Land the archive that settings name, unless the same object has landed already, or there are CSV files.

    Args:
        settings: name the object and the archive; with `force` it lands again.
        client: the S3 client.
        declared: the parameters of the step.
        command: the target of make that does so, which a message advises.

    Raises:
        SourceError: the object cannot be read.
        PipelineError: the disk is full.
    """
    path = settings.archive_path
    if settings.force:
        forget(path)
    begun = time.monotonic()
    try:
        found = find_in_bucket(client, settings)
        if found.archive is None:
            return local.forgo_download(settings, found)
        asset = landed(path, found.archive)
        if asset is not None:
            return StepResult(f"skipped: {asset.uri}, {quantity(asset.size_bytes, 'B')}, has landed already")
        asset = download(client, found.archive, path, declared)
    except SourceError as error:
        if settings.source.kind == "generated" and not _is_running(settings):
            raise SourceError(
                f"{settings.archive_uri}: the embedded S3 server was stopped: run"
                f" {make_command(command, settings)}, which starts it and continues where this one stopped"
            ) from error
        raise
    rate = quantity(asset.size_bytes / (time.monotonic() - begun), "B")
    return StepResult(f"{quantity(asset.size_bytes, 'B')} from {asset.uri}, {rate}/s")


def _is_running(settings: Settings) -> bool:
    try:
        find_source(settings)
    except ServiceError:
        return False
    return True


def landed(path: Path, found: RemoteObject) -> Asset | None:
    """Give what has landed as an archive, if it is the object that was found."""
    asset = read_manifest(path)
    is_same = asset is not None and (
        (asset.uri, asset.etag, asset.size_bytes) == (found.uri, found.etag, found.size_bytes)
    )
    return asset if is_same else None


def forget(path: Path) -> None:
    """Make a landed archive, or one that is partly there, count for nothing."""
    for stale in (manifest_path(path), _journal_path(path), part_path(path)):
        stale.unlink(missing_ok=True)


def download(client: S3Client, found: RemoteObject, path: Path, declared: Parameters) -> Asset:
    """Download an object, from the parts that are there already, and give it its final name.

    Args:
        client: the S3 client.
        found: the object, as it is now.
        path: the archive's final name.
        declared: the parameters of the step; memory does not depend on the size of parts.

    Returns:
        What its manifest says, which is beside the archive.

    Raises:
        SourceError: the object cannot be read, or what came is not what the store promised.
        PipelineError: the disk is full.
    """
    with disk_errors(path):
        make_private_folder(path.parent)
    for _ in range(REPLACED_ATTEMPTS):
        with disk_errors(path):
            journal = _resume(path, found, declared.part_bytes)
        try:
            _fetch(client, found, path, journal, declared.connections)
        except ReplacedError:
            say(f"{found.uri} was replaced while it was downloaded: starting again with the new one")
            found = look_at(client, found.bucket, found.key)
            continue
        md5_part_bytes = found.md5_part_bytes if declared.check_etag else None
        asset = Asset(found.uri, found.etag, found.size_bytes, datetime.now(UTC), md5_part_bytes=md5_part_bytes)
        with disk_errors(path):
            publish(part_path(path), path)
            write_manifest(path, asset)
            _journal_path(path).unlink(missing_ok=True)
        return asset
    raise SourceError(f"{found.uri} is replaced again and again while it is downloaded: try later")


def _resume(path: Path, found: RemoteObject, part_bytes: int) -> _Journal:
    """Give the journal of what is there of an object, which is empty where nothing is."""
    part = part_path(path)
    declared = read_json(_journal_path(path))
    journal = _parse_journal(declared) if declared else None
    if journal is not None and (journal.etag, journal.size_bytes) == (found.etag, found.size_bytes):
        if not part.exists() and len(journal.done) == journal.num_parts and _has_size(path, found.size_bytes):
            path.replace(part)  # stopped between the rename and the manifest
        if _has_size(part, found.size_bytes):
            if journal.done:
                there, size = quantity(journal.size_of(journal.done), "B"), quantity(found.size_bytes, "B")
                say(f"the download goes on: {there} of {size} are there already")
            return journal
    elif journal is not None and journal.done:
        say(f"{found.uri} has changed since its download began: starting again")
    journal = _Journal(found.etag, found.size_bytes, part_bytes, frozenset())
    with disk_errors(part):
        with open_private(part) as file:
            file.truncate(found.size_bytes)
        _write_journal(path, journal)
    return journal


def _fetch(client: S3Client, found: RemoteObject, path: Path, journal: _Journal, connections: int) -> None:
    """Fetch the parts that are missing.

    Raises:
        ReplacedError: the object has changed.
        SourceError: the object cannot be read.
        PipelineError: the disk is full.
    """
    part = part_path(path)
    done = set(journal.done)
    missing = [number for number in range(journal.num_parts) if number not in done]
    require_free_disk(part.parent, journal.size_of(missing), found.uri)
    executor = ThreadPoolExecutor(connections, "download")
    with disk_errors(part):
        descriptor = os.open(part, os.O_WRONLY)
    transfer = _Transfer(client, found, part, descriptor)
    running: dict[Future[None], int] = {}
    try:
        with s3_errors(found.uri, endpoint_of(client)), track("download", found.size_bytes, "B") as progress:
            progress.advance(journal.size_of(done))
            for number in missing:
                future = executor.submit(_fetch_part, transfer, journal.part(number), progress)
                running[future] = number
            _collect(running, done, lambda: _save(path, descriptor, journal, done))
        _save(path, descriptor, journal, done)
    finally:
        transfer.stop.set()
        executor.shutdown(wait=False, cancel_futures=True)
        begun = [future for future in running if not future.cancelled()]  # `wait` takes a cancelled one for not done
        # A thread that is still in a read would write to whatever file gets the descriptor's number next.
        if not wait(begun, timeout=SECONDS_TO_STOP).not_done:
            os.close(descriptor)


def _collect(running: dict[Future[None], int], done: set[int], save: Callable[[], None]) -> None:
    """Wait for the parts, and save now and then which are there, at the end in any case."""
    try:
        while running:
            finished = wait(running, timeout=SECONDS_BETWEEN_JOURNALS, return_when=FIRST_EXCEPTION).done
            for future in sorted(finished, key=lambda future: future.exception() is not None):
                number = running.pop(future)
                future.result()
                done.add(number)
            if finished:
                save()
    except BaseException:
        done.update(number for future, number in running.items() if future.done() and _succeeded(future))
        save()
        raise


def _succeeded(future: Future[None]) -> bool:
    return not future.cancelled() and future.exception() is None


def _fetch_part(transfer: _Transfer, bytes_: range, progress: Progress) -> None:
    """Fetch one part, from where it broke off when it does."""
    position = bytes_.start
    for block in read_on(transfer.client, transfer.found, bytes_, pause=transfer.stop.wait):
        _write_at(transfer, block, position)
        position += len(block)
        with transfer.lock:
            progress.advance(len(block))
        if transfer.stop.is_set():
            raise _StoppedError


def _write_at(transfer: _Transfer, block: bytes, position: int) -> None:
    rest = memoryview(block)
    with disk_errors(transfer.part):
        while rest:
            written = os.pwrite(transfer.descriptor, rest, position)
            rest, position = rest[written:], position + written


def _journal_path(path: Path) -> Path:
    return manifest_path(part_path(path))


def _save(path: Path, descriptor: int, journal: _Journal, done: set[int]) -> None:
    """Write down which parts are there, after their bytes are on the disk."""
    with disk_errors(part_path(path)):
        os.fsync(descriptor)
        _write_journal(path, _Journal(journal.etag, journal.size_bytes, journal.part_bytes, frozenset(done)))


def _write_journal(path: Path, journal: _Journal) -> None:
    write_json(_journal_path(path), asdict(journal) | {"done": sorted(journal.done)})


def _parse_journal(declared: dict[str, Any]) -> _Journal | None:
    try:
        journal = _Journal(**declared | {"done": frozenset(declared["done"])})
        is_sound = journal.part_bytes > 0 and all(0 <= number < journal.num_parts for number in journal.done)
    except (KeyError, TypeError):
        return None
    return journal if is_sound else None


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _whole_number(parameters: Mapping[str, Any], name: str, *, default: int, largest: int) -> int:
    value = parameters.get(name, default)
    if type(value) is not int or not 1 <= value <= largest:
        raise SettingsError(f"pipeline.yml: {name} is {value!r}, expected a number from 1 to {largest}")
    return value
