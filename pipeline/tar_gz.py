"""Archives of the same bytes for the same content: nothing of the machine or the moment goes into them.

Deflate itself is zlib's, whose output has been the same for many years; a Python that is built with another library
writes other bytes of the same content.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# 2022-06-01 00:00 UTC. Level 6 makes an archive a fifth smaller and takes four times as long.
MEMBER_TIME = 1_654_041_600
COMPRESSION_LEVEL = 1
_BLOCK = 1 << 20


def compressor() -> str:
    """Name what determines the bytes beside the content."""
    return f"zlib {zlib.ZLIB_RUNTIME_VERSION}, level {COMPRESSION_LEVEL}"


@contextmanager
def write_tar_gz(path: Path) -> Iterator[Callable[[str, int, Iterable[bytes]], None]]:
    """Write a gzipped tar.

    Args:
        path: the archive.

    Yields:
        What adds a file to it: takes its name, its size and its content, in blocks of any size but 0.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION_LEVEL, fileobj=raw, mtime=0) as packed,
        tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, copybufsize=_BLOCK) as archive,
    ):

        def add(name: str, size: int, blocks: Iterable[bytes]) -> None:
            header = tarfile.TarInfo(name)
            header.size, header.mtime, header.mode = size, MEMBER_TIME, 0o644
            archive.addfile(header, io.BufferedReader(_Blocks(blocks), _BLOCK))

        yield add


class _Blocks(io.RawIOBase):
    """Blocks as a file that is read once, from its beginning."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks, self._left = iter(blocks), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or memoryview(next(self._blocks, b""))
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
