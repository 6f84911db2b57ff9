"""Where a development sample is, and what it is drawn from: what the steps of `make sample` tell one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.commands import make_command
from pipeline.csv_files import Place, places_of
from pipeline.errors import LoadError
from pipeline.files import read_json, write_json
from pipeline.landed import Asset, read_manifest
from pipeline.settings import RECORD_KINDS, RecordKind, Settings


@dataclass(frozen=True)
class SampledFile:
    """A CSV file that is drawn from.

    Attributes:
        path: where it is.
        size_bytes: its size.
        sha256: its checksum, in hex.
    """

    path: Place
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class SampleSource:
    """The archive that is drawn from.

    Attributes:
        uri: its address.
        etag: its ETag in S3.
        sha256: its checksum, in hex.
        files: the unpacked file of each kind.
    """

    uri: str
    etag: str
    sha256: str
    files: Mapping[RecordKind, SampledFile]


@dataclass(frozen=True)
class SamplePaths:
    """What a drawn sample consists of."""

    archive: Path
    manifest: Path
    report: Path
    source: Path
    work: Path


def sample_paths(settings: Settings) -> SamplePaths:
    """Give where the sample of the run's data set is written."""
    folder = settings.sample_folder
    return SamplePaths(
        archive=folder / settings.data_set.archive,
        manifest=folder / "manifest.json",
        report=folder / "report.html",
        source=folder / "source.json",
        work=folder / ".work",
    )


def write_source(settings: Settings, source: SampleSource) -> None:
    """Leave word of what is to be drawn from."""
    declared = asdict(source)
    for file in declared["files"].values():
        file["path"] = str(file["path"])
    write_json(sample_paths(settings).source, declared)


def read_source(settings: Settings) -> SampleSource:
    """Read what is to be drawn from, and see that its files are still those.

    Raises:
        LoadError: nothing has been unpacked, or it is no longer there.
    """
    declared = read_json(sample_paths(settings).source)
    try:
        if declared is None:
            raise KeyError
        files: dict[RecordKind, SampledFile] = {
            kind: SampledFile(Path(file["path"]), int(file["size_bytes"]), str(file["sha256"]))
            for kind in RECORD_KINDS
            for file in (declared["files"][kind],)
        }
        source = SampleSource(str(declared["uri"]), str(declared["etag"]), str(declared["sha256"]), files)
    except (KeyError, TypeError, ValueError):
        raise LoadError(
            f"nothing to draw {settings.data_set.name} from has landed: run"
            f" {make_command('sample', settings)}, which downloads it first"
        ) from None
    landed: dict[RecordKind, tuple[Path, Asset]] = {}
    for kind, file in source.files.items():
        path = Path(str(file.path))
        manifest = read_manifest(path)
        if manifest is None or manifest.sha256 != file.sha256:
            again = make_command("sample", settings)
            raise LoadError(f"{file.path} is not the file that was unpacked: run {again}, which lands it again")
        landed[kind] = (path, manifest)
    places = places_of(settings, landed)
    return replace(source, files={kind: replace(source.files[kind], path=place) for kind, place in places.items()})
