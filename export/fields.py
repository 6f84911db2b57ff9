"""The fields of the features: their names, their columns in Parquet, and the ids that belong to each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Uint32s = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.intp]
Places = npt.NDArray[np.int32]
# Ids, for each the place of its name in the list that follows, and that list.
IdBatch = tuple[Uint32s, npt.NDArray[np.signedinteger[Any]], Sequence[str]]

_ESCAPED = re.compile(rb"[^0-9A-Za-z_]")
_ESCAPED_WITH_CAPITALS = re.compile(rb"[^0-9a-z_]")


@dataclass(frozen=True)
class Field:
    """A field of the features.

    Attributes:
        name: as it stands in table `feature`.
        suffix: the name as columns and files have it.
    """

    name: str
    suffix: str

    @property
    def ids(self) -> str:
        """Its column of feature ids."""
        return f"ids_{self.suffix}"

    @property
    def indexes(self) -> str:
        """Its column of indexes in a vocabulary."""
        return f"indexes_{self.suffix}"

    @property
    def values(self) -> str:
        """Its column of feature values."""
        return f"values_{self.suffix}"


@dataclass(frozen=True)
class FieldIndex:
    """The features: their ids, and which field each belongs to.

    An id belongs to the last run that starts at or below it. The source allocates ids in a block per field, so that
    millions of features are a few runs; were they allocated at random, there would be as many runs as features.

    Attributes:
        names: the distinct names, sorted by their bytes.
        starts: the first id of each run of ids with one name, ascending.
        codes: for each run the place of its name in `names`.
        ids: all of the ids, ascending; 4 bytes for each feature.
    """

    names: tuple[str, ...]
    starts: Uint32s
    codes: Codes
    ids: Uint32s

    def codes_of(self, ids: Uint32s) -> Codes:
        """Give for each id, which must be in table `feature`, the place of its field's name in `names`."""
        return self.codes[np.searchsorted(self.starts, ids, side="right") - 1]

    def places_of(self, ids: Uint32s) -> Places:
        """Give for each id, which must be in table `feature`, its place among all ids."""
        return np.searchsorted(self.ids, ids).astype(np.int32)

    def runs_of(self, name: str) -> Iterator[tuple[int, int | None]]:
        """Give the first id of each run of a field, and the first id behind it; None behind the last run."""
        code = self.names.index(name)
        for run in np.flatnonzero(self.codes == code):
            end = int(self.starts[run + 1]) if run + 1 < len(self.starts) else None
            yield int(self.starts[run]), end


def index_fields(batches: Iterable[IdBatch]) -> FieldIndex:
    """Find the runs of ids with one name.

    Args:
        batches: the features, ids ascending over all batches.
    """
    starts: list[int] = []
    run_names: list[str] = []
    all_ids: list[Uint32s] = [np.empty(0, np.uint32)]
    for ids, places, names in batches:
        all_ids.append(ids)
        changes = np.flatnonzero(places[1:] != places[:-1]) + 1
        for row in [0, *changes.tolist()] if len(ids) else []:
            name = names[places[row]]
            if not run_names or run_names[-1] != name:
                starts.append(int(ids[row]))
                run_names.append(name)
    distinct = tuple(sorted(set(run_names), key=str.encode))
    place_of = {name: place for place, name in enumerate(distinct)}
    return FieldIndex(
        distinct,
        np.array(starts, dtype=np.uint32),
        np.array([place_of[name] for name in run_names], dtype=np.intp),
        np.concatenate(all_ids),
    )


def name_columns(names: Sequence[str]) -> tuple[Field, ...]:
    """Give each field the name of its columns, `ids_<name>` and the like, in a form that every reader takes.

    Letters, digits and underscores stay. Any other byte of a name is written as `%` and two hex digits, and so are the
    capitals of names that differ from another by case alone: Spark and many databases would take the two for one.

    Args:
        names: the distinct names of all fields.
    """
    alike = Counter(name.lower() for name in names)
    return tuple(Field(name, _escape(name, with_capitals=alike[name.lower()] > 1)) for name in names)


def _escape(name: str, *, with_capitals: bool) -> str:
    pattern = _ESCAPED_WITH_CAPITALS if with_capitals else _ESCAPED
    return pattern.sub(lambda found: f"%{found[0][0]:02x}".encode(), name.encode()).decode("ascii")
