from __future__ import annotations

from urllib.parse import unquote

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from export.fields import index_fields, name_columns

NAMES = st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=16)


def test_a_name_of_letters_digits_and_underscores_stays_as_it_is() -> None:
    (field,) = name_columns(["109_14"])

    assert (field.name, field.ids, field.values) == ("109_14", "ids_109_14", "values_109_14")


def test_what_a_reader_may_not_take_is_escaped() -> None:
    columns = [field.ids for field in name_columns(["a b", "a.b", "%", "A", "a"])]

    assert columns == ["ids_a%20b", "ids_a%2eb", "ids_%25", "ids_%41", "ids_a"]


@given(st.lists(NAMES, unique=True))
def test_columns_differ_by_more_than_case_and_tell_the_name(names: list[str]) -> None:
    fields = name_columns(names)

    assert len({field.ids.lower() for field in fields}) == len(names)
    assert [unquote(field.values.removeprefix("values_")) for field in fields] == names


@given(
    st.dictionaries(st.integers(0, 2**32 - 1), st.sampled_from(["101", "109_14", "a ", "a"]), min_size=1),
    st.integers(1, 5),
)
def test_every_id_finds_its_field_whatever_the_batches(features: dict[int, str], batch: int) -> None:
    ids = sorted(features)
    parts = [ids[first : first + batch] for first in range(0, len(ids), batch)]
    index = index_fields(
        (np.array(part, np.uint32), np.arange(len(part)), [features[one] for one in part]) for part in parts
    )

    assert index.names == tuple(sorted(set(features.values())))
    assert [index.names[code] for code in index.codes_of(np.array(ids, np.uint32))] == [features[one] for one in ids]
    for name in index.names:
        runs = list(index.runs_of(name))
        inside = {one for one in ids if any(first <= one and (end is None or one < end) for first, end in runs)}
        assert inside == {one for one in ids if features[one] == name}
