"""The archive of a sample: the same bytes for the same lines.

Nothing of the machine or the moment goes into it, and the compressor's level is fixed. Deflate itself is zlib's, whose
output has been the same for many years; a Python that is built with another library writes other bytes of the same
content, so the manifest names the library and has the checksum of each file too.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import disk_errors

# 2022-06-01 00:00 UTC. Level 6 makes an archive a fifth smaller and takes four times as long.
MEMBER_TIME = 1_654_041_600
COMPRESSION_LEVEL = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A file of drawn lines, and the ranges of it, in order and apart, that were not drawn after all."""

    path: Path
    num_bytes: int
    dropped: Sequence[tuple[int, int]]

    @property
    def kept_bytes(self) -> int:
        """How many bytes were drawn."""
        return self.num_bytes - sum(end - begin for begin, end in self.dropped)

    def read(self) -> Iterator[bytes]:
        """Give what was drawn, in blocks."""
        with disk_errors(self.path), self.path.open("rb") as file:
            position = 0
            for begin, end in [*self.dropped, (self.num_bytes, self.num_bytes)]:
                file.seek(position)
                while position < begin:
                    block = file.read(min(_BLOCK, begin - position))
                    position += len(block)
                    yield block
                position = end


@dataclass(frozen=True)
class Member:
    """A CSV file of the archive."""

    name: str
    pieces: Sequence[Piece]

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return sum(piece.kept_bytes for piece in self.pieces)


def compressor() -> str:
    """Name what determines the bytes beside the content."""
    return f"zlib {zlib.ZLIB_RUNTIME_VERSION}, level {COMPRESSION_LEVEL}"


def write_archive(path: Path, members: Sequence[Member], see: Callable[[str, bytes], None]) -> dict[str, str]:
    """Write the archive.

    Args:
        path: the archive.
        members: its CSV files, in their order.
        see: is given each block of whole lines that is written, with the member's name.

    Returns:
        The SHA-256 of each member.
    """
    checksums: dict[str, str] = {}
    with (
        disk_errors(path),
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION_LEVEL, fileobj=raw, mtime=0) as packed,
        tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, copybufsize=_BLOCK) as archive,
    ):
        for member in members:
            header = tarfile.TarInfo(member.name)
            header.size, header.mtime, header.mode = member.num_bytes, MEMBER_TIME, 0o644
            digest = hashlib.sha256()
            archive.addfile(header, _Lines(member, digest.update, see))
            checksums[member.name] = digest.hexdigest()
    return checksums


class _Lines(io.RawIOBase):
    """A member as a file that is read once, from its beginning."""

    def __init__(self, member: Member, digest: Callable[[bytes], Any], see: Callable[[str, bytes], None]) -> None:
        super().__init__()
        self._name, self._digest, self._see = member.name, digest, see
        self._blocks: Iterator[bytes] = (block for piece in member.pieces for block in _whole_lines(piece.read()))
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            if not self._left:
                self._left = next(self._blocks, b"")
                if not self._left:
                    break
                self._digest(self._left)
                self._see(self._name, self._left)
            parts.append(self._left[:size])
            self._left = self._left[size:]
            size -= len(parts[-1])
        return b"".join(parts)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        whole, newline, after = (rest + block).rpartition(b"\n")
        if newline:
            yield whole + newline
        rest = after
    if rest:
        yield rest
