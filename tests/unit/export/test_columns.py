from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from export.columns import GROUP_COLUMNS, Features, file_schema, fill_lists, folds, numbers
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

    filled = fill_lists(arrow, 7, fields, INDEX)

    assert filled.without_column == set()
    assert sorted(filled.places) == sorted(one for _, one in rows)
    for number, (field, ids, values) in enumerate(zip(fields, filled.lists[::2], filled.lists[1::2], strict=True)):
        expected = [
            [one for owner, one in rows if owner == place and NAMES[one % 3] == field.name] for place in range(7)
        ]
        assert ids.to_pylist() == expected
        assert values.to_pylist() == [[f"{place}.{one}" for one in expected[place]] for place in range(7)]
        assert filled.num_owners[number] == sum(map(bool, expected))
        assert filled.longest[number] == max(map(len, expected))
        assert filled.is_one[number] == all(pair == (1, 0) for pair in rows if NAMES[pair[1] % 3] == field.name)


def test_a_field_without_columns_is_told_and_not_dropped_in_silence() -> None:
    features = Features(np.array([0, 0]), np.array([0, 1], np.uint32), pa.array(["1.0", "1.0"]))

    filled = fill_lists(features, 1, name_columns(INDEX.names)[:1], INDEX)

    assert filled.without_column == {"109_14"}


def test_no_column_may_be_null_and_each_list_carries_the_name_of_its_field() -> None:
    schema = file_schema(GROUP_COLUMNS, name_columns(["a b"]))

    assert schema.names == ["common_feature_index", "ids_a%20b", "values_a%20b"]
    assert not any(field.nullable for field in schema)
    assert schema.field("ids_a%20b").metadata == {b"feature_name": b"a b"}


def test_a_value_beyond_float32_becomes_its_largest_and_never_infinite() -> None:
    given = ["1.0", "0.69315", "-1e99", "1e99", "1e-99", "16777217"]

    found = numbers(pa.array(given)).to_pylist()

    largest = float(np.finfo(np.float32).max)
    assert found == [1.0, float(np.float32(0.69315)), -largest, largest, 0.0, 16777216.0]


def test_folds_are_those_of_every_other_export() -> None:
    # As MySQL gives them: select conv(left(sha2(1, 256), 8), 16, 10) % 100
    assert folds([1, 2, "bacff91692951881"]).tolist() == [19, 54, 80]
    counts = np.bincount(folds(range(20_000)), minlength=100)
    assert counts.size == 100
    assert ((counts - 200) ** 2 / 200).sum() < 150  # chi-square of 99 degrees: 1 in 1,000
