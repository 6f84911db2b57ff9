"""Partitions of a CSV file: runs of whole lines, and the blocks in which they are read."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from functools import partial
from io import SEEK_END
from itertools import pairwise
from typing import BinaryIO

from pipeline.csv_files import Place, open_csv
from pipeline.errors import LoadError
from pipeline.landed import Asset
from pipeline.lines import Mark
from pipeline.registry import Partition
from pipeline.settings import RecordKind
from spark_jobs.grammar import is_header_line

# Large enough that the work on a block hides Python's own cost, small enough to stay near the processor's cache.
BLOCK_SIZE = 2 << 20

# Offsets into a block are 32 bits wide.
MAX_LINE_SIZE = 1 << 30

# A header line that is no longer than this is seen to be one.
_LONGEST_HEADER = 1 << 16

_AGAIN = "run the same command again with FORCE=1"

# The last line of a file need not have a newline.
_EMPTY_LINES = {b"\n", b"\r\n", b"\r"}


def plan_partitions(path: Place, kind: RecordKind, landed: Asset, partition_size: int) -> list[Partition]:
    """Cut a file into partitions, by the marks that were made when it landed.

    Args:
        path: the CSV file.
        kind: the kind of its records.
        landed: what its manifest says.
        partition_size: how many bytes a partition has before it is filled up to the next mark.

    Returns:
        The partitions in the file's order. Together they hold each of its bytes once, but for a byte order mark.

    Raises:
        LoadError: the file has a line beyond all measure.
    """
    partitions: list[Partition] = []
    end_of_file = (landed.size_bytes, (landed.num_rows or 0) + 1)
    for begin, end in _stretches([*landed.marks, end_of_file], partition_size, path):
        partitions.append(
            Partition(
                source_file=path.name,
                source_sha256=landed.sha256,
                record_kind=kind,
                partition_number=len(partitions) + 1,
                first_line=begin[1],
                first_byte=begin[0],
                end_byte=end[0],
                num_lines=end[1] - begin[1],
            )
        )
    return partitions


def _stretches(marks: Sequence[Mark], size: int, path: Place) -> Iterator[tuple[Mark, Mark]]:
    begin = marks[0]
    for mark, following in pairwise(marks):
        if following[0] - mark[0] > MAX_LINE_SIZE:
            raise LoadError(f"{path} has a line of more than {MAX_LINE_SIZE} bytes at byte {mark[0]}")
        if following[0] - begin[0] >= size or following is marks[-1]:
            yield begin, following
            begin = following


def holds_records(path: Place, kind: RecordKind) -> bool:
    """Tell whether a file has a line that could be a record: one that is neither empty nor a header.

    Args:
        path: the CSV file.
        kind: the kind of its records.
    """
    with open_csv(path) as file:
        file.seek(_first_byte(file))
        first_line = file.readline(_LONGEST_HEADER).rstrip(b"\r\n")
        if first_line and not is_header_line(first_line, kind):
            return True
        return any(block.strip(b"\r\n") for block in iter(partial(file.read, BLOCK_SIZE), b""))


def is_empty_from(path: Place, position: int) -> bool:
    """Tell whether a file has only empty lines from the beginning of a line on."""
    with open_csv(path) as file:
        file.seek(position)
        # The longest is a carriage return and a newline: of any other line the first three bytes are enough.
        return all(line in _EMPTY_LINES for line in iter(partial(file.readline, 3), b""))


def _first_byte(file: BinaryIO) -> int:
    """Give where the first line begins: a byte order mark at the head of a file is no part of it."""
    begins_with_mark = file.read(len(BOM_UTF8) + 1).startswith(BOM_UTF8)
    # A file of a mark alone has a line, as whoever counts its lines sees it.
    return len(BOM_UTF8) if begins_with_mark and file.tell() > len(BOM_UTF8) else 0


def read_blocks(path: Place, partition: Partition) -> Iterator[bytes]:
    """Read a partition as blocks of whole lines, each line ended by a newline.

    The last line of a file gets its newline here if the file does not end in one.

    Raises:
        LoadError: the file is shorter than it was when the partition was planned.
    """
    yield from read_range(path, partition.first_byte, partition.end_byte)


def cut_ranges(path: Place, size: int) -> list[tuple[int, int]]:
    """Cut a file into ranges of whole lines without reading all of it.

    Args:
        path: the CSV file.
        size: how many bytes a range has before it is filled up to the end of a line.

    Returns:
        The offset of the first byte of each range, and that behind its last. A byte order mark is in none of them.
    """
    ranges: list[tuple[int, int]] = []
    with open_csv(path) as file:
        end_of_file = file.seek(0, SEEK_END)
        file.seek(0)
        first_byte = _first_byte(file)
        while first_byte < end_of_file:
            end = min(first_byte + size, end_of_file)
            file.seek(end - 1)
            end += 0 if file.read(1) == b"\n" or end == end_of_file else len(_rest_of_line(file))
            ranges.append((first_byte, min(end, end_of_file)))
            first_byte = end
    return ranges


def read_range(path: Place, first_byte: int, end_byte: int) -> Iterator[bytes]:
    """Read a range of whole lines as `read_blocks` reads a partition.

    Raises:
        LoadError: the file is shorter than it was when the range was planned.
    """
    with open_csv(path) as file:
        yield from _blocks(file, first_byte, end_byte - first_byte)
        if file.tell() != end_byte:
            raise LoadError(f"{path} has changed since its load was planned: {_AGAIN}")


def _blocks(file: BinaryIO, first_byte: int, size: int) -> Iterator[bytes]:
    """Read at least `size` bytes from an offset on, up to the end of a line, in blocks of whole lines."""
    file.seek(first_byte)
    end = first_byte + size
    while (begin := file.tell()) < end:
        block = file.read(min(BLOCK_SIZE, end - begin))
        if not block:
            return
        yield block if block.endswith(b"\n") else block + _rest_of_line(file)


def _rest_of_line(file: BinaryIO) -> bytes:
    rest = file.readline(MAX_LINE_SIZE)
    if rest.endswith(b"\n"):
        return rest
    if len(rest) == MAX_LINE_SIZE:
        raise LoadError(f"{file.name} has a line of more than {MAX_LINE_SIZE} bytes at byte {file.tell()}")
    return rest + b"\n"
