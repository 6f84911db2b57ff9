"""Vocabularies: which index a model is given in the place of a feature id.

Of each field, the ids that enough impressions have get the indexes 1 to n, the most frequent first; all others get 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from export.fields import Field, FieldIndex, Places
from pipeline.errors import UsageError
from pipeline.files import new_file, read_json, sync_folder

FOLDER = "vocabulary"
MANIFEST = "manifest.json"

_SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint32(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("count", pa.uint64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Origin:
    """What a vocabulary was counted in.

    Attributes:
        minimum: how many impressions an id must be in.
        database: of the tables.
        load_id: the load that they are built from.
    """

    minimum: int
    database: str
    load_id: int


@dataclass(frozen=True)
class FieldVocabulary:
    """The vocabulary of one field.

    Attributes:
        entries: one row per id that has an index, ascending by index: id, index, count (impressions).
        coverage: which share of the field's occurrences in impressions those ids have; 1 where there is none.
    """

    entries: pa.Table
    coverage: float


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary: where it comes from, and that of each field by its name."""

    origin: Origin
    fields: Mapping[str, FieldVocabulary]

    def indexes_of(self, index: FieldIndex) -> Places:
        """Give for each feature of an export its index."""
        indexes = np.zeros(len(index.ids), dtype=np.int32)
        codes = index.codes_of(index.ids)
        for code, name in enumerate(index.names):
            if name in self.fields and len(entries := self.fields[name].entries):
                places = np.flatnonzero(codes == code)
                order = np.argsort(entries["id"].to_numpy())
                known = entries["id"].to_numpy()[order]
                found = np.searchsorted(known, index.ids[places])
                found[found == len(known)] = 0
                is_known = known[found] == index.ids[places]
                indexes[places[is_known]] = entries["index"].to_numpy()[order][found[is_known]]
        return indexes


def count_vocabulary(index: FieldIndex, counts: npt.NDArray[np.uint64], origin: Origin) -> Vocabulary:
    """Make the vocabulary of an export.

    Args:
        index: the features.
        counts: for each, how many impressions have it.
        origin: the least of them that an id must be in, and what was counted.
    """
    codes = index.codes_of(index.ids)
    fields = {}
    for code, name in enumerate(index.names):
        places = np.flatnonzero(codes == code)
        kept = places[counts[places] >= origin.minimum]
        # By falling count, and of equal ones by the id, which `kept` has ascending.
        kept = kept[np.argsort(-counts[kept].astype(np.int64), kind="stable")]
        entries = pa.table([index.ids[kept], np.arange(1, len(kept) + 1, dtype=np.int32), counts[kept]], schema=_SCHEMA)
        occurrences = int(counts[places].sum())
        fields[name] = FieldVocabulary(entries, int(counts[kept].sum()) / occurrences if occurrences else 1.0)
    return Vocabulary(origin, fields)


def write_vocabulary(vocabulary: Vocabulary, fields: Sequence[Field], folder: Path) -> dict[str, Any]:
    """Write a file for each field, and give what a manifest says of them.

    Args:
        vocabulary: what is written.
        fields: those of the export.
        folder: of the export.
    """
    (folder / FOLDER).mkdir()
    written = {}
    for field in fields:
        found = vocabulary.fields.get(field.name) or FieldVocabulary(_SCHEMA.empty_table(), 1.0)
        path = folder / FOLDER / f"{field.suffix}.parquet"
        with new_file(path) as file:
            pq.write_table(found.entries, file, compression="zstd")
        written[field.name] = {
            "path": f"{FOLDER}/{path.name}",
            "size": len(found.entries),
            "coverage": found.coverage,
        }
    sync_folder(folder / FOLDER)
    return {**asdict(vocabulary.origin), "fields": written}


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read the vocabulary of an export.

    Raises:
        UsageError: the folder is no export that has one.
    """
    try:
        declared = (read_json(folder / MANIFEST) or {})[FOLDER]
        fields = {
            str(name): FieldVocabulary(
                pq.read_table(folder / FOLDER / Path(field["path"]).name, schema=_SCHEMA), float(field["coverage"])
            )
            for name, field in declared["fields"].items()
        }
        origin = Origin(int(declared["minimum"]), str(declared["database"]), int(declared["load_id"]))
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise UsageError(
            f"VOCABULARY is {folder}, which is no export with a vocabulary: name how many impressions of train an id"
            " must be in, such as 10, or the folder of an export that was made so"
        ) from error
    return Vocabulary(origin, fields)
