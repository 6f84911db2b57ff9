from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import LoadError
from spark_jobs.feature_ids import distinct, pack_ids, unpack_ids

IDS = st.lists(st.integers(0, 2**32 - 1))


@given(IDS)
def test_each_id_is_kept_once_in_rising_order(ids: list[int]) -> None:
    assert distinct(np.array(ids, np.uint32)).tolist() == sorted(set(ids))


@given(IDS)
def test_ids_come_back_as_they_were_packed(ids: list[int]) -> None:
    packed = distinct(np.array(ids, np.uint32))
    assert unpack_ids(pack_ids(packed), len(packed)).tolist() == packed.tolist()


@pytest.mark.parametrize("damage", [lambda packed: b"", lambda packed: packed[:-3], lambda packed: b"no" + packed])
def test_bytes_that_are_no_ids_are_refused(damage) -> None:  # type: ignore[no-untyped-def]
    packed = pack_ids(np.arange(1000, dtype=np.uint32))
    with pytest.raises(LoadError, match="partition_feature cannot be read"):
        unpack_ids(damage(packed), 1000)
