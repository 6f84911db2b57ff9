"""Writing generated data as CSV files, and as the archive that the source bucket holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError, UsageError
from pipeline.files import hold_lock
from pipeline.progress import track
from pipeline.settings import GENERATED_SEED
from pipeline.tar_gz import write_tar_gz
from source_data.facts import COMMON_ROW_BYTES, DATA_SETS, SKELETON_ROW_BYTES, DataSet
from source_data.rows import Plan, common_chunks, make_plan, sample_chunks
from source_data.text import Chunk

SMALLEST_SCALE = 0.00001

Progress = Callable[[int], None]


@dataclass(frozen=True)
class MemberSummary:
    """One CSV file.

    Attributes:
        name: the file's name.
        rows: its lines.
        structures: the feature structures in all of its lists.
        bytes: its size.
    """

    name: str
    rows: int
    structures: int
    bytes: int


@dataclass(frozen=True)
class ArchiveSummary:
    """What was written.

    Attributes:
        skeleton: the sample skeleton: one row per sample.
        common: the common features: one row per common feature group.
        labels: samples of each (click, conversion) pair.
    """

    skeleton: MemberSummary
    common: MemberSummary
    labels: dict[tuple[int, int], int]


def expected_bytes(dataset: str, *, scale: float) -> int:
    """What `write_archive` reports to `progress` in all: each row counts with the mean size of the source's rows."""
    data_set = _data_set(dataset, scale)
    return round(scale * data_set.samples) * SKELETON_ROW_BYTES + round(scale * data_set.groups) * COMMON_ROW_BYTES


def generate_archive(
    path: Path, dataset: str, *, scale: float, seed: int = GENERATED_SEED, signal: bool = False
) -> ArchiveSummary:
    """Write the archive of a data set as `write_archive` does, and show how far it is."""
    with track(f"generate {dataset}", expected_bytes(dataset, scale=scale), "B") as progress:
        return write_archive(path, dataset, scale=scale, seed=seed, signal=signal, progress=progress.advance)


def write_archive(
    path: Path,
    dataset: str,
    *,
    scale: float,
    seed: int = GENERATED_SEED,
    signal: bool = False,
    progress: Progress | None = None,
) -> ArchiveSummary:
    """Write the archive of a data set: a gzipped tar of its two CSV files.

    The CSVs stand in a folder beside the archive while it is written, since a tar holds a file's size before the file.

    Args:
        path: the archive. Its folder must exist. An archive that stands there is replaced when the new one is whole.
        dataset: `train` or `test`.
        scale: the share of the full size, from 0.00001 to 1.
        seed: names the random numbers.
        signal: whether labels depend on features, and are frequent: something for a model to find.
        progress: called now and then with bytes done since the last call; `expected_bytes` in all.

    Raises:
        UsageError: an argument makes no sense, or another process is writing this archive.
        PipelineError: the archive cannot be written.
    """
    plan = _plan(dataset, scale, seed, signal=signal)
    report = progress or (lambda _: None)
    with _writable(path), _folder_beside(path) as folder:
        summary = _write_csvs(folder, plan, report)
        packed = folder / path.name
        _pack(packed, folder, summary, report)
        packed.replace(path)
    return summary


def write_csvs(folder: Path, dataset: str, *, scale: float, seed: int = GENERATED_SEED) -> ArchiveSummary:
    """Write the two CSV files of a data set into a folder that exists.

    Args:
        folder: gets `sample_skeleton_<dataset>.csv` and `common_features_<dataset>.csv`, written beside and renamed.
        dataset: `train` or `test`.
        scale: the share of the full size, from 0.00001 to 1.
        seed: names the random numbers.

    Raises:
        UsageError: an argument makes no sense.
        PipelineError: a file cannot be written.
    """
    plan = _plan(dataset, scale, seed)
    with _writable(folder):
        return _write_csvs(folder, plan, lambda _: None)


def _data_set(dataset: str, scale: float) -> DataSet:
    if dataset not in DATA_SETS:
        msg = f"unknown data set {dataset!r}: use one of {', '.join(DATA_SETS)}"
        raise UsageError(msg)
    if not SMALLEST_SCALE <= scale <= 1:
        msg = f"scale {scale} is out of range: use a share of the full size from {SMALLEST_SCALE:f} to 1"
        raise UsageError(msg)
    return DATA_SETS[dataset]


def _plan(dataset: str, scale: float, seed: int, *, signal: bool = False) -> Plan:
    if seed < 0:
        msg = f"seed {seed} is negative: use a whole number from 0"
        raise UsageError(msg)
    return make_plan(_data_set(dataset, scale), scale, seed, signal=signal)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a line for the person who asked."""
    try:
        yield
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise PipelineError(msg) from error


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder for one writer of `path`; what a killed one left behind goes first."""
    folder = path.with_name(f".{path.name}.partial")
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = folder / ".lock"
    with hold_lock(lock, UsageError(f"{path} is being written by another process: wait for it, or stop it")):
        try:
            for leftover in folder.iterdir():
                if leftover != lock:
                    leftover.unlink()
            yield folder
        finally:
            shutil.rmtree(folder)


def _write_csvs(folder: Path, plan: Plan, report: Progress) -> ArchiveSummary:
    name = plan.data_set.name
    return ArchiveSummary(
        skeleton=_write_csv(folder / f"sample_skeleton_{name}.csv", sample_chunks(plan), SKELETON_ROW_BYTES, report),
        common=_write_csv(folder / f"common_features_{name}.csv", common_chunks(plan), COMMON_ROW_BYTES, report),
        labels=plan.labels,
    )


def _write_csv(path: Path, chunks: Iterable[Chunk], row_bytes: int, report: Progress) -> MemberSummary:
    """Write one CSV; a row that is generated counts half until it is packed."""
    partial = path.with_name(f"{path.name}.partial")
    rows = structures = size = 0
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                size += file.write(chunk.text)
                structures += chunk.structures
                report((rows + chunk.rows) * row_bytes // 2 - rows * row_bytes // 2)
                rows += chunk.rows
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return MemberSummary(path.name, rows, structures, size)


def _pack(path: Path, folder: Path, summary: ArchiveSummary, report: Progress) -> None:
    """Pack the CSVs of a folder, each deleted once it is in."""
    with write_tar_gz(path) as add:
        for member, row_bytes in ((summary.skeleton, SKELETON_ROW_BYTES), (summary.common, COMMON_ROW_BYTES)):
            csv, generated = folder / member.name, member.rows * row_bytes
            add(member.name, member.bytes, _watched(csv, member.bytes, generated - generated // 2, report))
            csv.unlink()


def _watched(path: Path, size: int, units: int, report: Progress) -> Iterator[bytes]:
    """Give a file in blocks; its reading is reported in a unit of which the whole file has `units`."""
    read = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            report(units * (read + len(block)) // size - units * read // size)
            read += len(block)
            yield block
