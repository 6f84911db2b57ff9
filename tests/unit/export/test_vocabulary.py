from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.fields import FieldIndex, index_fields, name_columns
from export.vocabulary import Origin, count_vocabulary, read_vocabulary, write_vocabulary
from pipeline.errors import UsageError

COUNTED = st.dictionaries(
    st.integers(0, 2**32 - 1), st.tuples(st.sampled_from(["101", "109_14", "a b"]), st.integers(0, 6))
)


def index_of(names: dict[int, str]) -> FieldIndex:
    ids = sorted(names)
    return index_fields([(np.array(ids, np.uint32), np.arange(len(ids)), [names[one] for one in ids])])


@given(COUNTED, st.integers(1, 4))
def test_frequent_ids_get_indexes_by_falling_count_and_the_others_none(
    counted: dict[int, tuple[str, int]], minimum: int
) -> None:
    index = index_of({one: name for one, (name, _) in counted.items()})
    counts = np.array([counted[one][1] for one in sorted(counted)], np.uint64)

    vocabulary = count_vocabulary(index, counts, Origin(minimum, "train", 1))

    expected: dict[int, int] = {}
    for name in index.names:
        of_field = [(-count, one) for one, (field, count) in counted.items() if field == name]
        kept = [one for count, one in sorted(of_field) if -count >= minimum]
        expected |= {one: number for number, one in enumerate(kept, start=1)}
        occurrences = sum(-count for count, _ in of_field)
        share = sum(counted[one][1] for one in kept) / occurrences if occurrences else 1.0
        assert vocabulary.fields[name].coverage == pytest.approx(share)
    assert vocabulary.indexes_of(index).tolist() == [expected.get(one, 0) for one in sorted(counted)]


def test_another_export_gets_the_same_indexes_and_none_for_what_is_new(tmp_path: Path) -> None:
    train = index_of({7: "101", 8: "101", 9: "a b"})
    vocabulary = count_vocabulary(train, np.array([1, 5, 2], np.uint64), Origin(1, "train", 3))
    declared = write_vocabulary(vocabulary, name_columns(train.names), tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"vocabulary": declared}))

    read = read_vocabulary(tmp_path)

    assert read.origin == vocabulary.origin
    assert {name: field["size"] for name, field in declared["fields"].items()} == Counter({"101": 2, "a b": 1})
    test = index_of({6: "101", 8: "101", 9: "a b", 10: "new"})
    assert read.indexes_of(test).tolist() == [0, 1, 1, 0]


def test_a_folder_without_a_vocabulary_is_a_mistake_in_the_call(tmp_path: Path) -> None:
    for content in (None, "{}", '{"vocabulary": {"fields": {"101": {"path": "vocabulary/101.parquet"}}}}', "[]"):
        if content is not None:
            (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(UsageError, match="is no export with a vocabulary: name how many impressions"):
            read_vocabulary(tmp_path)
