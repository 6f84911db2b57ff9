"""Sets of feature ids: as sorted arrays, and as the bytes that the registry of a partition keeps."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import LoadError

Ids: TypeAlias = npt.NDArray[np.uint32]

_Integer = TypeVar("_Integer", np.int64, np.uint32)

_CODEC = "zstd"
_ID = np.dtype("<u4")


def distinct(numbers: npt.NDArray[_Integer]) -> npt.NDArray[_Integer]:
    """Give each number once, in order. numpy's own `unique` hashes, and takes ten times as long."""
    ordered = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]


def pack_ids(ids: Ids) -> bytes:
    """Write distinct ids, which are in order, as compressed bytes: the first, then each one's distance to the next."""
    packed: bytes = pa.compress(np.diff(ids, prepend=ids.dtype.type(0)).astype(_ID).tobytes(), _CODEC, asbytes=True)
    return packed


def unpack_ids(packed: bytes, num_ids: int) -> Ids:
    """Read what `pack_ids` wrote.

    Args:
        packed: the bytes.
        num_ids: how many ids they hold.

    Raises:
        LoadError: they are not such bytes.
    """
    try:
        steps = np.frombuffer(pa.decompress(packed, num_ids * _ID.itemsize, _CODEC, asbytes=True), _ID)
    except (OSError, ValueError) as error:
        raise LoadError(f"the ids of {num_ids} features in partition_feature cannot be read: {error}") from error
    return np.cumsum(steps, dtype=np.uint32)
