"""Features as rows become features as lists: the columns of a Parquet file and how they are filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from export.fields import Field, FieldIndex, Places, Uint32s

FOLDS = 100


def _list_of(data_type: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", data_type, nullable=False))


SAMPLE_COLUMNS = (
    pa.field("sample_id", pa.uint32(), nullable=False),
    pa.field("click_label", pa.uint8(), nullable=False),
    pa.field("conversion_label", pa.uint8(), nullable=False),
    pa.field("common_feature_index", pa.string(), nullable=False),
    pa.field("common_feature_row", pa.int32()),  # null where the group is not there
    pa.field("sample_fold", pa.uint8(), nullable=False),
    pa.field("group_fold", pa.uint8(), nullable=False),
)
GROUP_COLUMNS = (pa.field("common_feature_index", pa.string(), nullable=False),)


@dataclass(frozen=True)
class Form:
    """What the two lists of a field hold.

    Attributes:
        first_name: what the first list has of each feature: `ids` or `indexes`.
        first: the type of its elements.
        values: the type of those of the second list.
    """

    first_name: str
    first: pa.DataType
    values: pa.DataType

    def columns_of(self, field: Field) -> tuple[str, str]:
        """Give the names of a field's two lists."""
        return str(getattr(field, self.first_name)), field.values


# As the tables have them; and as models take them: until there is a vocabulary the first list has the place of each
# feature among all features, and its index from then on.
PRINTED = Form("ids", pa.uint32(), pa.string())
INDEXED = Form("indexes", pa.int32(), pa.float32())


@dataclass(frozen=True)
class Features:
    """Features of some owners, which are samples or common feature groups.

    Attributes:
        owners: for each feature the place of its owner among the owners; ascending.
        ids: the feature ids; ascending within an owner.
        values: the feature values, as text.
    """

    owners: npt.NDArray[np.intp]
    ids: Uint32s
    values: pa.Array


@dataclass(frozen=True)
class Filled:
    """The lists of some owners, and what they show of the features.

    Attributes:
        lists: the arrays, two for each field, in the order of `file_schema`.
        places: of each feature, its place among all features.
        num_owners: for each field, how many owners have a feature of it.
        longest: for each field, the longest list.
        is_one: for each field, whether every value is 1.
        without_column: names of fields that have features here but no columns.
    """

    lists: Sequence[pa.Array]
    places: Places
    num_owners: npt.NDArray[np.int64]
    longest: npt.NDArray[np.int64]
    is_one: npt.NDArray[np.bool_]
    without_column: set[str]


def file_schema(columns: Sequence[pa.Field], fields: Sequence[Field], form: Form = PRINTED) -> pa.Schema:
    """Give the schema of a file: its own columns, and two lists for each field, which are never null.

    Args:
        columns: the columns of an owner itself.
        fields: the fields, whose names as they stand in table `feature` are the metadata `feature_name` of both lists.
        form: what the lists hold.
    """
    lists = [
        pa.field(column, _list_of(data_type), nullable=False, metadata={"feature_name": field.name})
        for field in fields
        for column, data_type in zip(form.columns_of(field), (form.first, form.values), strict=True)
    ]
    return pa.schema([*columns, *lists])


def fill_lists(
    features: Features, num_owners: int, fields: Sequence[Field], index: FieldIndex, form: Form = PRINTED
) -> Filled:
    """Give the two lists of each field, one element per owner, empty where an owner has no feature of the field.

    Args:
        features: of the owners.
        num_owners: how many owners there are.
        fields: the fields that get columns, in their order.
        index: says which field an id belongs to.
        form: what the lists hold.

    Raises:
        pyarrow.ArrowInvalid: a value is no number, and is to be one.
    """
    codes = index.codes_of(features.ids)
    # Stable, so that the features of a field stay in the order of their owners, and of their ids within one.
    order = np.argsort(codes.astype(np.uint16) if len(index.names) <= 1 << 16 else codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(index.names)))
    place_of = {name: place for place, name in enumerate(index.names)}
    places = index.places_of(features.ids)
    first = places if form is INDEXED else features.ids
    values = numbers(features.values) if form is INDEXED else features.values
    is_one = pc.equal(features.values, "1.0").to_numpy(zero_copy_only=False)
    lists: list[pa.Array] = []
    shapes = np.zeros((3, len(fields)), dtype=np.int64)
    for number, field in enumerate(fields):
        code = place_of[field.name]
        chosen = order[ends[code - 1] if code else 0 : ends[code]]
        lengths = np.bincount(features.owners[chosen], minlength=num_owners)
        offsets = np.zeros(num_owners + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        lists += [
            pa.ListArray.from_arrays(pa.array(offsets), array, type=_list_of(array.type))
            for array in (pa.array(first[chosen]), values.take(pa.array(chosen)))
        ]
        shapes[:, number] = np.count_nonzero(lengths), lengths.max(initial=0), is_one[chosen].all()
    without = {index.names[code] for code in np.unique(codes)} - {field.name for field in fields}
    return Filled(lists, places, shapes[0], shapes[1], shapes[2].astype(bool), without)


def numbers(values: pa.Array) -> pa.Array:
    """Give values as float32, those beyond its range as its largest.

    Raises:
        pyarrow.ArrowInvalid: a value is no number.
    """
    largest = np.finfo(np.float32).max
    doubles = pc.cast(values, pa.float64()).to_numpy()
    return pa.array(np.clip(doubles, -largest, largest).astype(np.float32))


def with_indexes(table: pa.Table, indexes: Places) -> pa.Table:
    """Put indexes in the place of features.

    Args:
        table: of the form `INDEXED`, whose first lists have the places of the features.
        indexes: of each feature.
    """
    for number, column in enumerate(table.schema):
        if column.type == _list_of(INDEXED.first):
            lists = table.column(number).combine_chunks()
            offsets = lists.offsets.to_numpy()
            elements = pa.array(indexes[lists.flatten().to_numpy()])
            array = pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), elements, type=column.type)
            table = table.set_column(number, column, array)
    return table


def folds(keys: Iterable[Any]) -> npt.NDArray[np.uint8]:
    """Give each key one of a hundred folds, the same in every export: 32 bits of SHA-256 of its text, modulo 100.

    In MySQL: `conv(left(sha2(sample_id, 256), 8), 16, 10) % 100`.
    """
    return np.fromiter((int.from_bytes(sha256(str(key).encode()).digest()[:4]) % FOLDS for key in keys), dtype=np.uint8)
