from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.parts import Spool, shuffle_keys

SCHEMA = pa.schema([("sample_id", pa.uint32()), ("ids_210", pa.list_(pa.uint32()))])


def rows(first: int, end: int) -> pa.Table:
    ids = range(first, end)
    return pa.table([list(ids), [[one] * (one % 3) for one in ids]], schema=SCHEMA)


def shuffled(folder: Path, seed: int, sizes: list[int], num_parts: int = 5) -> list[int]:
    spool = Spool(folder, num_parts, SCHEMA, seed)
    ends = np.cumsum(sizes).tolist()
    with spool.filled() as put:
        for number, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
            put(number, rows(first, end))
    read = pa.concat_tables([table for number in range(num_parts) for table in spool.read(number)])
    ids: list[int] = read.column(0).to_pylist()
    assert read.column(1).to_pylist() == [[one] * (one % 3) for one in ids]
    return ids


def test_a_shuffle_keeps_every_row_in_an_order_that_the_seed_alone_fixes(tmp_path: Path) -> None:
    found = shuffled(tmp_path / "a", 1, [3_000, 7_000])

    assert sorted(found) == list(range(10_000))
    assert found == shuffled(tmp_path / "b", 1, [1_000] * 10)
    assert found != shuffled(tmp_path / "c", 2, [3_000, 7_000])


def test_a_shuffled_row_says_nothing_of_its_place(tmp_path: Path) -> None:
    order = np.array(shuffled(tmp_path / "a", 20220601, [10_000]))

    for other in (np.arange(10_000), np.array(shuffled(tmp_path / "b", 20220602, [10_000]))):
        assert abs(np.corrcoef(order, other)[0, 1]) < 0.04  # four standard deviations
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.04


def test_rows_that_are_not_shuffled_stay_in_their_parts_and_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 2, SCHEMA, None)
    with spool.filled() as put:
        put(0, rows(0, 5))
        put(0, rows(5, 9))
        put(1, rows(9, 10))

    assert [table.column(0).to_pylist() for table in spool.read(0)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
    assert [table.column(0).to_pylist() for table in spool.read(1)] == [[9]]
    spool.remove(1)
    with pytest.raises(FileNotFoundError):
        next(spool.read(1))


@given(st.lists(st.integers(0, 2**32 - 1), unique=True), st.integers(0, 2**64 - 1))
def test_no_two_samples_have_one_key(ids: list[int], seed: int) -> None:
    assert len(set(shuffle_keys(np.array(ids, np.uint32), seed).tolist())) == len(ids)
