"""The distinct features of a load: collected from its partitions, and landed when all of them are there.

Each partition keeps its own distinct features in `partition_feature`, in the transaction that holds its rows. To look
for them in the long tables afterwards would cost the server a scan of every row, and a table of its own to count in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pymysql.cursors import SSCursor

from pipeline.errors import LoadError
from pipeline.mysql import MysqlConnection
from pipeline.progress import Progress, track
from pipeline.registry import mark_features_loaded
from spark_jobs.feature_ids import Ids, distinct, unpack_ids
from spark_jobs.landing import Destination, open_staging, open_stream

_CONNECTIONS = 2

# Ids that are kept before they are merged: 64 MiB.
_IDS_BETWEEN_MERGES = 16 << 20

_ROWS_PER_CHUNK = 1 << 17

# A pair of an id and the number of its name is one integer, whose upper half is the id.
_NAME_BITS, _NAME = np.uint64(32), np.uint64((1 << 32) - 1)


@dataclass(frozen=True)
class Features:
    """The distinct features of a load.

    Attributes:
        names: their names, in order.
        pairs: each id with the number of its name as one integer, in order.
    """

    names: tuple[str, ...]
    pairs: npt.NDArray[np.uint64]


def collect_features(destination: Destination) -> Features:
    """Collect the distinct features of a load whose partitions are all there.

    Memory grows with the number of distinct features (8 million in Ali-CCP, some 200 MB), not with the rows.

    Raises:
        DatabaseError: the server cannot be reached, or refuses.
    """
    with open_staging(destination) as connection:
        return _number_names(_merge((name, ids) for _, name, ids in read_runs(connection)))


def land_features(destination: Destination, features: Features) -> int:
    """Land the distinct features of a load, in place of what was landed of them.

    Args:
        destination: the load.
        features: all of them.

    Returns:
        The number of pairs of feature_id and feature_name.

    Raises:
        LoadError: the server did not take every row.
        DatabaseError: the server cannot be reached, or refuses.
    """
    with open_staging(destination) as connection:
        pairs = features.pairs
        with connection.cursor() as cursor:
            cursor.execute("truncate table feature")
        with track("features", len(pairs), "rows") as progress, ThreadPoolExecutor(_CONNECTIONS) as pool:
            halves = np.array_split(pairs, _CONNECTIONS)
            parts = [pool.submit(_load, destination, features.names, half, progress) for half in halves]
            num_rows = sum(part.result() for part in parts)
        if not num_rows == len(pairs) == (kept := _count(destination)):
            raise LoadError(f"of {len(pairs)} features {num_rows} went into the table feature, and {kept} are there")
        mark_features_loaded(connection, destination.load_id, num_rows)
    return num_rows


def _count(destination: Destination) -> int:
    """Count the features that are there for everybody: over a connection that has put in none."""
    with open_staging(destination) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from feature")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def read_runs(connection: MysqlConnection) -> Iterator[tuple[tuple[str, int], str, Ids]]:
    """Give the ids that each partition has by name: its file and number, a name, and some or all of its ids."""
    with connection.cursor(SSCursor) as cursor:
        cursor.execute(
            "select source_file, partition_number, feature_name, num_features, feature_ids from partition_feature"
        )
        for file, number, name, num_features, packed in cursor:
            yield (str(file), int(number)), str(name), unpack_ids(packed, num_features)


def _merge(runs: Iterable[tuple[str, Ids]]) -> dict[str, Ids]:
    """Give the distinct ids of each name."""
    merged: dict[str, list[Ids]] = defaultdict(list)
    num_kept = 0
    for name, ids in runs:
        merged[name].append(ids)
        num_kept += len(ids)
        if num_kept > _IDS_BETWEEN_MERGES:
            merged = defaultdict(list, {each: [distinct(np.concatenate(parts))] for each, parts in merged.items()})
            num_kept = 0
    return {name: distinct(np.concatenate(parts)) for name, parts in merged.items()}


def _number_names(features: Mapping[str, Ids]) -> Features:
    names = tuple(sorted(features))
    pairs = [pairs_of(features[name], number) for number, name in enumerate(names)]
    return Features(names, np.sort(np.concatenate(pairs)) if pairs else np.empty(0, np.uint64))


def pairs_of(ids: Ids, name_number: int | npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Give each id with the number of its name, one for all or one for each, as integers in the order of the ids."""
    return (ids.astype(np.uint64) << _NAME_BITS) | np.asarray(name_number, np.uint64)


def ids_and_names(pairs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Give the ids of pairs, and the numbers of their names."""
    return pairs >> _NAME_BITS, pairs & _NAME


def _load(destination: Destination, names: Sequence[str], pairs: npt.NDArray[np.uint64], progress: Progress) -> int:
    with open_stream(destination) as connection:
        return connection.load("feature", "feature_id, feature_name", _rows(names, pairs, progress))


def _rows(names: Sequence[str], pairs: npt.NDArray[np.uint64], progress: Progress) -> Iterator[pa.Buffer]:
    endings = pa.array([f"{name}\n" for name in names], pa.string())
    for begin in range(0, len(pairs), _ROWS_PER_CHUNK):
        chunk = pairs[begin : begin + _ROWS_PER_CHUNK]
        ids, numbers = map(pa.array, ids_and_names(chunk))
        yield pc.binary_join_element_wise(pc.cast(ids, pa.string()), endings.take(numbers), "\t").buffers()[2]
        progress.advance(len(chunk))
