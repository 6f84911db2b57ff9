"""Features as rows become features as lists: the columns of a Parquet file and how they are filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from export.fields import Field, FieldIndex, Uint32s

_IDS = pa.list_(pa.field("element", pa.uint32(), nullable=False))
_VALUES = pa.list_(pa.field("element", pa.string(), nullable=False))

SAMPLE_COLUMNS = (
    pa.field("sample_id", pa.uint32(), nullable=False),
    pa.field("click_label", pa.uint8(), nullable=False),
    pa.field("conversion_label", pa.uint8(), nullable=False),
    pa.field("common_feature_index", pa.string(), nullable=False),
)
GROUP_COLUMNS = (pa.field("common_feature_index", pa.string(), nullable=False),)


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


def file_schema(columns: Sequence[pa.Field], fields: Sequence[Field]) -> pa.Schema:
    """Give the schema of a file: its own columns, and two lists for each field; nothing in it is ever null.

    Args:
        columns: the columns of an owner itself.
        fields: the fields, whose names as they stand in table `feature` are the metadata `feature_name` of both lists.
    """
    lists = [
        pa.field(column, data_type, nullable=False, metadata={"feature_name": field.name})
        for field in fields
        for column, data_type in ((field.ids, _IDS), (field.values, _VALUES))
    ]
    return pa.schema([*columns, *lists])


def fill_lists(
    features: Features, num_owners: int, fields: Sequence[Field], index: FieldIndex
) -> tuple[list[pa.Array], set[str]]:
    """Give the two lists of each field, one element per owner, empty where an owner has no feature of the field.

    Args:
        features: of the owners.
        num_owners: how many owners there are.
        fields: the fields that get columns, in their order.
        index: says which field an id belongs to.

    Returns:
        The arrays, in the order of `file_schema`, and the names of fields that have features here but no columns.
    """
    codes = index.codes_of(features.ids)
    # Stable, so that the features of a field stay in the order of their owners, and of their ids within one.
    order = np.argsort(codes.astype(np.uint16) if len(index.names) <= 1 << 16 else codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(index.names)))
    place_of = {name: place for place, name in enumerate(index.names)}
    arrays: list[pa.Array] = []
    for field in fields:
        code = place_of[field.name]
        chosen = order[ends[code - 1] if code else 0 : ends[code]]
        offsets = np.zeros(num_owners + 1, dtype=np.int32)
        np.cumsum(np.bincount(features.owners[chosen], minlength=num_owners), out=offsets[1:])
        arrays += [
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(features.ids[chosen]), type=_IDS),
            pa.ListArray.from_arrays(pa.array(offsets), features.values.take(pa.array(chosen)), type=_VALUES),
        ]
    without = {index.names[code] for code in np.unique(codes)} - {field.name for field in fields}
    return arrays, without
