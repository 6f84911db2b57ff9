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


@pytest.mark.parametrize("kept", [0, 10, -3])
def test_bytes_that_are_no_ids_are_refused(kept: int) -> None:
    packed = pack_ids(np.arange(1000, dtype=np.uint32))
    with pytest.raises(LoadError, match="partition_feature cannot be read"):
        unpack_ids(packed[:kept], 1000)
