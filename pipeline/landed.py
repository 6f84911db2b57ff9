"""What every landed file has: a private folder, a manifest beside it, and a row in the `asset` table.

A file under its final name is always whole: it is written as `<name>.part` and renamed. The manifest `<name>.json` is
written after the rename, so a file without a manifest has not landed yet.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.files import read_json, sync_folder, write_json
from pipeline.lines import Mark
from pipeline.progress import working

_MOST_TICKS = 50  # a clock that was set back is not waited for


@dataclass(frozen=True)
class Asset:
    """What has landed: an archive, or a CSV file unpacked from it. Its JSON form is the manifest beside it.

    Attributes:
        uri: `s3://bucket/key`, with `#member` for a CSV file.
        etag: the ETag of the object in S3, without its quotes.
        size_bytes: size of the archive or of the CSV file.
        landed_at: when it landed, in UTC.
        sha256: checksum of the archive or of the CSV file, in hex; empty of an archive that has not been unpacked.
        num_rows: lines of the CSV file, of which the last need not have a newline; None for the archive.
        md5_part_bytes: the size of the parts whose MD5 sums the ETag of an archive is made of; None where it is not to
            be compared with the content.
        marks: where lines of the CSV file begin, so that it is cut without being read.
        path: of a file that is read where it is, and not beside its manifest; of an object, its address.
        version: of such a file, what tells it from another one of the same name, as `version_of` gives it, or its ETag.
    """

    uri: str
    etag: str
    size_bytes: int
    landed_at: datetime
    sha256: str = ""
    num_rows: int | None = None
    md5_part_bytes: int | None = None
    marks: tuple[Mark, ...] = ()
    path: str = ""
    version: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether it is an object that is read where it is."""
        return bool(self.path) and self.path == self.uri

    def is_from(self, archive: Asset) -> bool:
        """Tell whether this CSV file came from that very archive, which has been unpacked since it landed."""
        is_same = (self.uri.partition("#")[0], self.etag) == (archive.uri, archive.etag)
        return is_same and bool(archive.sha256)


def file_of(path: Path, asset: Asset) -> Path:
    """Give where a landed file is: under the name that it has landed by, or where it was all the time."""
    return Path(asset.path) if asset.path else path


def version_of(path: Path) -> str:
    """Tell a file from another one that was put in its place, by what rsync goes by: size and time, and its inode.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def manifest_path(path: Path) -> Path:
    """Where the manifest of a landed file is."""
    return path.with_name(path.name + ".json")


def part_path(path: Path) -> Path:
    """Where a file is written until it is whole."""
    return path.with_name(path.name + ".part")


def read_manifest(path: Path, *, verify: bool = True) -> Asset | None:
    """Read the manifest of a landed file, which is believed only while the file is the one that landed.

    A file that was touched since its manifest was written, whatever its other times say, is read to its end: where its
    checksum is right, the manifest is touched too, and believed at once the next time.

    Args:
        path: the landed file.
        verify: whether to read a file that was touched. One who waits for a quick answer takes its size for enough.

    Returns:
        None when the file has not landed: no manifest or a broken one, no file, or a file of another size or content.
        Of an object the store is not asked here: whoever reads it gets that version or an error.
    """
    asset = _parse(read_json(manifest_path(path)) or {})
    if asset is not None and asset.is_remote:
        return asset
    try:
        if asset is not None and asset.path:
            return asset if version_of(Path(asset.path)) == asset.version else None
        if asset is None or path.stat().st_size != asset.size_bytes:
            return None
        return asset if not verify or _is_untouched(path) or _verify(path, asset.sha256) else None
    except OSError:
        return None


def _parse(declared: dict[str, Any]) -> Asset | None:
    try:
        landed_at = datetime.fromisoformat(declared["landed_at"])
        marks = tuple((int(first_byte), int(first_line)) for first_byte, first_line in declared.get("marks", ()))
        asset = Asset(**declared | {"landed_at": landed_at, "marks": marks})
    except (KeyError, TypeError, ValueError):
        return None
    return asset if isinstance(asset.uri, str) and isinstance(asset.etag, str) else None


def _is_untouched(path: Path) -> bool:
    # The time of a change cannot be set, other than that of a modification: tools that keep times keep the latter.
    return path.stat().st_ctime_ns < manifest_path(path).stat().st_ctime_ns


def _verify(path: Path, sha256: str) -> bool:
    if not sha256:
        return False
    before = path.stat().st_ctime_ns
    with working(f"check {path.name}, which was touched"), path.open("rb") as file:
        is_right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    if not is_right or path.stat().st_ctime_ns != before:
        return False
    with suppress(OSError):  # then it is read the next time too
        os.utime(manifest_path(path))
    return True


def write_manifest(path: Path, asset: Asset) -> None:
    """Write the manifest of a file that has just landed."""
    write_json(manifest_path(path), asdict(asset) | {"landed_at": asset.landed_at.isoformat()})
    # A clock that has not gone on since would not tell the file from one that is changed in the next moment.
    for _ in range(_MOST_TICKS):
        if not path.exists() or _is_untouched(path):
            return
        time.sleep(0.001)
        os.utime(manifest_path(path))


def publish(part: Path, path: Path) -> None:
    """Give a finished file, whose bytes are on the disk already, its final name."""
    manifest_path(path).unlink(missing_ok=True)
    part.replace(path)
    sync_folder(path.parent)
