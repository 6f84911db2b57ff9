"""Which are drawn: those with the smallest ranks of their stratum, where a rank is a keyed hash.

A line is named by the offset of its first byte in the file, a common feature group by its index. The hash is one-to-one
on 64 bits, so that no two have the same rank, and what is drawn depends on the seed and on the source alone: not on
partitions, machines or the order of the work.

How large the smallest k ranks of a stratum reach is found in bounded memory: a histogram of the ranks names the bin in
which the k-th lies, and only the ranks in that bin are then compared one by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

# Of a stratum of N, about N / 4,096 ranks share the bin of the k-th: ten thousand of forty million.
BIN_BITS = 12
NUM_BINS = 1 << BIN_BITS
_SHIFT = np.uint64(64 - BIN_BITS)


@dataclass(frozen=True)
class Key:
    """What makes the hash of one seed: two numbers of 64 bits."""

    before: int
    between: int


@dataclass(frozen=True)
class Cut:
    """Where the drawn of a stratum end: below `bin` all are drawn, in it the `from_bin` smallest."""

    bin: int
    from_bin: int


def make_key(seed: int, purpose: str) -> Key:
    """Make the key of a seed; each purpose has one of its own."""
    digest = hashlib.sha256(f"deepcvr sample {purpose} {seed}".encode()).digest()
    return Key(int.from_bytes(digest[:8]), int.from_bytes(digest[8:16]))


def ranks(names: Ranks, key: Key) -> Ranks:
    """Give each name its rank: spread evenly over 64 bits, and different for different names.

    Two rounds of the finalizer of splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators,
    OOPSLA 2014), each after a part of the key.
    """
    return _mixed(_mixed(names ^ np.uint64(key.before)) ^ np.uint64(key.between))


def _mixed(words: Ranks) -> Ranks:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def bins(found: Ranks) -> Counts:
    """Give the bin of each rank."""
    return (found >> _SHIFT).astype(np.int64)


def cut(histogram: Counts, drawn: int) -> Cut:
    """Find where the smallest `drawn` ranks end.

    Args:
        histogram: how many ranks each bin has.
        drawn: at most as many as there are.
    """
    if drawn == 0:
        return Cut(0, 0)
    cumulative = np.cumsum(histogram)
    position = int(np.searchsorted(cumulative, drawn))
    return Cut(position, drawn - int(cumulative[position] - histogram[position]))


def draw(found: Ranks, drawn: int) -> npt.NDArray[np.bool_]:
    """Tell which of some ranks are the smallest `drawn`."""
    chosen = np.zeros(len(found), np.bool_)
    if drawn:
        chosen[np.argpartition(found, drawn - 1)[:drawn]] = True
    return chosen
