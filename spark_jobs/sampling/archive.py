"""The archive of a sample: what goes into it, counted and checked as it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import LoadError
from pipeline.files import disk_errors
from pipeline.settings import RecordKind
from pipeline.tar_gz import write_tar_gz
from spark_jobs.records import Words, read_records
from spark_jobs.sampling.parameters import StratumRule
from spark_jobs.sampling.passes import NUM_LABELS, FileTally, GroupCounts, SampleTally, is_member

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A file of drawn lines, and the ranges of it, in order and apart, that were not drawn after all."""

    path: Path
    num_bytes: int
    dropped: Sequence[tuple[int, int]] = ()

    @property
    def kept_bytes(self) -> int:
        """How many bytes were drawn."""
        return self.num_bytes - sum(end - begin for begin, end in self.dropped)

    def read(self) -> Iterator[bytes]:
        """Give what was drawn, in blocks."""
        with disk_errors(self.path), self.path.open("rb") as file:
            position = 0
            for begin, end in [*self.dropped, (self.num_bytes, self.num_bytes)]:
                file.seek(position)
                while position < begin:
                    block = file.read(min(_BLOCK, begin - position))
                    position += len(block)
                    yield block
                position = end


@dataclass(frozen=True)
class Member:
    """A CSV file of the archive."""

    kind: RecordKind
    name: str
    pieces: Sequence[Piece]

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return sum(piece.kept_bytes for piece in self.pieces)


class Written:
    """Counts what goes into an archive.

    Attributes:
        samples: the samples.
        common: the common features.
    """

    def __init__(self, groups: Words, rule: StratumRule) -> None:
        """Count nothing yet; `groups` are the indexes of the source's common feature groups, sorted."""
        self.samples, self.common = SampleTally(), FileTally()
        self._groups, self._rule = groups, rule
        self._labels = np.zeros((len(groups), NUM_LABELS), np.int64)
        self._has_features = np.zeros(len(groups), np.bool_)

    @property
    def drawn_groups(self) -> GroupCounts:
        """The groups that the samples refer to."""
        is_there = self._labels.any(axis=1)
        return GroupCounts(self._groups[is_there], self._labels[is_there])

    @property
    def num_groups(self) -> int:
        """How many groups are there."""
        return int(np.count_nonzero(self._has_features))

    @property
    def is_whole(self) -> bool:
        """Whether the groups are those that the samples refer to."""
        return np.array_equal(self._labels.any(axis=1), self._has_features)

    def see(self, kind: RecordKind, block: bytes) -> None:
        """Count a block of lines.

        Raises:
            LoadError: they name a group that the source did not have.
        """
        found = read_records(block, kind)
        if not is_member(found.index, self._groups).all():
            raise changed("common feature groups")
        place = np.searchsorted(self._groups, found.index)
        if kind == "sample":
            self.samples.see(found, np.ones(len(place), np.bool_), self._rule)
            np.add.at(self._labels, (place, found.label), 1)
        else:
            self.common.see(found)
            self._has_features[place] = True


def changed(what: str) -> LoadError:
    """Say that a file was changed while it was drawn from, or that this code is wrong."""
    return LoadError(f"the {what} of the archive are not those that were drawn: a file has changed, try again")


def write_archive(
    path: Path, members: Sequence[Member], see: Callable[[RecordKind, bytes], None]
) -> Mapping[RecordKind, str]:
    """Write the archive.

    Args:
        path: the archive.
        members: its CSV files, in their order.
        see: is given each block of whole lines that is written, and which file it is of.

    Returns:
        The SHA-256 of each member.
    """
    digests = {member.kind: hashlib.sha256() for member in members}

    def seen(member: Member) -> Iterator[bytes]:
        for block in _whole_lines(block for piece in member.pieces for block in piece.read()):
            digests[member.kind].update(block)
            see(member.kind, block)
            yield block

    with disk_errors(path), write_tar_gz(path) as add:
        for member in members:
            add(member.name, member.num_bytes, seen(member))
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def checksum(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        whole, newline, after = (rest + block).rpartition(b"\n")
        if newline:
            yield whole + newline
        rest = after
    if rest:
        yield rest
