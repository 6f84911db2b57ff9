"""Partitions of a CSV file: runs of whole lines, and the blocks in which they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import LoadError
from pipeline.registry import Partition
from pipeline.settings import RecordKind

# Large enough that the work on a block hides Python's own cost, small enough to stay near the processor's cache.
BLOCK_SIZE = 2 << 20

# Offsets into a block are 32 bits wide.
MAX_LINE_SIZE = 1 << 30


def plan_partitions(path: Path, kind: RecordKind, source_sha256: str, partition_size: int) -> list[Partition]:
    """Cut a file into partitions.

    Args:
        path: the CSV file.
        kind: the kind of its records.
        source_sha256: its checksum, which every partition carries.
        partition_size: how many bytes a partition has before it is filled up to the end of a line.

    Returns:
        The partitions in the file's order. Together they hold each of its bytes once.
    """
    partitions: list[Partition] = []
    first_line, first_byte = 1, 0
    with path.open("rb") as file:
        while num_lines := sum(block.count(b"\n") for block in _blocks(file, first_byte, partition_size)):
            partitions.append(
                Partition(
                    source_file=path.name,
                    source_sha256=source_sha256,
                    record_kind=kind,
                    partition_number=len(partitions) + 1,
                    first_line=first_line,
                    first_byte=first_byte,
                    end_byte=file.tell(),
                    num_lines=num_lines,
                )
            )
            first_line, first_byte = first_line + num_lines, file.tell()
    return partitions


def read_blocks(path: Path, partition: Partition) -> Iterator[bytes]:
    """Read a partition as blocks of whole lines, each line ended by a newline.

    The last line of a file gets its newline here if the file does not end in one.

    Raises:
        LoadError: the file is shorter than it was when the partition was planned.
    """
    yield from read_range(path, partition.first_byte, partition.end_byte)


def cut_ranges(path: Path, size: int) -> list[tuple[int, int]]:
    """Cut a file into ranges of whole lines without reading all of it.

    Args:
        path: the CSV file.
        size: how many bytes a range has before it is filled up to the end of a line.

    Returns:
        The offset of the first byte of each range, and that behind its last.
    """
    ranges: list[tuple[int, int]] = []
    end_of_file = path.stat().st_size
    first_byte = 0
    with path.open("rb") as file:
        while first_byte < end_of_file:
            end = min(first_byte + size, end_of_file)
            file.seek(end - 1)
            end += 0 if file.read(1) == b"\n" or end == end_of_file else len(_rest_of_line(file))
            ranges.append((first_byte, min(end, end_of_file)))
            first_byte = end
    return ranges


def read_range(path: Path, first_byte: int, end_byte: int) -> Iterator[bytes]:
    """Read a range of whole lines as `read_blocks` reads a partition.

    Raises:
        LoadError: the file is shorter than it was when the range was planned.
    """
    with path.open("rb") as file:
        yield from _blocks(file, first_byte, end_byte - first_byte)
        if file.tell() != end_byte:
            raise LoadError(f"{path} has changed since its load was planned: run make extract FORCE=1")


def _blocks(file: BinaryIO, first_byte: int, size: int) -> Iterator[bytes]:
    """Read at least `size` bytes from an offset on, up to the end of a line, in blocks of whole lines."""
    file.seek(first_byte)
    end = first_byte + size
    while file.tell() < end:
        block = file.read(min(BLOCK_SIZE, end - file.tell()))
        if not block:
            return
        if not block.endswith(b"\n"):
            block += _rest_of_line(file)
        yield block


def _rest_of_line(file: BinaryIO) -> bytes:
    rest = file.readline(MAX_LINE_SIZE)
    if rest.endswith(b"\n"):
        return rest
    if len(rest) == MAX_LINE_SIZE:
        raise LoadError(f"{file.name} has a line of more than {MAX_LINE_SIZE} bytes at byte {file.tell()}")
    return rest + b"\n"
