"""What a sample is drawn by in the records of a block: their scenes, their feature names and their groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spark_jobs.compiled import compiled
from spark_jobs.records import Bytes, Offsets, Positions, Records, Words

Mask = npt.NDArray[np.bool_]

NO_SCENE, SEVERAL_SCENES = -1, -2
_SCENE = b"301"

_HEX = np.zeros(256, np.uint8)
_HEX[list(b"0123456789abcdef")] = np.arange(16)


def scenes(records: Records) -> Positions:
    """Give the scene of each sample: the feature id of field 301, `NO_SCENE` or `SEVERAL_SCENES`."""
    scene = np.full(len(records.begin), NO_SCENE, np.int64)
    if _SCENE in records.names:
        has = np.flatnonzero(records.name_number == records.names.index(_SCENE))
        line = np.searchsorted(records.first_structure, has, side="right") - 1
        scene[line] = records.feature_id[has]
        scene[line[1:][line[1:] == line[:-1]]] = SEVERAL_SCENES
    return scene


def coverage(records: Records, wanted: Mask | None = None) -> dict[bytes, int]:
    """Count the records that each feature name occurs in: of all of them, or of those of a mask."""
    part = np.zeros(len(records.begin), np.int64) if wanted is None else wanted.astype(np.int64) - 1
    counts = coverage_by_part(records, part, 1)[0].tolist()
    return {name: number for name, number in zip(records.names, counts, strict=True) if number}


def coverage_by_part(records: Records, part: Positions, num_parts: int) -> Positions:
    """Count the records of each part that each feature name occurs in.

    Args:
        records: of a block.
        part: of each record; below 0 it is not counted.
        num_parts: how many parts there are.

    Returns:
        A row for each part, a column for each of the records' names.
    """
    counts = np.zeros((num_parts, len(records.names)), np.int64)
    last_line = np.full(len(records.names), -1, np.int64)
    _count_lines(records.first_structure, records.name_number, part, counts, last_line)
    return counts


def read_indexes(text: Bytes, begin: Positions) -> Words:
    """Read the 16 lower-case hex digits at each position as a number, and whatever else stands there as any number.

    The text must reach that far.
    """
    digits = _HEX[text[begin[:, None] + np.arange(16)]]
    pairs = (digits[:, 0::2] << 4) | digits[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").astype(np.uint64).reshape(-1)


@compiled
def _count_lines(
    first_structure: Positions, name_number: Offsets, part: Positions, counts: Positions, last_line: Positions
) -> None:
    for line in range(len(part)):
        if part[line] >= 0:
            for structure in range(first_structure[line], first_structure[line + 1]):
                name = name_number[structure]
                if last_line[name] != line:
                    last_line[name] = line
                    counts[part[line], name] += 1
