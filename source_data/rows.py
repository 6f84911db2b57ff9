"""The rows of the two files, chunk by chunk in bounded memory.

Each chunk has its own random numbers, named by seed, data set, file and chunk, so that what a chunk holds depends on
nothing that was generated before it. Only the groups' indexes and sizes are held for the whole file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from source_data.draws import (
    Flags,
    Floats,
    Integers,
    Words,
    apportion,
    deal,
    even,
    hashed,
    ids_of,
    long_counts,
    named,
    pick,
    quantiles,
    rank_lists,
    ranks,
    ranks_of,
    short_counts,
    uniform_of,
)
from source_data.facts import (
    BRAND_COVERAGE,
    CLICK_EFFECTS,
    CONVERSION_EFFECTS,
    CROSSED_COVERAGE,
    DATA_SETS,
    FIELD_NUMBER,
    HISTORIES,
    LABEL_MINIMUM,
    LABEL_ROWS,
    LARGEST_COMMON_ROW,
    MOST_INTENTIONS,
    PROFILE,
    PROFILE_COVERAGE,
    PROFILE_DETAIL_COVERAGE,
    ROWS_WITHOUT_INTENTIONS,
    ROWS_WITHOUT_ITEM,
    SIGNAL_LABEL_ROWS,
    SINGLE_GROUP_SHARE,
    USER_COVERAGE,
    DataSet,
)
from source_data.text import (
    Chunk,
    Structures,
    digits,
    event_values,
    fraction_values,
    join_structures,
    render,
    sample_labels,
    whole_value,
)

# Of the pairs of labels, for each row its place among them.
Kinds = npt.NDArray[np.uint8]

# About 220,000 structures to a chunk of either file: 5 MB of words. Changing these changes the data.
SAMPLE_CHUNK, COMMON_CHUNK = 16_384, 512


class _Stream(IntEnum):
    """What a set of random numbers is for."""

    GROUPS = 0
    LABELS = 1
    GAPS = 2
    SAMPLES = 3
    COMMON = 4
    SIGNAL = 5


class _Gap(IntEnum):
    """What a skeleton row lacks."""

    NOTHING = 0
    INTENTIONS = 1
    ITEM = 2  # and with it all that describes the item, its intentions among it


@dataclass(frozen=True)
class Plan:
    """A data set to generate.

    Attributes:
        data_set: its figures at full size.
        seed: names the random numbers.
        samples: rows of the skeleton.
        labels: rows of each (click, conversion) pair.
        gaps: rows of each kind of gap.
        keys: the common feature index of each group, in the skeleton's order.
        sizes: the rows of each group.
        signal: whether labels depend on features.
    """

    data_set: DataSet
    seed: int
    samples: int
    labels: dict[tuple[int, int], int]
    gaps: list[int]
    keys: Words
    sizes: Integers
    signal: bool = False

    def rng(self, stream: _Stream, chunk: int = 0) -> np.random.Generator:
        """The random numbers of one purpose and chunk."""
        return np.random.default_rng([self.seed, list(DATA_SETS).index(self.data_set.name), stream, chunk])


def make_plan(data_set: DataSet, scale: float, seed: int, *, signal: bool = False) -> Plan:
    """Fix what holds for whole files: the rows, the labels, the gaps and the groups."""
    samples = round(scale * data_set.samples)
    label_rows = SIGNAL_LABEL_ROWS if signal else LABEL_ROWS
    labels = apportion(samples, list(label_rows.values()), list(LABEL_MINIMUM.values()))
    without_item, lacking, _ = apportion(
        samples,
        [
            ROWS_WITHOUT_ITEM,
            ROWS_WITHOUT_INTENTIONS - ROWS_WITHOUT_ITEM,
            sum(LABEL_ROWS.values()) - ROWS_WITHOUT_INTENTIONS,
        ],
        [1, 1, 0],
    )
    plan = Plan(
        data_set=data_set,
        seed=seed,
        samples=samples,
        labels=dict(zip(LABEL_ROWS, labels, strict=True)),
        gaps=[samples - lacking - without_item, lacking, without_item],
        keys=np.empty(0, dtype=np.uint64),
        sizes=np.empty(0, dtype=np.int64),
        signal=signal,
    )
    return _with_groups(plan, max(2, round(scale * data_set.groups)))


def _with_groups(plan: Plan, groups: int) -> Plan:
    """Draw the groups' indexes and sizes: the stated share has one row, the others share the rest unevenly."""
    rng = plan.rng(_Stream.GROUPS)
    offset = int(rng.integers(0, 1 << 62))
    keys = hashed(np.arange(groups), offset)
    if plan.data_set.first_line:
        keys[0] = int(plan.data_set.first_line.split(",")[3], 16)

    single = rng.permutation(groups) < round(SINGLE_GROUP_SHARE * groups)
    weight = np.where(single, 0.0, rng.lognormal(sigma=1.25, size=groups))
    least = np.where(single, 1, 2)
    spare = plan.samples - int(least.sum())
    # Rounding the running total, not each part, keeps the sum without a second pass.
    bounds = np.rint(np.cumsum(weight) * (spare / weight.sum())).astype(np.int64)
    sizes = least + np.diff(bounds, prepend=0)
    return replace(plan, keys=keys, sizes=sizes)


def sample_chunks(plan: Plan) -> Iterator[Chunk]:
    """The skeleton file: one row per sample, group after group."""
    starts = range(0, plan.samples, SAMPLE_CHUNK)
    chunk_sizes = [min(SAMPLE_CHUNK, plan.samples - start) for start in starts]
    all_labels = deal(plan.rng(_Stream.LABELS), list(plan.labels.values()), chunk_sizes)
    all_gaps = deal(plan.rng(_Stream.GAPS), plan.gaps, chunk_sizes)
    group_ends = np.cumsum(plan.sizes)
    for number, (start, labels, gaps) in enumerate(zip(starts, all_labels, all_gaps, strict=True)):
        real_line = plan.data_set.first_line if number == 0 else None
        if real_line:
            _make_first_plain(gaps)
        rng = plan.rng(_Stream.SAMPLES, number)
        rows = np.arange(start, start + len(labels))
        keys = plan.keys[np.searchsorted(group_ends, rows, side="right")]
        structures = _sample_structures(rng, plan.data_set, gaps)
        kinds = _by_features(plan.rng(_Stream.SIGNAL, number), labels, structures) if plan.signal else labels
        if real_line:
            _make_first_plain(kinds)
        words = digits(rows + 1), sample_labels(kinds.astype(np.int64), LABEL_ROWS)
        chunk = render(rng, keys, structures, words)
        yield _with_first_line(chunk, real_line) if real_line else chunk


def _by_features(rng: np.random.Generator, kinds: Kinds, structures: Structures) -> Kinds:
    """Give the same labels to other rows: clicks to those whose features call for them, conversions to some of these.

    As a logistic model draws them: a click by which category and scene it is, a conversion by what the user's histories
    have of the item.
    """
    unclicked, clicked, converted, contradictory = range(len(LABEL_ROWS))
    labels = np.full(len(kinds), unclicked, dtype=np.uint8)
    click = _logits(rng, len(kinds), structures, CLICK_EFFECTS, lambda ids: uniform_of(ids, salt=1) - 0.5)
    by_click = np.argsort(-click)
    clicks = by_click[: int(np.isin(kinds, (clicked, converted)).sum())]
    labels[clicks] = clicked
    conversion = _logits(rng, len(kinds), structures, CONVERSION_EFFECTS, lambda ids: np.ones(len(ids)))
    by_conversion = np.argsort(-conversion[clicks])
    labels[clicks[by_conversion[: int((kinds == converted).sum())]]] = converted
    others = rng.permutation(by_click[len(clicks) :])
    labels[others[: int((kinds == contradictory).sum())]] = contradictory
    return labels


def _logits(
    rng: np.random.Generator,
    rows: int,
    structures: Structures,
    effects: Mapping[str, float],
    share: Callable[[Integers], Floats],
) -> Floats:
    logits = rng.logistic(size=rows)
    for name, effect in effects.items():
        of_field = structures.field == FIELD_NUMBER[name]
        np.add.at(logits, structures.row[of_field], effect * share(structures.feature_id[of_field]))
    return logits


def _make_first_plain(kinds: npt.NDArray[np.uint8]) -> None:
    """Give the first row the commonest kind, by exchange with the first row that has it."""
    plain = int(np.argmin(kinds))
    kinds[0], kinds[plain] = kinds[plain], kinds[0]


def _with_first_line(chunk: Chunk, line: str) -> Chunk:
    """Put the real line in the place of the first one."""
    generated, rest = chunk.text.split(b"\n", 1)
    structures = chunk.structures + line.count("\x02") - generated.count(b"\x02")
    return Chunk(line.encode("ascii") + b"\n" + rest, chunk.rows, structures)


def _structures(name: str, row: Integers, feature_ranks: Integers, value: Words | np.uint64) -> Structures:
    field = np.full(len(row), FIELD_NUMBER[name], dtype=np.int64)
    values = np.broadcast_to(value, row.shape)
    return Structures(row, field, ids_of(named(name), feature_ranks), values)


def _sample_structures(rng: np.random.Generator, data_set: DataSet, gaps: npt.NDArray[np.uint8]) -> Structures:
    """The feature structures of a chunk of skeleton rows."""
    rows = np.arange(len(gaps))
    parts = [_structures("301", rows, ranks(rng, named("301"), len(rows)), whole_value())]
    parts += _item_structures(rng, rows[gaps != _Gap.ITEM])
    parts += _intention_structures(rng, data_set, rows[gaps == _Gap.NOTHING])
    return join_structures(parts)


def _item_structures(rng: np.random.Generator, rows: Integers) -> Iterator[Structures]:
    """What describes the item of each row: itself, category, shop and brand, and the crosses with the user's histories.

    An item keeps its category, shop and brand wherever it appears.
    """
    item = ranks(rng, named("205"), len(rows))
    yield _structures("205", rows, item, whole_value())
    described = {name: ranks_of(uniform_of(item, salt=int(name)), named(name)) for name in ("206", "207", "216")}
    has = {name: np.ones(len(rows), dtype=np.bool_) for name in described}
    has["216"] = uniform_of(item, salt=0) < BRAND_COVERAGE
    for name, feature_ranks in described.items():
        yield _structures(name, rows[has[name]], feature_ranks[has[name]], whole_value())
    for name, (source, coverage) in CROSSED_COVERAGE.items():
        known = has[source] & (described[source] < named(name).distinct)
        share = coverage / ((BRAND_COVERAGE if source == "216" else 1.0) * _share_crossed(name, source))
        crossed = known & (rng.random(len(rows)) < share)
        values = pick(rng, event_values(), int(crossed.sum()))
        yield _structures(name, rows[crossed], described[source][crossed], values)


@functools.cache
def _share_crossed(name: str, source: str) -> float:
    """The share of the source field's draws that have an id in the crossed field: fewer ids exist there."""
    return float((named(name).distinct / named(source).distinct) ** (1 / named(source).skew))


def _intention_structures(rng: np.random.Generator, data_set: DataSet, rows: Integers) -> Iterator[Structures]:
    """The intention nodes of each row, and those that the user's intention history crosses."""
    counts = quantiles(short_counts(data_set.intentions, MOST_INTENTIONS), even(rng, len(rows)))
    lists, intentions = rank_lists(rng, named("210"), counts)
    yield _structures("210", rows[lists], intentions, whole_value())
    share = data_set.crossed_intentions / data_set.intentions / _share_crossed("853", "210")
    # Users differ: some share nearly all of an item's intentions, many none. The mean of u ** (1 / share - 1) is share.
    affinity = even(rng, len(rows)) ** (1 / share - 1)
    crossed = (rng.random(len(lists)) < affinity[lists]) & (intentions < named("853").distinct)
    values = pick(rng, fraction_values(), int(crossed.sum()))
    yield _structures("853", rows[lists[crossed]], intentions[crossed], values)


def common_chunks(plan: Plan) -> Iterator[Chunk]:
    """The common features file: one row per group, sorted by index but for its first row."""
    keys = np.sort(plan.keys)
    # The skeleton's first group comes first, or the second where the first would stand there anyway.
    first = plan.keys[0] if plan.keys[0] != keys[0] else plan.keys[1]
    keys = np.concatenate([[first], keys[keys != first]])
    for number, start in enumerate(range(0, len(keys), COMMON_CHUNK)):
        rng = plan.rng(_Stream.COMMON, number)
        chunk_keys = keys[start : start + COMMON_CHUNK]
        yield render(rng, chunk_keys, _common_structures(rng, plan.data_set, len(chunk_keys)), None)


def _common_structures(rng: np.random.Generator, data_set: DataSet, rows: int) -> Structures:
    """The feature structures of a chunk of common rows."""
    single = {"101": even(rng, rows) < USER_COVERAGE}
    profile = even(rng, rows) < PROFILE_COVERAGE
    single |= dict.fromkeys(PROFILE, profile)
    for name, coverage in PROFILE_DETAIL_COVERAGE.items():
        single[name] = profile & (even(rng, rows) < coverage / PROFILE_COVERAGE)
    lengths = _history_lengths(rng, data_set, rows)
    _leave_none_empty(single, lengths)

    parts = []
    for name, has in single.items():
        at = np.flatnonzero(has)
        parts.append(_structures(name, at, ranks(rng, named(name), len(at)), whole_value()))
    for name, counts in lengths.items():
        lists, history = rank_lists(rng, named(name), counts)
        values = fraction_values() if name == "150_14" else event_values()
        parts.append(_structures(name, lists, history, pick(rng, values, len(lists))))
    return join_structures(parts)


def _history_lengths(rng: np.random.Generator, data_set: DataSet, rows: int) -> dict[str, Integers]:
    """The length of each history of each row: a heavy-tailed total, divided in the stated ratio with some scatter."""
    single_valued = USER_COVERAGE + PROFILE_COVERAGE * len(PROFILE) + sum(PROFILE_DETAIL_COVERAGE.values())
    largest = LARGEST_COMMON_ROW - 1 - len(PROFILE) - len(PROFILE_DETAIL_COVERAGE)
    total = quantiles(long_counts(data_set.common_structures - single_valued, largest), even(rng, rows))
    ratio = np.array(list(HISTORIES.values())) / sum(HISTORIES.values())
    divided: Floats = rng.dirichlet(40 * ratio, rows)
    bounds = np.rint(np.cumsum(divided, axis=1) * total[:, None]).astype(np.int64)
    counts = np.diff(bounds, axis=1, prepend=0)
    return {name: counts[:, i] for i, name in enumerate(HISTORIES)}


def _leave_none_empty(single: dict[str, Flags], lengths: dict[str, Integers]) -> None:
    """Give the user id to rows that have nothing at all: the source holds no empty list."""
    structures = sum(has.astype(np.int64) for has in single.values()) + sum(lengths.values())
    single["101"] |= structures == 0
