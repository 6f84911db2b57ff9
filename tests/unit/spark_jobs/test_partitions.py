from __future__ import annotations

import errno
import io
import os
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import LoadError, PipelineError
from spark_jobs import partitions as partitions_module
from spark_jobs.forms import check_form
from spark_jobs.partitions import cut_ranges, plan_partitions, read_blocks, read_range
from tests.manifests import asset_of, partitions_of

LINES = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20)


@given(
    lines=LINES,
    grain=st.integers(1, 100),
    size=st.integers(1, 200),
    block_size=st.integers(1, 50),
    last_newline=st.booleans(),
)
def test_partitions_hold_each_line_once_whatever_the_sizes(
    lines: list[bytes], grain: int, size: int, block_size: int, last_newline: bool
) -> None:
    text = b"".join(line + b"\n" for line in lines)
    if not last_newline:
        text = text.removesuffix(b"\n")
    expected = text if text.endswith(b"\n") or not text else text + b"\n"
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions_module, "BLOCK_SIZE", block_size)
        path = Path(folder) / "some.csv"
        path.write_bytes(text)
        planned = plan_partitions(path, "sample", asset_of(path, grain=grain), size)
        blocks = [list(read_blocks(path, partition)) for partition in planned]

    assert b"".join(block for partition in blocks for block in partition) == expected
    assert all(block.endswith(b"\n") for partition in blocks for block in partition)
    assert [partition.partition_number for partition in planned] == list(range(1, len(planned) + 1))
    assert all(partition.end_byte - partition.first_byte >= size for partition in planned[:-1])
    first_line = 1
    for partition, read in zip(planned, blocks, strict=True):
        assert partition.first_line == first_line
        assert partition.num_lines == b"".join(read).count(b"\n")
        first_line += partition.num_lines


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(b"one\ntwo\nthree\n")
    (partition,) = partitions_of(path, "sample", "0" * 64, 100)
    path.write_bytes(b"one\ntwo\n")

    with pytest.raises(LoadError, match="has changed"):
        list(read_blocks(path, partition))


def test_a_line_beyond_all_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions_module, "BLOCK_SIZE", 4)
    monkeypatch.setattr(partitions_module, "MAX_LINE_SIZE", 16)
    path = tmp_path / "some.csv"
    path.write_bytes(b"1\n" + b"x" * 40 + b"\n2\n")

    with pytest.raises(LoadError, match=r"some\.csv has a line of more than 16 bytes at byte 2"):
        plan_partitions(path, "sample", asset_of(path), 100)
    with pytest.raises(LoadError, match=r"some\.csv has a line of more than 16 bytes"):
        list(read_range(path, 0, 45))


def test_a_byte_order_mark_is_in_no_partition(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(BOM_UTF8 + b"one\ntwo\n")
    (partition,) = partitions_of(path, "sample", "", 100)

    assert (partition.first_byte, partition.end_byte, partition.num_lines) == (3, 11, 2)
    assert list(read_blocks(path, partition)) == [b"one\ntwo\n"]
    assert cut_ranges(path, 4) == [(3, 7), (7, 11)]
    path.write_bytes(BOM_UTF8)
    assert [part.num_lines for part in partitions_of(path, "sample", "", 100)] == [1]


@given(lines=LINES, size=st.integers(1, 200))
def test_ranges_hold_each_line_once_and_whole(lines: list[bytes], size: int) -> None:
    text = b"\n".join(lines)
    assume(not text.startswith(BOM_UTF8))  # which is in no range
    with TemporaryDirectory() as folder:
        path = Path(folder) / "some.csv"
        path.write_bytes(text)
        ranges = cut_ranges(path, size)
        blocks = [block for first, end in ranges for block in read_range(path, first, end)]

    assert [first for first, _ in ranges] == [0, *(end for _, end in ranges)][: len(ranges)]
    assert all(text[first - 1 : first] in (b"", b"\n") for first, _ in ranges)
    assert b"".join(blocks).removesuffix(b"\n") == text.removesuffix(b"\n")


@pytest.mark.parametrize(
    "read",
    [
        lambda path: cut_ranges(path, 100),
        lambda path: list(read_range(path, 0, 100)),
        lambda path: check_form(path, "sample"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    """No test can break a disk: reading fails as on one that is broken."""
    path = tmp_path / "records.csv"
    path.write_bytes(b"1\n" * 1000)

    class BrokenFile(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        readline = read

    monkeypatch.setattr(Path, "open", lambda *_: BrokenFile())
    with pytest.raises(PipelineError, match=rf"^{path}: Input/output error: check that disk, and run the same command"):
        read(path)
