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

from pipeline.cli import shown
from pipeline.errors import ArchiveError, SettingsError
from pipeline.files import disk_errors, make_private_folder
from pipeline.landed import Asset, manifest_path, read_manifest, version_of, write_manifest
from pipeline.lines import Lines
from pipeline.progress import track
from pipeline.settings import RECORD_KINDS, RecordKind, Settings, file_uri
from pipeline.steps import StepResult
from pipeline.units import quantity

_MOST_FOLDERS_DOWN = 2
_READ = 1 << 20
_MD5 = re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{32}(?![0-9A-Za-z])")


@dataclass(frozen=True)
class LocalSource:
    """What was found of a data set on this machine.

    Attributes:
        archive: the archive that is taken; None where CSV files are.
        files: the CSV files that are taken, by kind; none where an archive is.
        passed_over: archives, and folders of CSV files, that are there too.
    """

    archive: Path | None
    files: Mapping[RecordKind, Path]
    passed_over: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        """The archive, or the folder of the CSV files."""
        return self.archive or self.files["sample"].parent


def find_local(settings: Settings) -> LocalSource:
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
        return LocalSource(path, {})
    with disk_errors(path):
        archives = [path / name for name in data_set.names if (path / name).is_file()]
        members = data_set.members.values()
        folders = [folder for folder in _folders(path) if all((folder / name).is_file() for name in members)]
    if not archives and not folders:
        raise SettingsError(
            f"SOURCE: {shown(path)} holds no archive of {data_set.name} ({', '.join(data_set.names)}), nor does it or a"
            f" folder below it hold {' and '.join(members)}"
        )
    passed_over = tuple([*archives, *folders][1:])
    if archives:
        return LocalSource(archives[0], {}, passed_over)
    return LocalSource(None, {kind: folders[0] / data_set.members[kind] for kind in RECORD_KINDS}, passed_over)


def _folders(path: Path, depth: int = _MOST_FOLDERS_DOWN) -> Iterator[Path]:
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


def passed_over_line(found: LocalSource) -> str | None:
    """Say what is there and not taken; None where that is nothing."""
    if not found.passed_over:
        return None
    others = ", ".join(shown(path) for path in found.passed_over)
    return f"  also there, and not taken: {others} (docs/sources.md has the rule; SOURCE can name each of them)"


def register(settings: Settings) -> StepResult:
    """Take an archive or CSV files for landed, where they are.

    Raises:
        SettingsError: there are none.
        PipelineError: they cannot be read, or the project's own folder cannot be written.
    """
    found = find_local(settings)
    where = shown(found.path)
    if found.archive is None:
        with disk_errors(settings.archive_path):
            manifest_path(settings.archive_path).unlink(missing_ok=True)
        return StepResult(f"nothing to download: the CSV files in {where} are read where they are")
    with disk_errors(found.archive):
        size, version, md5 = found.archive.stat().st_size, version_of(found.archive), _read_md5(found.archive)
    told = f"{where}, {quantity(size, 'B')}, is read where it is"
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


def read_in_place(settings: Settings, found: LocalSource) -> tuple[dict[RecordKind, Asset], list[Asset]]:
    """Take CSV files for unpacked where they are: read each once, for its checksum, its lines and where it is cut.

    A file that has been read is believed for as long as its size, its time and its inode are the same.

    Returns:
        The file of each kind of records, and which of them were read now.

    Raises:
        ArchiveError: a file has changed while it was read.
        PipelineError: a file cannot be read.
    """
    files: dict[RecordKind, Asset] = {}
    read: list[Asset] = []
    for kind, path in found.files.items():
        manifest = settings.member_path(kind)
        asset = None if settings.force else read_manifest(manifest)
        if asset is None or asset.path != str(path):
            asset = _read(path)
            read.append(asset)
            with disk_errors(manifest):
                make_private_folder(manifest.parent)
                write_manifest(manifest, asset)
        files[kind] = asset
    return files, read


def _read(path: Path) -> Asset:
    with disk_errors(path), path.open("rb") as file:
        version, size = version_of(path), path.stat().st_size
        lines, digest = Lines(size), hashlib.sha256()
        with track(f"read {path.name}", size, "B") as progress:
            while block := file.read(_READ):
                digest.update(block)
                lines.update(block)
                progress.advance(len(block))
        if version_of(path) != version:
            raise ArchiveError(f"{shown(path)} has changed while it was read: run the same command again")
    return Asset(
        file_uri(path),
        version,
        size,
        datetime.now(UTC),
        sha256=digest.hexdigest(),
        num_rows=lines.num_lines,
        marks=lines.marks,
        path=str(path),
        version=version,
    )
