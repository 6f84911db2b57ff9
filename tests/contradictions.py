"""Records that contradict others, and what is to become of them, told by a plain program that shares no code."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Structures: TypeAlias = list[tuple[str, int, str]]


@dataclass
class Expected:
    """What staging holds of two files: rows of its tables in the order of their keys."""

    samples: list[tuple[int, int, int, str]] = field(default_factory=list)
    sample_features: list[tuple[int, int, str]] = field(default_factory=list)
    groups: list[tuple[str, int]] = field(default_factory=list)
    group_features: list[tuple[str, int, str]] = field(default_factory=list)
    features: list[tuple[int, str]] = field(default_factory=list)
    rejects: list[tuple[str, int, str, bytes]] = field(default_factory=list)


def expect(samples: Sequence[bytes], groups: Sequence[bytes]) -> Expected:
    """Tell what is to land: the first record with a key, and of an id's names the one that most of these have."""
    expected = Expected()
    kept: list[tuple[str, int, list[str], Structures, bytes]] = []
    for file, number_of_columns, what, lines in (
        ("sample_skeleton_train.csv", 6, "sample_id", samples),
        ("common_features_train.csv", 3, "common_feature_index", groups),
    ):
        seen: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            columns = line.decode().split(",")
            if len(columns) != number_of_columns:
                expected.rejects.append((file, number, "wrong number of columns", line))
            elif columns[0] in seen:
                reason = f"the {what} is that of an earlier line: {seen[columns[0]]}"
                expected.rejects.append((file, number, reason, line))
            else:
                seen[columns[0]] = number
                kept.append((file, number, columns, structures_of(columns[-1]), line))
    counts = Counter((feature_id, name) for *_, structures, _ in kept for name, feature_id, _ in structures)
    chosen: dict[int, str] = {}
    for feature_id, name in sorted(counts, key=lambda pair: (-counts[pair], pair)):
        chosen.setdefault(feature_id, name)
    features = set()
    for file, number, columns, structures, line in kept:
        wrong = [(feature_id, chosen[feature_id]) for name, feature_id, _ in structures if chosen[feature_id] != name]
        if wrong:
            reason = f"a feature_id has another feature_name in more records: {wrong[0][0]} is {wrong[0][1]}"
            expected.rejects.append((file, number, reason, line))
            continue
        features |= {(feature_id, name) for name, feature_id, _ in structures}
        if file.startswith("sample"):
            expected.samples.append((int(columns[0]), int(columns[1]), int(columns[2]), columns[3]))
            expected.sample_features += [(int(columns[0]), feature_id, value) for _, feature_id, value in structures]
        else:
            expected.groups.append((columns[0], len(structures)))
            expected.group_features += [(columns[0], feature_id, value) for _, feature_id, value in structures]
    expected.features = list(features)
    for rows in vars(expected).values():
        rows.sort()
    return expected


def structures_of(features_list: str) -> Structures:
    """Take a feature list apart: name, id and value of each structure."""
    parts = [structure.replace("\x03", "\x02").split("\x02") for structure in features_list.split("\x01") if structure]
    return [(name, int(feature_id), value) for name, feature_id, value in parts]


def contradicting_files(chance: random.Random, num_samples: int = 300) -> tuple[list[bytes], list[bytes]]:
    """Make two files with repeated keys and second names, near to each other, far apart and at both ends."""
    num_groups = num_samples // 8
    samples = [sample(chance, number, num_groups) for number in range(1, num_samples + 1)]
    groups = [group(chance, number) for number in range(num_groups)]
    others: list[tuple[list[bytes], Callable[[int], bytes]]] = [
        (samples, lambda number: sample(chance, number, num_groups)),
        (groups, lambda number: group(chance, number)),
    ]
    for lines, other in others:
        if chance.random() < 0.5:
            chance.shuffle(lines)
        for _ in range(chance.randrange(6)):
            number = chance.randrange(1, max(2, len(lines)))
            lines.insert(chance.choice([0, 1, len(lines) - 1, len(lines), chance.randrange(len(lines))]), other(number))
        for _ in range(chance.randrange(3)):  # the same line again
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
        for _ in range(chance.randrange(8)):
            place = chance.randrange(len(lines))
            lines[place] = renamed(chance, lines[place])
        for _ in range(chance.randrange(3)):
            lines.insert(chance.randrange(len(lines)), b"not a record")
    return samples, groups


def sample(chance: random.Random, number: int, num_groups: int) -> bytes:
    """Make a sample of up to six features, which others have too."""
    structures = [b"205\x02%d\x031.0" % chance.randrange(40), b"301\x02%d\x031.0" % chance.randrange(100, 103)]
    structures += [b"508\x02%d\x030.69315" % feature_id for feature_id in chance.sample(range(200, 250), 4)]
    structures = chance.sample(structures, chance.randrange(len(structures) + 1))
    header = b"%d,%d,0,%016x" % (number, chance.randrange(2), chance.randrange(num_groups))
    return b"%s,%d,%s" % (header, len(structures), b"\x01".join(structures))


def group(chance: random.Random, number: int) -> bytes:
    """Make a common feature group, some of whose ids stand in samples too."""
    structures = [b"101\x02%d\x031.0" % (1000 + number)]
    structures += [b"508\x02%d\x031.38629" % feature_id for feature_id in chance.sample(range(240, 260), 3)]
    return b"%016x,%d,%s" % (number, len(structures), b"\x01".join(structures))


def renamed(chance: random.Random, line: bytes) -> bytes:
    """Give one feature of a line another name."""
    head, comma, features_list = line.rpartition(b",")
    structures = features_list.split(b"\x01")
    place = chance.randrange(len(structures))
    _, separator, rest = structures[place].partition(b"\x02")
    if not separator:
        return line
    structures[place] = chance.choice([b"101", b"205", b"508", b"853", b"A"]) + separator + rest
    return head + comma + b"\x01".join(structures)
