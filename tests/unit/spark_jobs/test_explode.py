from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs import explode as explode_module
from spark_jobs import records as records_module
from spark_jobs.explode import explode
from spark_jobs.grammar import CONTRADICTIONS, NON_RECORDS, Reason
from tests.fuzz_records import ACCEPTED, check_records, contents, mutated_round, new_seed, plainly
from tests.records import REAL_LINE, records

BLOCKS = st.sampled_from(RECORD_KINDS).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(records(kind), max_size=8))
)


@settings(max_examples=500, deadline=None)
@given(BLOCKS)
def test_the_explode_agrees_with_the_grammar_on_every_record(block: tuple[RecordKind, list[bytes]]) -> None:
    kind, lines = block
    exploded = explode(b"".join(line + b"\n" for line in lines), kind)

    # A carriage return before the newline is part of the line end.
    assert contents([exploded]) == plainly([line.removesuffix(b"\r") for line in lines], kind)
    assert exploded.num_lines == len(lines)
    assert exploded.num_structures == len(exploded.structures.tobytes().splitlines())


def test_structures_come_out_in_the_order_of_the_primary_key() -> None:
    exploded = explode(REAL_LINE + b"\n", "sample")

    ids = [int(row.split(b"\t")[1]) for row in exploded.structures.tobytes().splitlines()]
    assert ids == sorted(ids)
    assert len(ids) == 9


def test_one_bad_record_takes_nothing_from_its_neighbours() -> None:
    good = REAL_LINE + b"\n"
    exploded = explode(good + good.replace(b",9,", b",8,") + good, "sample")

    assert [reject.line_number for reject in exploded.rejected] == [1]
    assert exploded.structures.tobytes() == 2 * explode(good, "sample").structures.tobytes()


def test_an_empty_block_gives_nothing() -> None:
    assert contents([explode(b"", "sample")]) == ([], b"", [], set())


def test_the_explode_agrees_with_the_grammar_on_a_hundred_thousand_mutated_records() -> None:
    seed = int(os.environ.get("FUZZ_SEED") or new_seed())
    num_mutated, counts = check_records(seed, 100_000)

    assert num_mutated >= 100_000
    assert counts.keys() == {
        ACCEPTED,
        *map(str, set(Reason) - NON_RECORDS - CONTRADICTIONS),
    }  # each reason is met, and mutations that do no harm


@pytest.mark.soak
def test_the_explode_agrees_with_the_grammar_on_ten_million_mutated_records() -> None:
    num_mutated, _ = check_records(int(os.environ.get("FUZZ_SEED") or new_seed()), 10_000_000)

    assert num_mutated >= 10_000_000


@pytest.mark.soak
@pytest.mark.parametrize("ending", [b"", b"x"], ids=["good", "spoiled at its end"])
def test_the_explode_agrees_with_the_grammar_on_a_record_of_a_hundred_megabytes(ending: bytes) -> None:
    num_features = 4_600_000
    structures = b"\x01".join(b"109_14\x02%d\x031.09861" % (10_000_000 + number) for number in range(num_features))
    line = b"%016x,%d,%s%s" % (1, num_features, structures, ending)

    assert len(line) > 100_000_000
    assert contents([explode(line + b"\n", "common_feature")]) == plainly([line], "common_feature")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("<= _LONGEST_NAME", "<= _LONGEST_NAME + 1"),
        ("and number <= most and", "and number <= most + 4 and"),
        ("and (text[begin] != _ZERO or at == begin + 1)", ""),
        ("or text[end + 1] == _MINUS else", "else"),
        ("if id_table[slot, 1] == feature_id:", "if id_table[slot, 1] < 0:"),
    ],
)
def test_a_mistake_in_the_explode_is_found_and_its_round_is_named(
    right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(records_module.__file__).read_text(encoding="utf-8")
    assert source.count(right) == 1
    mistaken = ModuleType("mistaken_records")
    monkeypatch.setitem(sys.modules, mistaken.__name__, mistaken)
    exec(compile(source.replace(right, wrong), "mistaken", "exec"), mistaken.__dict__)
    monkeypatch.setattr(explode_module, "read_records", mistaken.read_records)

    with pytest.raises(AssertionError, match=r"see it again by: python -m tests\.fuzz_records --round 1:\d+$"):
        check_records(1, 100_000)


def test_a_round_follows_from_its_seed() -> None:
    assert mutated_round("1:2") == mutated_round("1:2")
    assert mutated_round("1:2") != mutated_round("1:3")
