"""What every landed file has: a private folder, a manifest beside it, and a row in the `asset` table.

A file under its final name is always whole: it is written as `<name>.part` and renamed. The manifest `<name>.json` is
written after the rename, so a file without a manifest has not landed yet.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.files import read_json, sync_folder, write_json
from pipeline.progress import working
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.registry import Asset


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


def read_manifest(path: Path, kind: type[ManifestT], *, verify: bool = True) -> ManifestT | None:
    """Read the manifest of a landed file, which is believed only while the file is the one that landed.

    A file that was touched since its manifest was written, whatever its other times say, is read to its end: where its
    checksum is right, the manifest is touched too, and believed at once the next time.

    Args:
        path: the landed file.
        kind: which manifest it has.
        verify: whether to read a file that was touched. One who waits for a quick answer takes its size for enough.

    Returns:
        None when the file has not landed: no manifest or a broken one, no file, or a file of another size or content.
    """
    declared = read_json(manifest_path(path))
    names = {field.name: int if field.type == "int" else str for field in fields(kind)}
    if declared is None or declared.keys() != names.keys():
        return None
    if not all(type(declared[name]) is type_ for name, type_ in names.items()):
        return None
    manifest = kind(**declared)
    try:
        if path.stat().st_size != manifest.size_bytes:
            return None
        return manifest if not verify or _is_untouched(path) or _verify(path, manifest.sha256) else None
    except OSError:
        return None


def _is_untouched(path: Path) -> bool:
    # The time of a change cannot be set, other than that of a modification: tools that keep times keep the latter. Of
    # two changes in one tick of the clock it does not tell the later one.
    return path.stat().st_ctime_ns < manifest_path(path).stat().st_ctime_ns


def _verify(path: Path, sha256: str) -> bool:
    before = path.stat().st_ctime_ns
    with working(f"check {path.name}, which was touched"), path.open("rb") as file:
        is_right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    if not is_right or path.stat().st_ctime_ns != before:
        return False
    with suppress(OSError):  # then it is read the next time too
        os.utime(manifest_path(path))
    return True


def write_manifest(path: Path, manifest: ArchiveManifest | MemberManifest) -> None:
    """Write the manifest of a file that has just landed."""
    write_json(manifest_path(path), asdict(manifest))


def publish(part: Path, path: Path) -> None:
    """Give a finished file, whose bytes are on the disk already, its final name."""
    manifest_path(path).unlink(missing_ok=True)
    part.replace(path)
    sync_folder(path.parent)


def record_assets(settings: Settings, assets: Sequence[Asset]) -> None:
    """Record landed files in the `asset` table of the staging database.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    from pipeline.registry import open_registry, record_asset  # noqa: PLC0415 - the driver is not needed before

    with closing(open_registry(settings)) as connection:
        for asset in assets:
            record_asset(connection, asset)
