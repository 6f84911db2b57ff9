"""Unpacking the archive: the project's way against Python's own."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.results import Figure, Measurement
from extract.unpack import unpack
from pipeline.landed import Asset
from pipeline.settings import RECORD_KINDS, Settings

# The best of so many, in turns: a small archive is unpacked in less time than the disk's moods take.
_TRIES = 5


def measure_unpacking(archive: Path, settings: Settings) -> Iterator[Measurement]:
    """Unpack an archive both ways; the CSV files stay where the settings want them.

    Args:
        archive: the archive.
        settings: name its members and their places.
    """
    paths = {settings.data_set.members[kind]: settings.member_path(kind) for kind in RECORD_KINDS}
    landed = Asset("", "", archive.stat().st_size, datetime.now(UTC))
    with TemporaryDirectory(dir=archive.parent) as folder:
        tries = [
            (_seconds(lambda: _unpack_plainly(archive, Path(folder))), _seconds(lambda: unpack(archive, landed, paths)))
            for _ in range(_TRIES)
        ]
    plain, seconds = (min(of_one_way) for of_one_way in zip(*tries, strict=True))
    size = sum(path.stat().st_size for path in paths.values())
    yield Measurement("unpack by Python's tarfile", plain, size, "B", is_baseline=True)
    yield Measurement(
        "unpack", seconds, size, "B", plain / seconds, "speed of Python's tarfile", Figure("ratio", "at least", 1)
    )


def _unpack_plainly(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, mode="r:gz") as tar:
        tar.extractall(folder, filter="data")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
