"""What a sample is drawn by: the good records of a block of lines, without their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.settings import RecordKind
from spark_jobs.compiled import compiled
from spark_jobs.records import Bytes, Offsets, Positions, Records, Words, read_records

Mask = npt.NDArray[np.bool_]

NO_SCENE, SEVERAL_SCENES = -1, -2
_SCENE = b"301"

_HEX = np.zeros(256, np.uint8)
_HEX[list(b"0123456789abcdef")] = np.arange(16)


@dataclass(frozen=True)
class Coverage:
    """In how many lines each feature name occurs."""

    names: tuple[bytes, ...]
    num_lines: Positions


@dataclass(frozen=True)
class Scan:
    """What a block holds. Arrays have one element per good line, in the block's order.

    Attributes:
        num_lines: all lines of the block.
        begin: offset of the line in the block.
        end: offset behind its newline.
        label: of a sample: 2 * click_label + conversion_label; else 0.
        index: the common_feature_index, as the number that its hex digits make.
        list_length: feature structures in the line.
        scene: of a sample: the feature id of field 301, `NO_SCENE` or `SEVERAL_SCENES`; None if it was not asked for.
        records: what the lines are in full.
    """

    num_lines: int
    begin: Positions
    end: Positions
    label: Positions
    index: Words
    list_length: Positions
    scene: Positions | None
    records: Records

    def coverage(self, lines: Mask | None = None) -> Coverage:
        """Count the lines that each feature name occurs in: all of them, or those of a mask."""
        part = np.zeros(len(self.begin), np.int64) if lines is None else lines.astype(np.int64) - 1
        counts = self.coverage_by_part(part, 1)[0]
        there = np.flatnonzero(counts)
        return Coverage(tuple(self.records.names[number] for number in there), counts[there])

    def coverage_by_part(self, part: Positions, num_parts: int) -> Positions:
        """Count the lines of each part that each of the records' feature names occurs in.

        Args:
            part: of each good line; below 0 it is not counted.
            num_parts: how many parts there are.

        Returns:
            A row for each part, a column for each name.
        """
        records = self.records
        counts = np.zeros((num_parts, len(records.names)), np.int64)
        last_line = np.full(len(records.names), -1, np.int64)
        _count_lines(records.first_structure, records.name_number, part, counts, last_line)
        return counts


def scan(block: bytes, kind: RecordKind, *, scenes: bool = False) -> Scan:
    """Look at a block of whole lines.

    Args:
        block: lines, each ended by a newline; less than 2 GiB.
        kind: which of the two files they come from.
        scenes: whether to find the scene of each sample.
    """
    records = read_records(block, kind)
    return Scan(
        num_lines=records.num_lines,
        begin=records.begin,
        end=records.end,
        label=records.label,
        index=records.index,
        list_length=records.list_length,
        scene=_scenes(records) if scenes and kind == "sample" else None,
        records=records,
    )


def read_indexes(text: Bytes, begin: Positions) -> Words:
    """Read the 16 lower-case hex digits at each position as a number, and whatever else stands there as any number.

    The text must reach that far.
    """
    digits = _HEX[text[begin[:, None] + np.arange(16)]]
    pairs = (digits[:, 0::2] << 4) | digits[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").astype(np.uint64).reshape(-1)


def _scenes(records: Records) -> Positions:
    scene = np.full(len(records.begin), NO_SCENE, np.int64)
    if _SCENE in records.names:
        has = np.flatnonzero(records.name_number == records.names.index(_SCENE))
        line = np.searchsorted(records.first_structure, has, side="right") - 1
        scene[line] = records.feature_id[has]
        scene[line[1:][line[1:] == line[:-1]]] = SEVERAL_SCENES
    return scene


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
