"""Mutated records by the million: the explode against the plain parser, on accept or reject, reason and content.

    python -m tests.fuzz_records --records 10000000 --seed 1

A round is one CSV file of good and mutated records side by side, cut into partitions and read in blocks of random sizes
by the code that the job runs. Everything in a round follows from its seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs import partitions as partitions_module
from spark_jobs.explode import Exploded, explode
from spark_jobs.grammar import Record, parse_record
from spark_jobs.partitions import read_blocks
from tests.manifests import partitions_of

Contents = tuple[list[bytes], bytes, list[tuple[int, str, bytes]], set[tuple[bytes, int]]]
Counts = Counter[str]

ACCEPTED = "accepted"

_NUMBERS = (
    *(b"", b"0", b"00", b"01", b"-0", b"-1", b"+1", b"1 ", b" 1", b"1\r", b"1\t", b"0x1F", b"1e3", b"1E+05", b"1.0"),
    *(b"nan", b"NaN", b"inf", b"-Infinity", b"null", b"\\N", b"None", b"true", b"4294967295", b"4294967296"),
    *(b"4294967294", b"9999999999", b"10000000000", b"18446744073709551616", b"9" * 40, b"1_000", b"1'000", b"1L"),
    *("\uff11\uff12".encode(), "\u0661".encode(), "\u00b2".encode(), b"\xb2", b"1\x00", b"\x001", b'"1"', b"'1'"),
)
_VALUES = (
    *(b"1.", b".5", b"-.5", b"--1", b"1..0", b"1.0.0", b"1e5", b"1e+05", b"1E-5", b"1e", b"1e+", b"1e100", b"1e-100"),
    *(b"-1.5", b"+1.5", b"0x1p3", b"1,5", b"1f", b"1.0 ", b" 1.0", b"9" * 24, b"9" * 25, b"0." + b"3" * 22),
    *(b"0." + b"3" * 23, b"-" + b"1" * 23, b"-" + b"1" * 24, b"000.0", b"1.7976931348623157e+308", b"1.0\r"),
)
_NAMES = (
    *(b"", b"a" * 16, b"a" * 17, b"_", b"109_14", b"109-14", b"109 14", b"Z", b"\xe9", "é".encode(), b"\x00", b"a.b"),
)
_INDEXES = (b"", b"f" * 15, b"f" * 17, b"F" * 16, b"g" * 16, b"0" * 16, b"0x" + b"f" * 14, b" " + b"f" * 15)
_TOKENS = (
    *(bytes([byte]) for byte in range(256)),
    *(b"\r\n", b"\n", b"\n\n", b"\x01\x01", b"\x02\x02", b"\x03\x03", b",,", b'""', b"\\n", b"\\t", b"\\0", b"\\\\"),
    *(b"\xef\xbb\xbf", b"\xc3\x28", b"\xff\xfe", "日本".encode(), b"\x01205\x021\x031.0", b"205\x021\x031.0"),
)
_SEPARATORS = (b",", b"\x01", b"\x02", b"\x03", b"\t", b"\n", b";", b"|", b" ", b"")


@dataclass(frozen=True)
class Round:
    """One file of records and the sizes in which it is read."""

    seed: str
    kind: RecordKind
    text: bytes
    num_mutated: int
    partition_size: int
    block_size: int

    @property
    def lines(self) -> list[bytes]:
        """The file's lines as its reader must see them: without a mark before them; one without newline counts.

        A mark alone is a line, as whoever counts lines sees it.
        """
        lines = (self.text if self.text == BOM_UTF8 else self.text.removeprefix(BOM_UTF8)).split(b"\n")
        return [line.removesuffix(b"\r") for line in (lines if lines[-1] else lines[:-1])]


def mutated_round(seed: str, most_records: int = 4000) -> Round:
    """Make a round, everything in it drawn from the seed."""
    chance = random.Random(seed)
    kind = chance.choice(RECORD_KINDS)
    block_size = chance.choice((1, 50, 1000, 20_000, 300_000, 2 << 20))
    # Small blocks hold a line or two each: as many of them would take the time that many lines need.
    num_records = min(most_records, chance.choice((1, 10, 1000, 4000)), block_size * 4)
    good = [good_record(kind, chance) for _ in range(max(1, min(200, num_records // 4)))]
    share_of_good = chance.choice((0.0, 0.0, 0.1, 0.5, 0.99))
    records = chance.choices(good, k=num_records)
    num_mutated = 0
    for at, record in enumerate(records):
        if chance.random() >= share_of_good:
            records[at] = mutated(record, chance)
            num_mutated += 1
    line_ends = chance.choice(((b"\n",), (b"\n",), (b"\r\n",), (b"\n", b"\r\n"), (b"\n", b"\r\n", b"\r\r\n", b"\n\r")))
    text = b"".join(record + chance.choice(line_ends) for record in records[:-1]) + records[-1]
    text = chance.choice((b"", b"", BOM_UTF8)) + text + chance.choice((*line_ends, b"", b"\r", b"\n\n", b"\n\r"))
    partition_size = chance.choice((1, 100, 5000) if num_records < 50 else (20_000, 100_000, 1 << 30))
    return Round(seed, kind, text, num_mutated, partition_size, block_size)


def good_record(kind: RecordKind, chance: random.Random, key: int | None = None) -> bytes:
    """Make a record that keeps to the grammar; `key` makes it unique."""
    length = chance.choice((0, 1, 1, 2, 3, 3, 5, 9, 13)) if chance.random() < 0.99 else chance.randrange(14, 600)
    ids = chance.sample(range(10_091_378), length)
    if length and chance.random() < 0.2:
        ids[0] = chance.randrange(10_091_378, 1 << 32)
    structures = [
        b"%s\x02%d\x03%s"
        % (
            chance.choice((b"101", b"205", b"210", b"508", b"853", b"109_14", b"127_14", b"a", b"Z_9")),
            feature_id,
            chance.choice((b"1.0", b"0.69315", b"1.09861", b"0.0797", b"8.2", b"-3", b"7.9E-4", b"0")),
        )
        for feature_id in ids
    ]
    number = chance.getrandbits(32 if kind == "sample" else 64) if key is None else key
    header = (
        b"%d,%d,%d,%016x" % (number, chance.getrandbits(1), chance.getrandbits(1), chance.getrandbits(64))
        if kind == "sample"
        else b"%016x" % number
    )
    return b"%s,%d,%s" % (header, length, b"\x01".join(structures))


def mutated(record: bytes, chance: random.Random) -> bytes:
    """Put one to three mutations into a record, which may leave it good."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        record = chance.choice(_MUTATIONS)(record, chance)
    return record


def _range(record: bytes, chance: random.Random) -> tuple[int, int]:
    begin = int(chance.random() * (len(record) + 1))
    return begin, begin + int(chance.random() * 7)


def _drop(record: bytes, chance: random.Random) -> bytes:
    begin, end = _range(record, chance)
    return record[:begin] + record[end:]


def _double(record: bytes, chance: random.Random) -> bytes:
    begin, end = _range(record, chance)
    return record[:end] + record[begin:]


def _swap(record: bytes, chance: random.Random) -> bytes:
    begin, middle = sorted(_range(record, chance)[0] for _ in range(2))
    end = middle + 1 + int(chance.random() * 3)
    return record[:begin] + record[middle:end] + record[begin:middle] + record[end:]


def _replace(record: bytes, chance: random.Random) -> bytes:
    begin, end = _range(record, chance)
    return record[:begin] + chance.choice(_TOKENS) + record[end:]


def _flip_bit(record: bytes, chance: random.Random) -> bytes:
    if not record:
        return record
    at = int(chance.random() * len(record))
    return record[:at] + bytes([record[at] ^ (1 << chance.randrange(8))]) + record[at + 1 :]


def _cut(record: bytes, chance: random.Random) -> bytes:
    return record[: int(chance.random() * (len(record) + 1))]


def _surround(record: bytes, chance: random.Random) -> bytes:
    before, after = chance.choice(
        ((b"", b"\r"), (b"", b" "), (b" ", b""), (b'"', b'"'), (b"", b","), (b"", b"\x01"), (b"\xef\xbb\xbf", b""))
    )
    return before + record + after


def _replace_separator(record: bytes, chance: random.Random) -> bytes:
    old = chance.choice(_SEPARATORS[:4])
    places = record.count(old)
    if not places:
        return record
    parts = record.split(old)
    at = int(chance.random() * places) + 1
    return old.join(parts[:at]) + chance.choice(_SEPARATORS) + old.join(parts[at:])


def _replace_column(record: bytes, chance: random.Random) -> bytes:
    columns = record.split(b",")
    at = int(chance.random() * len(columns))
    columns[at] = _hostile_column(chance)
    return b",".join(columns)


def _hostile_column(chance: random.Random) -> bytes:
    pick = chance.random()
    if pick < 0.2:
        return chance.choice(_INDEXES)
    return _number(chance) if pick < 0.95 else b"7" * chance.randrange(2000)


def _number(chance: random.Random) -> bytes:
    """A number that is none, or one near an edge of a range."""
    pick = chance.random()
    if pick < 0.5:
        return chance.choice(_NUMBERS)
    # Each length and each digit at which 4,294,967,295 may be passed.
    edge = 4_294_967_295 + chance.choice((1, -1)) * int(10 ** (chance.random() * 10))
    return b"%d" % (edge if pick < 0.8 else int(10 ** (chance.random() * 11)))


def _value(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return chance.choice(_VALUES)
    return bytes(chance.choices(b"0123456789.eE+-", k=chance.randrange(1, 27)))


def _replace_part(record: bytes, chance: random.Random) -> bytes:
    """Replace a name, an id or a value of one structure."""
    head, comma, features_list = record.rpartition(b",")
    structures = features_list.split(b"\x01")
    at = int(chance.random() * len(structures))
    name, _, rest = structures[at].partition(b"\x02")
    feature_id, _, value = rest.partition(b"\x03")
    match chance.randrange(4):
        case 0:
            name = chance.choice(_NAMES)
        case 1:
            feature_id = _number(chance)
        case 2:
            value = _value(chance)
        case _:  # as another structure has it
            feature_id = chance.choice(structures).partition(b"\x02")[2].partition(b"\x03")[0]
    structures[at] = b"%s\x02%s\x03%s" % (name, feature_id, value)
    return head + comma + b"\x01".join(structures)


def _change_list(record: bytes, chance: random.Random) -> bytes:
    """Empty the list, drop or repeat a structure, with or without a num_features that fits."""
    head, _, features_list = record.rpartition(b",")
    structures = features_list.split(b"\x01") if features_list else []
    match chance.randrange(4):
        case 0:
            structures = []
        case 1:
            structures = structures[:-1]
        case 2:
            structures += structures[:1]
        case _:
            chance.shuffle(structures)
    if chance.random() < 0.5:
        head = head.rpartition(b",")[0] + b",%d" % len(structures)
    return head + b"," + b"\x01".join(structures)


def _stretch(record: bytes, chance: random.Random) -> bytes:
    """Make something very long, seldom: most records are as short as they were."""
    if chance.random() < 0.995:
        return _flip_bit(record, chance)
    begin, end = _range(record, chance)
    return record[:begin] + chance.choice((record[begin:end] or b"x", b"\x01", b"9", b"\x00")) * 20_000 + record[end:]


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _drop,
    _double,
    _swap,
    _replace,
    _flip_bit,
    _cut,
    _surround,
    _replace_separator,
    _replace_column,
    _replace_part,
    _replace_part,
    _replace_part,
    _change_list,
    _stretch,
)


def plainly(lines: Sequence[bytes], kind: RecordKind) -> Contents:
    """Give what the grammar makes of lines: rows, text of the long rows, rejects, and the distinct features."""
    rows: list[bytes] = []
    structures: list[bytes] = []
    rejected: list[tuple[int, str, bytes]] = []
    features: set[tuple[bytes, int]] = set()
    for number, line in enumerate(lines):
        record = parse_record(line, kind)
        if isinstance(record, Record):
            rows.append(b"\t".join([*record.columns, b""]))
            structures.extend(
                b"%s\t%s\t%s\n" % (record.columns[0], part.feature_id, part.feature_value)
                for part in sorted(record.structures, key=lambda part: int(part.feature_id))
            )
            features.update((part.feature_name, int(part.feature_id)) for part in record.structures)
        else:
            rejected.append((number, record, line))
    return rows, b"".join(structures), rejected, features


def contents(exploded: Sequence[Exploded]) -> Contents:
    """Give the same of what the explode made of consecutive blocks."""
    rows: list[bytes] = []
    structures: list[bytes] = []
    rejected: list[tuple[int, str, bytes]] = []
    features: set[tuple[bytes, int]] = set()
    num_lines = 0
    for block in exploded:
        rows += block.rows.tobytes().split(b"\n")[:-1]
        structures.append(block.structures.tobytes())
        rejected += [(num_lines + reject.line_number, reject.reason, reject.record) for reject in block.rejected]
        found = [(name, each) for name, ids in block.features.items() for each in ids.tolist()]
        assert len(set(found)) == len(found), "a block names a feature twice"
        features.update(found)
        num_lines += block.num_lines
    return rows, b"".join(structures), rejected, features


def check_round(made: Round, folder: Path) -> Counts:
    """Read and explode a round as the job does, and compare it with the grammar.

    Returns:
        how many records were accepted, and how many rejected for which reason.

    Raises:
        AssertionError: they differ; the message says on which line, and how to see it again.
    """
    path = folder / "records.csv"
    path.write_bytes(made.text)
    expected = plainly(made.lines, made.kind)
    try:
        with mock.patch.object(partitions_module, "BLOCK_SIZE", made.block_size):
            planned = partitions_of(path, made.kind, "", made.partition_size)
            exploded = [explode(block, made.kind) for part in planned for block in read_blocks(path, part)]
        found = contents(exploded)
    except Exception as error:
        raise AssertionError(_account(made, f"{type(error).__name__}: {error}")) from error
    if found != expected or sum(block.num_lines for block in exploded) != len(made.lines):
        raise AssertionError(_account(made, "the explode and the grammar differ"))
    if sum(block.num_structures for block in exploded) != expected[1].count(b"\n"):
        raise AssertionError(_account(made, "the explode has miscounted its structures"))
    return Counter({ACCEPTED: len(expected[0])}) + Counter(str(reason) for _, reason, _ in expected[2])


def _account(made: Round, what: str) -> str:
    """Say what is wrong, on which line if one alone shows it, and which command repeats it."""
    line = next((line for line in made.lines if _differs_alone(line, made.kind)), None)
    where = "only among its neighbours" if line is None else f"on this line alone: {line[:2000]!r}"
    return f"{what}, {where}; {made.kind} records, see it again by: python -m tests.fuzz_records --round {made.seed}"


def _differs_alone(line: bytes, kind: RecordKind) -> bool:
    try:
        return contents([explode(line + b"\n", kind)]) != plainly([line], kind)
    except Exception:  # noqa: BLE001 - whatever it raises is what is looked for
        return True


def check_records(seed: int, num_mutated: int, *, seconds: float = float("inf")) -> tuple[int, Counts]:
    """Check rounds until they have this many mutated records or have taken this long.

    Args:
        seed: of the rounds, which are named `seed:number`.
        num_mutated: how many mutated records at least; there are good ones among them.
        seconds: when to stop though it were fewer.

    Returns:
        how many were mutated, and how many of all were accepted, and rejected for which reason.

    Raises:
        AssertionError: a round shows a difference.
    """
    counts: Counts = Counter()
    so_far, number, deadline = 0, 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="deepcvr-fuzz-") as folder:
        while so_far < num_mutated and time.monotonic() < deadline:
            made = mutated_round(f"{seed}:{number}")
            counts += check_round(made, Path(folder))
            so_far, number = so_far + made.num_mutated, number + 1
    return so_far, counts


def main() -> int:
    """Run the command and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz_records",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=1_000_000, help="how many mutated ones (default: a million)")
    parser.add_argument("--seed", type=int, help="a number (default: a new one, which is printed)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these though it be fewer")
    parser.add_argument("--round", metavar="SEED:NUMBER", help="check one round again")
    options = parser.parse_args()
    begun = time.monotonic()
    try:
        if options.round:
            made = mutated_round(options.round)
            with tempfile.TemporaryDirectory(prefix="deepcvr-fuzz-") as folder:
                num_mutated, counts = made.num_mutated, check_round(made, Path(folder))
        else:
            seed = new_seed() if options.seed is None else options.seed
            print(f"seed {seed}", flush=True)
            num_mutated, counts = check_records(seed, options.records, seconds=options.seconds)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    for name, number in counts.most_common():
        print(f"{number:12,} {name}")
    seconds = time.monotonic() - begun
    print(f"{counts.total():12,} records, {num_mutated:,} of them mutated, no difference ({seconds:.0f} s)")
    return 0


def new_seed() -> int:
    """Draw a seed."""
    return random.SystemRandom().randrange(1 << 32)


if __name__ == "__main__":
    sys.exit(main())
