"""Archives and CSV files of this machine, which are read where they are: nothing is copied, and nothing written there.

What is taken of several, by the first rule that applies:

1. an archive before CSV files: its checksums prove it whole;
2. an archive by the order of the names in pipeline.yml, then `.tar.gz`, `.tgz`, `.tar`;
3. CSV files in the folder itself before those in a folder below, then by the folder's name.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.cli import shown
from pipeline.csv_files import Place, identity_of, open_csv
from pipeline.errors import ArchiveError, SettingsError
from pipeline.files import disk_errors, make_private_folder
from pipeline.landed import Asset, manifest_path, read_manifest, version_of, write_manifest
from pipeline.lines import Lines
from pipeline.progress import track
from pipeline.settings import RECORD_KINDS, RecordKind, Settings, file_uri
from pipeline.steps import StepResult
from pipeline.units import quantity

MOST_FOLDERS_DOWN = 2
_READ = 8 << 20  # of an object each of them is a request
FileT = TypeVar("FileT")
_MD5 = re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{32}(?![0-9A-Za-z])")


@dataclass(frozen=True)
class Found(Generic[FileT]):
    """What was found of a data set, on this machine or in a bucket.

    Attributes:
        where: the archive, or the folder of the CSV files, as a person is told.
        archive: the archive that is taken; None where CSV files are.
        files: the CSV files that are taken, by kind; none where an archive is.
        passed_over: archives, and folders of CSV files, that are there too, as a person is told.
    """

    where: str
    archive: FileT | None
    files: Mapping[RecordKind, FileT]
    passed_over: tuple[str, ...] = ()


def find_local(settings: Settings) -> Found[Path]:
    """Find the archive or the CSV files of the run's data set.

    Raises:
        SettingsError: there are none.
        PipelineError: the folder cannot be read.
    """
    path = settings.source.path
    assert path is not None  # noqa: S101 - for the type checker
    data_set = settings.data_set
    if not path.is_dir():
        others = [each.name for each in settings.data_sets.values() if path.name in each.names]
        if others and data_set.name not in others:
            raise SettingsError(f"{shown(path)} is the archive of {others[0]}: set DATASET={others[0]}")
        return Found(shown(path), path, {})
    with disk_errors(path):
        archives = [path / name for name in data_set.names if (path / name).is_file()]
        members = data_set.members.values()
        folders = [folder for folder in _folders(path) if all((folder / name).is_file() for name in members)]
    if not archives and not folders:
        raise SettingsError(
            f"SOURCE: {shown(path)} holds no archive of {data_set.name} ({', '.join(data_set.names)}), nor does it or a"
            f" folder below it hold {' and '.join(members)}"
        )
    where, *passed_over = map(shown, [*archives, *folders])
    if archives:
        return Found(where, archives[0], {}, tuple(passed_over))
    files = {kind: folders[0] / data_set.members[kind] for kind in RECORD_KINDS}
    return Found(where, None, files, tuple(passed_over))


def _folders(path: Path, depth: int = MOST_FOLDERS_DOWN) -> Iterator[Path]:
    """Give a folder, and those below it, nearer ones first."""
    level = [path]
    for _ in range(depth + 1):
        yield from level
        level = sorted(Path(entry.path) for folder in level for entry in _entries(folder) if entry.is_dir())


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except PermissionError:  # one below, of somebody else
        return


def passed_over_line(found: Found[Any]) -> str | None:
    """Say what is there and not taken; None where that is nothing."""
    if not found.passed_over:
        return None
    others = ", ".join(found.passed_over)
    return f"  also there, and not taken: {others} (docs/sources.md has the rule; SOURCE can name each of them)"


def register(settings: Settings) -> StepResult:
    """Take an archive or CSV files for landed, where they are.

    Raises:
        SettingsError: there are none.
        PipelineError: they cannot be read, or the project's own folder cannot be written.
    """
    found = find_local(settings)
    if found.archive is None:
        return forgo_download(settings, found)
    with disk_errors(found.archive):
        size, version, md5 = found.archive.stat().st_size, version_of(found.archive), _read_md5(found.archive)
    told = f"{found.where}, {quantity(size, 'B')}, is read where it is"
    before = read_manifest(settings.archive_path)
    asset = Asset(
        file_uri(found.archive),
        md5 or version,
        size,
        datetime.now(UTC),
        md5_part_bytes=size if md5 else None,
        path=str(found.archive),
        version=version,
    )
    if before and not settings.force and (before.uri, before.etag, before.version) == (asset.uri, asset.etag, version):
        return StepResult(f"skipped: {told}, as before")
    with disk_errors(settings.archive_path):
        make_private_folder(settings.archive_path.parent)
        write_manifest(settings.archive_path, asset)
    return StepResult(f"nothing to download: {told}")


def forgo_download(settings: Settings, found: Found[Any]) -> StepResult:
    """Take CSV files for landed, where they are: no archive of before counts any more."""
    with disk_errors(settings.archive_path):
        manifest_path(settings.archive_path).unlink(missing_ok=True)
    return StepResult(f"nothing to download: the CSV files in {found.where} are read where they are")


def _read_md5(archive: Path) -> str | None:
    """Read the MD5 sum in the file that is named like the archive, with `.md5` behind it, if there is one."""
    path = archive.with_name(f"{archive.name}.md5")
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = _MD5.search(file.read(4096))
    if not found:
        raise ArchiveError(f"{shown(path)} has no MD5 sum, 32 hex digits: remove it, or put the right one there")
    return found[0].decode("ascii").lower()


def read_in_place(
    settings: Settings, places: Mapping[RecordKind, Place]
) -> tuple[dict[RecordKind, Asset], list[Asset]]:
    """Take CSV files for unpacked where they are: read each once, for its checksum, its lines and where it is cut.

    A file that has been read is believed for as long as its size, its time and its inode are the same, or its ETag.

    Args:
        settings: name the manifests.
        places: where the file of each kind is.

    Returns:
        The file of each kind of records, and which of them were read now.

    Raises:
        ArchiveError: a file has changed while it was read.
        PipelineError: a file cannot be read, or is an object that was replaced meanwhile.
    """
    files: dict[RecordKind, Asset] = {}
    read: list[Asset] = []
    for kind, place in places.items():
        manifest = settings.member_path(kind)
        asset = None if settings.force else read_manifest(manifest)
        if asset is None or (asset.path, asset.version, asset.size_bytes) != (str(place), *identity_of(place)[1:]):
            asset = _read(place)
            read.append(asset)
            with disk_errors(manifest):
                make_private_folder(manifest.parent)
                write_manifest(manifest, asset)
        files[kind] = asset
    return files, read


def _read(place: Place) -> Asset:
    with open_csv(place) as file:
        uri, version, size = identity_of(place)
        lines, digest = Lines(size), hashlib.sha256()
        with track(f"read {place.name}", size, "B") as progress:
            while block := file.read(_READ):
                digest.update(block)
                lines.update(block)
                progress.advance(len(block))
        if identity_of(place)[1] != version:
            raise ArchiveError(f"{place} has changed while it was read: run the same command again")
    return Asset(
        uri,
        version,
        size,
        datetime.now(UTC),
        sha256=digest.hexdigest(),
        num_rows=lines.num_lines,
        marks=lines.marks,
        path=str(place),
        version=version,
    )
