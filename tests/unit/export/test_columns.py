from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from export.columns import GROUP_COLUMNS, Features, file_schema, fill_lists
from export.fields import index_fields, name_columns

# Whose ids are interleaved, as the source's are not.
NAMES = ["101", "109_14", "205"]
INDEX = index_fields([(np.arange(100, dtype=np.uint32), np.arange(100) % 3, NAMES)])
FEATURES = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 99)))


@settings(deadline=None)  # the first call imports what Arrow needs
@given(FEATURES)
def test_the_lists_hold_each_feature_once_under_its_owner_and_field(features: set[tuple[int, int]]) -> None:
    rows = sorted(features)
    arrow = Features(
        np.array([owner for owner, _ in rows], np.intp),
        np.array([one for _, one in rows], np.uint32),
        pa.array([f"{owner}.{one}" for owner, one in rows], pa.string()),
    )
    fields = name_columns(INDEX.names)

    lists, without_column = fill_lists(arrow, 7, fields, INDEX)

    assert without_column == set()
    for field, ids, values in zip(fields, lists[::2], lists[1::2], strict=True):
        expected = [
            [one for owner, one in rows if owner == place and NAMES[one % 3] == field.name] for place in range(7)
        ]
        assert ids.to_pylist() == expected
        assert values.to_pylist() == [[f"{place}.{one}" for one in expected[place]] for place in range(7)]


def test_a_field_without_columns_is_told_and_not_dropped_in_silence() -> None:
    features = Features(np.array([0, 0]), np.array([0, 1], np.uint32), pa.array(["1.0", "1.0"]))

    _, without_column = fill_lists(features, 1, name_columns(INDEX.names)[:1], INDEX)

    assert without_column == {"109_14"}


def test_no_column_may_be_null_and_each_list_carries_the_name_of_its_field() -> None:
    schema = file_schema(GROUP_COLUMNS, name_columns(["a b"]))

    assert schema.names == ["common_feature_index", "ids_a%20b", "values_a%20b"]
    assert not any(field.nullable for field in schema)
    assert schema.field("ids_a%20b").metadata == {b"feature_name": b"a b"}
