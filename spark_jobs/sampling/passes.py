"""The work on the two files: one pass to count, one to draw.

Each task takes a range of bytes of one file, in blocks, and gives back sums or the names of what it drew: what comes
back does not grow with the lines, but for 8 bytes for each common feature group (40 when whole groups are drawn). Tasks
may be run twice, on any machine that sees the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.csv_files import Place
from pipeline.files import disk_errors
from pipeline.settings import RecordKind
from spark_jobs.partitions import read_range
from spark_jobs.records import Positions, Records, Words, read_records
from spark_jobs.sampling.parameters import StratumRule
from spark_jobs.sampling.ranks import NUM_BINS, Cut, Key, bins, ranks
from spark_jobs.sampling.scan import Mask, coverage, coverage_by_part, read_indexes, scenes

# A stratum: a label (2 * click_label + conversion_label), or None if all labels are one; and a scene, or None likewise.
Stratum = tuple[int | None, int | None]
# What samples are counted by: the label, and the scene where it is asked for.
Cell = tuple[int, int | None]

NUM_LABELS = 4
# Longer lists are counted together.
LONGEST_LIST = 4096
# Random groups of the common feature groups: so many know a variance to 7 %, a standard error to half of that.
NUM_REPLICATES = 400


@dataclass(frozen=True)
class Range:
    """A range of whole lines of a file."""

    number: int
    path: Place
    kind: RecordKind
    first_byte: int
    end_byte: int


@dataclass
class CellTally:
    """The samples of a cell: how many, their ranks, the first two moments of their list lengths, and what they have.

    Attributes:
        list_lengths: as of a file.
        coverage: as of a file.
    """

    count: int = 0
    sum_length: int = 0
    sum_square: int = 0
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(NUM_BINS, np.int64))
    list_lengths: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(LONGEST_LIST + 1, np.int64))
    coverage: Counter[bytes] = field(default_factory=Counter)

    def add(self, other: CellTally) -> None:
        """Add what was seen of another part or cell."""
        self.count += other.count
        self.sum_length += other.sum_length
        self.sum_square += other.sum_square
        self.histogram += other.histogram
        self.list_lengths += other.list_lengths
        self.coverage.update(other.coverage)

    def see(self, found: Records, wanted: Mask) -> None:
        """Add the good records of a block that are wanted, but not their ranks and moments."""
        self.count += int(np.count_nonzero(wanted))
        _see_lists(self, found, wanted)


@dataclass
class FileTally:
    """What was seen of a file, or of a part of it.

    Attributes:
        num_lines: all of its lines.
        num_rejects: those that are no good record.
        num_orphans: good samples whose common feature group is not there. They belong to no population.
        num_eligible: the other good records.
        list_lengths: how many eligible records have a list of each length; the last element is of all that are longer.
        coverage: how many eligible records have each feature name.
    """

    num_lines: int = 0
    num_rejects: int = 0
    num_orphans: int = 0
    num_eligible: int = 0
    list_lengths: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(LONGEST_LIST + 1, np.int64))
    coverage: Counter[bytes] = field(default_factory=Counter)

    def add(self, other: FileTally) -> None:
        """Add what was seen of another part."""
        self.num_lines += other.num_lines
        self.num_rejects += other.num_rejects
        self.num_orphans += other.num_orphans
        self.num_eligible += other.num_eligible
        self.list_lengths += other.list_lengths
        self.coverage.update(other.coverage)

    def see(self, found: Records, eligible: Mask | None = None) -> None:
        """Add a block.

        Args:
            found: what the block holds.
            eligible: which of its good records count; None for all of them.
        """
        number = len(found.begin) if eligible is None else int(np.count_nonzero(eligible))
        self.num_lines += found.num_lines
        self.num_rejects += found.num_lines - len(found.begin)
        self.num_orphans += len(found.begin) - number
        self.num_eligible += number
        _see_lists(self, found, eligible)


def _see_lists(tally: CellTally | FileTally, found: Records, wanted: Mask | None) -> None:
    lengths = found.list_length if wanted is None else found.list_length[wanted]
    tally.list_lengths += np.bincount(np.minimum(lengths, LONGEST_LIST), minlength=LONGEST_LIST + 1)
    tally.coverage.update(coverage(found, wanted))


@dataclass
class SampleTally:
    """What was seen of samples: the file's tally, and that of each cell."""

    file: FileTally = field(default_factory=FileTally)
    cells: dict[Cell, CellTally] = field(default_factory=dict)

    def add(self, other: SampleTally) -> None:
        """Add what was seen of another part."""
        self.file.add(other.file)
        for cell, tally in other.cells.items():
            self.cells.setdefault(cell, CellTally()).add(tally)

    def see(self, found: Records, eligible: Mask, rule: StratumRule) -> list[tuple[CellTally, Positions]]:
        """Add a block; give the tally of each cell in it, and the places of its samples among the eligible."""
        self.file.see(found, eligible)
        seen, place = [], np.flatnonzero(eligible)
        for cell, members in _cells(found, eligible, rule):
            wanted = np.zeros(len(eligible), np.bool_)
            wanted[place[members]] = True
            mine = self.cells.setdefault(cell, CellTally())
            mine.see(found, wanted)
            seen.append((mine, members))
        return seen


@dataclass
class Replicates:
    """Samples by random groups of their common feature groups: from these is known how much whole groups vary.

    Attributes:
        labels: how many samples each random group has of each label.
        list_lengths: of each length, how many samples each random group has.
        coverage: of each feature name, how many samples of each random group have it.
    """

    labels: Positions = field(default_factory=lambda: np.zeros((NUM_REPLICATES, NUM_LABELS), np.int64))
    list_lengths: dict[int, Positions] = field(default_factory=dict)
    coverage: dict[bytes, Positions] = field(default_factory=dict)

    def add(self, other: Replicates) -> None:
        """Add what was seen of another part."""
        self.labels += other.labels
        for length, numbers in other.list_lengths.items():
            self.list_lengths[length] = self.list_lengths.get(length, 0) + numbers
        for name, numbers in other.coverage.items():
            self.coverage[name] = self.coverage.get(name, 0) + numbers

    def see(self, found: Records, eligible: Mask, key: Key) -> None:
        """Add a block's eligible samples; the key assigns the groups."""
        group = (ranks(found.index, key) % np.uint64(NUM_REPLICATES)).astype(np.int64)
        lengths, place = np.unique(np.minimum(found.list_length[eligible], LONGEST_LIST), return_inverse=True)
        columns = coverage_by_part(found, np.where(eligible, group, -1), NUM_REPLICATES).T
        self.add(
            Replicates(
                _by_group(group[eligible], found.label[eligible], NUM_LABELS).T,
                dict(zip(lengths.tolist(), _by_group(group[eligible], place, len(lengths)), strict=True)),
                dict(zip(found.names, columns, strict=True)),
            )
        )


def _by_group(group: Positions, column: Positions, num_columns: int) -> Positions:
    counts = np.bincount(column * NUM_REPLICATES + group, minlength=NUM_REPLICATES * num_columns)
    return counts.reshape(num_columns, NUM_REPLICATES)


@dataclass(frozen=True)
class GroupCounts:
    """Common feature groups, in the order of their indexes, and how many samples of each label they have."""

    index: Words
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """What a task drew of a range.

    Attributes:
        number: of the range.
        file: holds the drawn lines, in their order.
        num_bytes: of that file.
        index: of the common feature groups that the drawn samples refer to, each once.
        ranks: of those lines that the task cannot decide on, because they are in the bin where their stratum ends.
        strata: of the same lines.
        begin: of the same lines: offset in the file.
        end: of the same lines: offset behind them in the file.
        undecided_index: of the same lines: the common feature group.
    """

    number: int
    file: Path
    num_bytes: int
    index: Words
    ranks: Words
    strata: tuple[Stratum, ...]
    begin: Positions
    end: Positions
    undecided_index: Words


def count_groups(part: Range) -> tuple[FileTally, Words]:
    """Count a range of the common features; give the indexes of its good records too."""
    tally, indexes = FileTally(), [np.zeros(0, np.uint64)]
    for _, block in _blocks(part):
        found = read_records(block, part.kind)
        tally.see(found)
        indexes.append(found.index)
    return tally, np.concatenate(indexes)


def count_samples(part: Range, key: Key, groups: Words, rule: StratumRule) -> SampleTally:
    """Count a range of the samples by cell.

    Args:
        part: the range.
        key: ranks the samples.
        groups: indexes of the common feature groups that are there, sorted.
        rule: whether scenes are told apart.
    """
    tally = SampleTally()
    for offset, block in _blocks(part):
        found = read_records(block, "sample")
        eligible = is_member(found.index, groups)
        rank_bins = bins(ranks((offset + found.begin[eligible]).astype(np.uint64), key))
        lengths = found.list_length[eligible]
        for mine, members in tally.see(found, eligible, rule):
            mine.sum_length += int(lengths[members].sum())
            mine.sum_square += int((lengths[members] ** 2).sum())
            mine.histogram += np.bincount(rank_bins[members], minlength=NUM_BINS)
    return tally


def count_clusters(
    part: Range, key: Key, groups: Words, rule: StratumRule
) -> tuple[SampleTally, GroupCounts, Replicates]:
    """Count a range of the samples by cell, by common feature group, and by random groups of these.

    Args:
        part: the range.
        key: assigns the groups to the random groups.
        groups: indexes of the common feature groups that are there, sorted.
        rule: whether scenes are told apart.
    """
    tally, replicates = SampleTally(), Replicates()
    counts = GroupCounts(np.zeros(0, np.uint64), np.zeros((0, NUM_LABELS), np.int64))
    for _, block in _blocks(part):
        found = read_records(block, "sample")
        eligible = is_member(found.index, groups)
        tally.see(found, eligible, rule)
        replicates.see(found, eligible, key)
        index, place = np.unique(found.index[eligible], return_inverse=True)
        labels = np.bincount(place * NUM_LABELS + found.label[eligible], minlength=NUM_LABELS * len(index))
        counts = merge_groups(counts, GroupCounts(index, labels.reshape(-1, NUM_LABELS)))
    return tally, counts, replicates


def merge_groups(one: GroupCounts, other: GroupCounts) -> GroupCounts:
    """Add the counts of groups."""
    index, place = np.unique(np.concatenate([one.index, other.index]), return_inverse=True)
    labels = np.zeros((len(index), NUM_LABELS), np.int64)
    np.add.at(labels, place, np.concatenate([one.labels, other.labels]))
    return GroupCounts(index, labels)


def draw_samples(
    part: Range, folder: Path, *, key: Key, groups: Words, rule: StratumRule, cuts: Mapping[Stratum, Cut]
) -> Drawn:
    """Draw the samples of a range whose ranks are small enough in their strata.

    Args:
        part: the range.
        folder: gets the file with the drawn lines.
        key: ranks the samples.
        groups: indexes of the common feature groups that are there, sorted.
        rule: makes the strata.
        cuts: where the drawn of each stratum end.
    """
    with _Lines(folder, part) as lines:
        last_bins = _last_bin_by_label(cuts)
        for offset, block in _blocks(part):
            wanted = _candidates(block, offset, key, last_bins)
            found = read_records(wanted.block, part.kind)
            member = is_member(found.index, groups)
            begin_in_file = offset + wanted.origin(found.begin)
            found_ranks = ranks(begin_in_file.astype(np.uint64), key)
            rank_bins = bins(found_ranks)
            sure, open_ = np.zeros(len(member), np.bool_), np.zeros(len(member), np.bool_)
            strata = _strata(found, rule)
            for stratum, mask in strata:
                last = cuts.get(stratum, Cut(0, 0))
                sure |= mask & member & (rank_bins < last.bin)
                # The cut at the end of a bin that is wholly drawn leaves nothing to decide, but is not worth a case.
                open_ |= mask & member & (rank_bins == last.bin) & (last.from_bin > 0)
            lines.write(wanted.block, found, sure, _Undecided(open_, found_ranks, strata))
        return lines.drawn()


def draw_lines_of_groups(part: Range, wanted: Words, folder: Path) -> Drawn:
    """Draw the good records of a range whose common_feature_index is wanted.

    Args:
        part: a range of either file.
        wanted: indexes, sorted.
        folder: gets the file with the drawn lines.
    """
    with _Lines(folder, part) as lines:
        for _, block in _blocks(part):
            if part.kind == "common_feature":
                block = _lines_that_begin_with(block, wanted)  # noqa: PLW2901
            found = read_records(block, part.kind)
            sure = is_member(found.index, wanted)
            lines.write(block, found, sure)
        return lines.drawn()


def is_member(index: Words, wanted: Words) -> Mask:
    """Tell of each index whether it is among the wanted, which are sorted."""
    if not len(wanted):
        return np.zeros(len(index), np.bool_)
    place = np.minimum(np.searchsorted(wanted, index), len(wanted) - 1)
    member: Mask = wanted[place] == index
    return member


def _blocks(part: Range) -> Iterator[tuple[int, bytes]]:
    offset = part.first_byte
    for block in read_range(part.path, part.first_byte, part.end_byte):
        yield offset, block
        offset += len(block)


def _cells(found: Records, eligible: Mask, rule: StratumRule) -> Iterator[tuple[Cell, Positions]]:
    """Give each cell that occurs, and the places of its samples among the eligible."""
    label = found.label[eligible]
    if not rule.scene:
        for number in np.flatnonzero(np.bincount(label, minlength=NUM_LABELS)).tolist():
            yield (number, None), np.flatnonzero(label == number)
        return
    scene = scenes(found)[eligible]
    pairs, place = np.unique(np.stack([label, scene]), axis=1, return_inverse=True)
    for number, (one_label, one_scene) in enumerate(pairs.T.tolist()):
        yield (one_label, one_scene), np.flatnonzero(place.reshape(-1) == number)


def _strata(found: Records, rule: StratumRule) -> list[tuple[Stratum, Mask]]:
    """Give each stratum that occurs, and which samples it has."""
    everything = np.ones(len(found.begin), np.bool_)
    strata: dict[Stratum, Mask] = {}
    for cell, members in _cells(found, everything, rule):
        mask = strata.setdefault(rule.of(cell), np.zeros(len(everything), np.bool_))
        mask[members] = True
    return list(strata.items())


def _last_bin_by_label(cuts: Mapping[Stratum, Cut]) -> Positions:
    """Give the last bin of which anything is drawn of each label, whatever its scene."""
    last = np.full(NUM_LABELS, -1, np.int64)
    for (label, _), end in cuts.items():
        for each in range(NUM_LABELS) if label is None else (label,):
            last[each] = max(last[each], end.bin)
    return last


@dataclass(frozen=True)
class _Candidates:
    """Lines of a block that may be drawn, joined; `shift` is how far each of them was moved to the front."""

    block: bytes
    begin: Positions
    shift: Positions

    def origin(self, begin: Positions) -> Positions:
        """Give where lines of the joined block began before they were moved."""
        return begin + self.shift[np.searchsorted(self.begin, begin)]


def _candidates(block: bytes, offset: int, key: Key, last_bins: Positions) -> _Candidates:
    """Give the lines whose rank is small enough for the label that they seem to have, without a check of their form."""
    text = np.frombuffer(block, np.uint8)
    end = np.flatnonzero(text == ord("\n")) + 1
    begin = np.concatenate([np.zeros(min(1, len(end)), np.int64), end[:-1]])
    rank_bins = bins(ranks((offset + begin).astype(np.uint64), key))
    chosen = rank_bins <= last_bins.max()
    if last_bins.min() < last_bins.max():
        # A label stands behind the first comma; a line where it does not is rejected later, whatever is taken for it.
        comma = np.flatnonzero(text == ord(","))
        first = comma[np.minimum(np.searchsorted(comma, begin), len(comma) - 1)] if len(comma) else begin
        click, conversion = (text[np.minimum(first + ahead, len(text) - 1)] == ord("1") for ahead in (1, 3))
        chosen &= rank_bins <= last_bins[click * 2 + conversion]
    return _joined(block, begin[chosen], end[chosen])


def _joined(block: bytes, begin: Positions, end: Positions) -> _Candidates:
    length = end - begin
    new_begin = np.cumsum(length) - length
    joined = b"".join([block[one:other] for one, other in zip(begin.tolist(), end.tolist(), strict=True)])
    return _Candidates(joined, new_begin, begin - new_begin)


def _lines_that_begin_with(block: bytes, wanted: Words) -> bytes:
    """Give the lines that begin with a wanted index, without a check of their form."""
    text = np.frombuffer(block + bytes(16), np.uint8)
    end = np.flatnonzero(text == ord("\n")) + 1
    begin = np.concatenate([np.zeros(min(1, len(end)), np.int64), end[:-1]])
    chosen = is_member(read_indexes(text, begin), wanted)
    return _joined(block, begin[chosen], end[chosen]).block


@dataclass(frozen=True)
class _Undecided:
    """Which good lines of a block are in the bin where their stratum ends, the ranks of all, and their strata."""

    mask: Mask
    ranks: Words
    strata: list[tuple[Stratum, Mask]]


class _Lines:
    """Writes the file of a range's drawn lines, whole or not at all, however often the task is run."""

    def __init__(self, folder: Path, part: Range) -> None:
        from uuid import uuid4

        self._number = part.number
        self._path = folder / f"{part.kind}-{part.number:06d}"
        self._partial = folder / f".{self._path.name}.{uuid4().hex}"
        self._size = 0
        self._index: list[Words] = [np.zeros(0, np.uint64)]
        self._open: list[tuple[Words, Words, Positions, Positions]] = []
        self._strata: list[Stratum] = []

    def __enter__(self) -> _Lines:
        with disk_errors(self._path):
            self._file = self._partial.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        with disk_errors(self._path):
            try:
                self._file.close()
            finally:
                self._partial.unlink(missing_ok=True)

    def write(self, block: bytes, found: Records, sure: Mask, undecided: _Undecided | None = None) -> None:
        """Add lines of a block, and remember those of them that are not decided on."""
        chosen = sure if undecided is None else sure | undecided.mask
        joined = _joined(block, found.begin[chosen], found.end[chosen])
        with disk_errors(self._path):
            self._file.write(joined.block)
        self._index.append(np.unique(found.index[sure]))
        if undecided is not None and undecided.mask.any():
            mask = undecided.mask
            begin = self._size + joined.begin[mask[chosen]]
            length = (found.end - found.begin)[mask]
            self._open.append((undecided.ranks[mask], found.index[mask], begin, begin + length))
            of_line = {
                int(place): stratum for stratum, of_it in undecided.strata for place in np.flatnonzero(of_it & mask)
            }
            self._strata += [of_line[place] for place in np.flatnonzero(mask).tolist()]
        self._size += len(joined.block)

    def drawn(self) -> Drawn:
        """Give the file its name and say what it holds."""
        with disk_errors(self._path):
            self._file.flush()
            self._partial.replace(self._path)
        empty_words, empty = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        columns = [*self._open, (empty_words, empty_words, empty, empty)]
        found_ranks, index, begin, end = (np.concatenate(column) for column in zip(*columns, strict=True))
        return Drawn(
            number=self._number,
            file=self._path,
            num_bytes=self._size,
            index=np.unique(np.concatenate(self._index)),
            ranks=found_ranks,
            strata=tuple(self._strata),
            begin=begin,
            end=end,
            undecided_index=index,
        )
