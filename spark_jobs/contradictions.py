"""Records that are good by themselves and contradict others: which of them is rejected.

- A repeated key: the first record in the order of the file stays.
- A feature id under two names: the name that more records give it stays, of two that are as many the lesser one. The
  records of both files count, without those whose key is repeated.

Neither needs anything to be kept of a load in which no record contradicts another. The server tells of a repeated key,
and only the partitions that have one are read again; ids under two names show in `partition_feature`.

A decision is one transaction: the records that it rejects, and that their partitions are to be landed again. It is
taken where all else has landed, so that it is the same however the files were cut, and however often a run was stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.csv_files import Place
from pipeline.mysql import MysqlConnection
from pipeline.registry import Partition, revise_partition
from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs.explode import RejectedRecord
from spark_jobs.features import Features, ids_and_names, pairs_of, read_runs
from spark_jobs.grammar import Reason
from spark_jobs.landing import KEYS_IN_STATEMENT, Destination, load_rejects, open_staging, open_stream, read_decided
from spark_jobs.partitions import read_blocks
from spark_jobs.records import Positions, Records, Words, read_records
from spark_jobs.staging import target_of

Part: TypeAlias = tuple[Place, Partition]
Mask: TypeAlias = npt.NDArray[np.bool_]

_REPEATED: Mapping[RecordKind, Reason] = {
    "sample": Reason.REPEATED_SAMPLE_ID,
    "common_feature": Reason.REPEATED_INDEX,
}


@dataclass(frozen=True)
class _Block:
    """Good records of a partition.

    Attributes:
        text: the block that they are in.
        records: those of the block.
        is_kept: which of them are not rejected yet.
        line: the line number of each of them in the file.
    """

    text: bytes
    records: Records
    is_kept: Mask
    line: Positions


def reject_repeats(destination: Destination, parts: Sequence[Part], left: AbstractSet[Partition]) -> int:
    """Reject the records whose key an earlier line of the same file has, after all partitions were tried to be landed.

    Args:
        destination: the load.
        parts: all of its partitions, with their files.
        left: those that have not landed.

    Returns:
        How many records are rejected.
    """
    rejects: dict[Part, dict[int, str]] = {}
    with open_staging(destination) as connection:
        for kind in RECORD_KINDS:
            own = sorted((part for part in parts if part[1].record_kind == kind), key=lambda part: part[1].first_line)
            rejects |= _repeats(connection, kind, own, [part for part in own if part[1] in left])
    return _decide(destination, rejects)


def _repeats(
    connection: MysqlConnection, kind: RecordKind, parts: Sequence[Part], left: Sequence[Part]
) -> dict[Part, dict[int, str]]:
    """Give the lines that repeat a key, each with its reason, by partition: of parts those left have not landed."""
    found = [_keys(connection, part) for part in left]
    key, line = _joined(found)
    holders = _holders(connection, kind, np.unique(key))
    ordered = np.sort(key)
    repeated = np.union1d(ordered[1:][ordered[1:] == ordered[:-1]], np.array(list(holders), np.uint64))
    numbers = set(holders.values())
    found += [_keys(connection, part) for part in parts if part[1].partition_number in numbers]
    key, line = _joined(found)
    is_repeated = np.isin(key, repeated)
    key, line = key[is_repeated], line[is_repeated]
    order = np.lexsort((line, key))
    key, line = key[order], line[order]
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))[: len(key)]
    first_line = np.repeat(line[first], np.diff(np.append(first, len(key))))
    later = first_line != line
    return _by_part(parts, line[later], (f"{_REPEATED[kind]}: {number}" for number in first_line[later].tolist()))


def _joined(found: Sequence[tuple[Words, Positions]]) -> tuple[Words, Positions]:
    keys, lines = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    return np.concatenate(keys + [key for key, _ in found]), np.concatenate(lines + [line for _, line in found])


def _keys(connection: MysqlConnection, part: Part) -> tuple[Words, Positions]:
    """Give the keys of a partition's records as numbers, and the lines that they stand in."""
    found = []
    for block in _blocks(connection, part):
        records = block.records
        key = records.index
        if part[1].record_kind == "sample":
            key = np.fromiter(map(int, records.keys(block.text)), np.uint64)
        found.append((key[block.is_kept], block.line[block.is_kept]))
    return _joined(found)


def _holders(connection: MysqlConnection, kind: RecordKind, keys: Words) -> dict[int, int]:
    """Give the number of the partition that has landed each of some keys, where one has."""
    target = target_of(kind)
    query = f"select {target.key}, partition_number from {target.rows} where {target.key} in %s"
    holders = {}
    with connection.cursor() as cursor:
        for begin in range(0, len(keys), KEYS_IN_STATEMENT):
            some = keys[begin : begin + KEYS_IN_STATEMENT].tolist()
            cursor.execute(query, (some if kind == "sample" else [f"{key:016x}" for key in some],))
            for key, number in cursor.fetchall():
                holders[int(key) if kind == "sample" else int(key, 16)] = int(number)
    return holders


def _by_part(parts: Sequence[Part], lines: Positions, reasons: Iterable[str]) -> dict[Part, dict[int, str]]:
    """Lay lines of a file, with their reasons, to the parts of it that they are in."""
    place = np.searchsorted([partition.first_line for _, partition in parts], lines, side="right") - 1
    laid: dict[Part, dict[int, str]] = defaultdict(dict)
    for number, line, reason in zip(place.tolist(), lines.tolist(), reasons, strict=True):
        laid[parts[number]][line] = reason
    return laid


def reject_second_names(destination: Destination, parts: Sequence[Part], features: Features) -> int:
    """Reject the records that give a feature id another name than more records do, after all partitions have landed.

    Args:
        destination: the load.
        parts: all of its partitions, with their files.
        features: the distinct features of the load.

    Returns:
        How many records are rejected.
    """
    ids, _ = ids_and_names(features.pairs)
    is_again = ids[1:] == ids[:-1]
    named = _Named(features.names, features.pairs[np.append(is_again, False) | np.append(False, is_again)[: len(ids)]])
    if not len(named.pairs):
        return 0
    with open_staging(destination) as connection:
        winner = _winners(connection, parts, named)
        losers = winner != np.arange(len(winner))
        rejects = {
            part: _second_names(connection, part, named, winner) for part in _holding(connection, parts, named, losers)
        }
    return _decide(destination, rejects)


@dataclass(frozen=True)
class _Named:
    """The pairs of an id and a name whose id has several names.

    Attributes:
        names: those of the load, in order.
        pairs: each as one integer, in order.
    """

    names: Sequence[str]
    pairs: Words

    @property
    def numbers(self) -> dict[str, int]:
        """Give the number of each name."""
        return {name: number for number, name in enumerate(self.names)}

    def places(self, pairs: Words) -> tuple[Positions, Positions]:
        """Give which of some pairs are among these, and the place that each of them has here."""
        place = np.searchsorted(self.pairs, pairs)
        there = np.flatnonzero(self.pairs[np.minimum(place, len(self.pairs) - 1)] == pairs)
        return there, place[there]


def _winners(connection: MysqlConnection, parts: Sequence[Part], named: _Named) -> Positions:
    """Give for each pair the place of the pair of the same id that more records have.

    Partitions are read that have a name which stands in fewer partitions than another. Where the latter wins with one
    record in each of the others, these are not read.
    """
    ids, _ = ids_and_names(named.pairs)
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    num_partitions = np.zeros(len(ids), np.int64)
    for _, places in _runs(connection, named):
        num_partitions[places] += 1
    leading = _largest(num_partitions, first)
    is_leading = leading == np.arange(len(ids))
    counts = np.zeros(len(ids), np.int64)
    read = _holding(connection, parts, named, ~is_leading)
    for part in read:
        _count(connection, part, named, counts)
    at_least, places_read = counts.copy(), {_place(part) for part in read}
    for place, places in _runs(connection, named):
        if place not in places_read:
            at_least[places] += 1
    most_of_others = np.maximum.reduceat(np.where(is_leading, 0, counts), first)
    if np.all(at_least[is_leading] > most_of_others):
        return leading
    for part in _holding(connection, parts, named, np.ones(len(ids), np.bool_)):
        if _place(part) not in places_read:
            _count(connection, part, named, counts)
    return _largest(counts, first)


def _largest(counts: Positions, first: Positions) -> Positions:
    """Give for each element the place of the largest one of its group, the first of those; groups begin at `first`."""
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(counts))))
    return np.lexsort((-counts, group))[first][group]


def _place(part: Part) -> tuple[str, int]:
    return part[1].source_file, part[1].partition_number


def _runs(connection: MysqlConnection, named: _Named) -> Iterator[tuple[tuple[str, int], Positions]]:
    """Give which of some pairs stand in which partition: it may be given several times, with others."""
    numbers = named.numbers
    for place, name, ids in read_runs(connection):
        _, places = named.places(pairs_of(ids, numbers[name]))
        if len(places):
            yield place, places


def _holding(connection: MysqlConnection, parts: Sequence[Part], named: _Named, wanted: Mask) -> list[Part]:
    """Give the partitions that have one of the pairs that a mask names."""
    holding = {place for place, places in _runs(connection, named) if wanted[places].any()}
    return [part for part in parts if _place(part) in holding]


def _structures(block: _Block, named: _Named) -> tuple[Positions, Positions]:
    """Give the structures of a block whose pairs are among some, and which of those each has."""
    records, numbers = block.records, named.numbers
    # A name that no good record has stands in no load.
    number = np.array([numbers.get(name.decode("ascii"), 0) for name in records.names], np.uint64)
    there, places = named.places(pairs_of(records.feature_id, number[records.name_number]))
    is_kept = np.repeat(block.is_kept, records.list_length)[there]
    return there[is_kept], places[is_kept]


def _count(connection: MysqlConnection, part: Part, named: _Named, counts: Positions) -> None:
    """Add the records of a partition that have each of some pairs: a list has an id once."""
    for block in _blocks(connection, part):
        np.add.at(counts, _structures(block, named)[1], 1)


def _second_names(connection: MysqlConnection, part: Part, named: _Named, winner: Positions) -> dict[int, str]:
    """Give the lines of a partition that have a name which has not won, each with its reason."""
    reasons: dict[int, str] = {}
    ids, names = ids_and_names(named.pairs)
    for block in _blocks(connection, part):
        structures, places = _structures(block, named)
        is_loser = winner[places] != places
        record = np.searchsorted(block.records.first_structure, structures[is_loser], side="right") - 1
        for line, place in zip(block.line[record].tolist(), places[is_loser].tolist(), strict=True):
            name = named.names[int(names[winner[place]])]
            reasons.setdefault(line, f"{Reason.SECOND_NAME}: {ids[place]} is {name}")
    return reasons


def _blocks(connection: MysqlConnection, part: Part) -> Iterator[_Block]:
    path, partition = part
    decided = np.array(list(read_decided(connection, partition)), np.int64)
    first_line = partition.first_line
    for text in read_blocks(path, partition):
        records = read_records(text, partition.record_kind)
        line = first_line + np.delete(np.arange(records.num_lines), records.bad_line)
        yield _Block(text, records, ~np.isin(line, decided), line)
        first_line += records.num_lines


def _decide(destination: Destination, rejects: Mapping[Part, Mapping[int, str]]) -> int:
    """Reject lines, and let the partitions that have landed with them be landed again: all at once."""
    with open_stream(destination) as connection:
        connection.begin()
        for (path, partition), reasons in rejects.items():
            load_rejects(connection, partition, _rejected(path, partition, reasons))
            revise_partition(connection, destination.load_id, partition)
        connection.commit()
    return sum(map(len, rejects.values()))


def _rejected(path: Place, partition: Partition, reasons: Mapping[int, str]) -> Iterator[RejectedRecord]:
    line_number = partition.first_line
    for text in read_blocks(path, partition):
        for line in text.split(b"\n")[:-1]:
            if line_number in reasons:
                yield RejectedRecord(line_number, reasons[line_number], line.removesuffix(b"\r"))
            line_number += 1
