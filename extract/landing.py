"""What every landed file has: a private folder, a manifest beside it, and a row in the `asset` table.

A file under its final name is always whole: it is written as `<name>.part` and renamed. The manifest `<name>.json` is
written after the rename, so a file without a manifest has not landed yet.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import PipelineError
from pipeline.progress import quantity
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.registry import Asset

# Left free for everything else that writes to the same disk.
DISK_RESERVE = 64 << 20

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class ArchiveManifest:
    """Which object of S3 landed as an archive.

    Attributes:
        uri: `s3://bucket/key`.
        etag: the object's ETag, without its quotes.
        size_bytes: size of the object and of the file.
        sha256: checksum of the file, in hex.
        landed_at: when it landed, in UTC, in ISO 8601.
    """

    uri: str
    etag: str
    size_bytes: int
    sha256: str
    landed_at: str


@dataclass(frozen=True)
class MemberManifest:
    """What was unpacked from an archive as one CSV file.

    Attributes:
        archive_sha256: checksum of the archive that it came from.
        size_bytes: size of the file.
        sha256: checksum of the file, in hex.
        num_lines: its lines; a last line without a newline counts.
        landed_at: when it was unpacked, in UTC, in ISO 8601.
    """

    archive_sha256: str
    size_bytes: int
    sha256: str
    num_lines: int
    landed_at: str


ManifestT = TypeVar("ManifestT", ArchiveManifest, MemberManifest)


def now() -> str:
    """Give the time as a manifest writes it."""
    return datetime.now(UTC).isoformat()


def manifest_path(path: Path) -> Path:
    """Where the manifest of a landed file is."""
    return path.with_name(path.name + ".json")


def part_path(path: Path) -> Path:
    """Where a file is written until it is whole."""
    return path.with_name(path.name + ".part")


def read_manifest(path: Path, kind: type[ManifestT]) -> ManifestT | None:
    """Read the manifest of a landed file.

    Args:
        path: the landed file.
        kind: which manifest it has.

    Returns:
        None when the file has not landed: no manifest or a broken one, no file, or a file of another size.
    """
    declared = read_json(manifest_path(path))
    names = {field.name: int if field.type == "int" else str for field in fields(kind)}
    if declared is None or declared.keys() != names.keys():
        return None
    if not all(type(declared[name]) is type_ for name, type_ in names.items()):
        return None
    manifest = kind(**declared)
    try:
        return manifest if path.stat().st_size == manifest.size_bytes else None
    except OSError:
        return None


def write_manifest(path: Path, manifest: ArchiveManifest | MemberManifest) -> None:
    """Write the manifest of a file that has just landed."""
    write_json(manifest_path(path), asdict(manifest))


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None when there is none that can be read."""
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return declared if isinstance(declared, dict) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object so that a reader, or a run after a crash, sees the old one or the new one, both whole."""
    temporary = path.with_name(path.name + ".tmp")
    with open_private(temporary) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def open_private(path: Path) -> Any:
    """Open a new, empty file for writing that only its owner may read, in place of whatever has that name."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def publish(part: Path, path: Path) -> None:
    """Give a finished file, whose bytes are on the disk already, its final name."""
    manifest_path(path).unlink(missing_ok=True)
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_free_disk(folder: Path, needed: int, what: str) -> None:
    """Check that a file will fit before it is begun.

    Args:
        folder: where it goes.
        needed: bytes still to be written.
        what: the file, as the message names it.

    Raises:
        PipelineError: it will not fit.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + DISK_RESERVE:
        raise PipelineError(
            f"the disk of {folder} is too small for {what}: it needs {quantity(needed + DISK_RESERVE, 'B')} and"
            f" {quantity(free, 'B')} are free: make room, or set folders in pipeline.yml to another disk"
        )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system raises into one line that names the path and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise PipelineError(
                f"the disk is full while writing {path}: make room, or set folders in pipeline.yml to another disk,"
                " and run the same command again"
            ) from error
        raise PipelineError(f"{error.filename or path}: {error.strerror or error}: check the folder") from error


def record_assets(settings: Settings, assets: Sequence[Asset]) -> None:
    """Record landed files in the `asset` table of the staging database.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    from pipeline.registry import open_registry, record_asset  # noqa: PLC0415 - the driver is not needed before

    with closing(open_registry(settings)) as connection:
        for asset in assets:
            record_asset(connection, asset)
