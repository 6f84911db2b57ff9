"""The fast look at a block against the plain parser, record by record."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.settings import RecordKind
from spark_jobs.grammar import Record, parse_record
from spark_jobs.records import Records, read_records
from spark_jobs.sampling.scan import NO_SCENE, SEVERAL_SCENES, coverage, scenes
from tests.records import REAL_LINE, records

KINDS: list[RecordKind] = ["sample", "common_feature"]


def scene_of(record: Record) -> int:
    found = [int(structure.feature_id) for structure in record.structures if structure.feature_name == b"301"]
    return NO_SCENE if not found else found[0] if len(found) == 1 else SEVERAL_SCENES


def assert_agrees(lines: list[bytes], found: Records, kind: RecordKind) -> None:
    # A carriage return before the newline is no part of a record.
    parsed = [parse_record(line.removesuffix(b"\r"), kind) for line in lines]
    good = [(line, record) for line, record in zip(lines, parsed, strict=True) if isinstance(record, Record)]
    block = b"".join(line + b"\n" for line in lines)

    assert found.num_lines == len(lines)
    assert [block[begin:end] for begin, end in zip(found.begin, found.end, strict=True)] == [
        line + b"\n" for line, _ in good
    ]
    assert found.list_length.tolist() == [len(record.structures) for _, record in good]
    index = 3 if kind == "sample" else 0
    assert found.index.tolist() == [int(record.columns[index], 16) for _, record in good]
    if kind == "sample":
        assert found.label.tolist() == [2 * int(record.columns[1]) + int(record.columns[2]) for _, record in good]
        assert scenes(found).tolist() == [scene_of(record) for _, record in good]
    expected = Counter(name for _, record in good for name in {each.feature_name for each in record.structures})
    assert coverage(found) == expected


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # the first call imports what Arrow needs
@given(data=st.data())
def test_the_scan_finds_the_records_that_the_grammar_accepts(kind: RecordKind, data: st.DataObject) -> None:
    lines = data.draw(st.lists(records(kind), max_size=8))
    block = b"".join(line + b"\n" for line in lines)

    assert_agrees(lines, read_records(block, kind), kind)


@pytest.mark.parametrize(
    "line",
    [
        REAL_LINE,
        b"4294967295,1,1,ffffffffffffffff,0,",
        b"0,0,1,0000000000000000,1,a\x024294967295\x031",
        b"7,1,0,0123456789abcdef,2,abcdefgh_2345678\x021234567890\x031.0\x01bbcdefgh_2345678\x02234567890\x031.0",
        b"7,1,0,0123456789abcdef,2,301\x021\x031.0\x01301\x022\x031.0",
        b"7,1,0,0123456789abcdef,2,205\x0212345678\x031.0\x01206\x0212345678\x031.0",
        b"7,1,0,0123456789abcdef,1,205\x021\x03" + b"1" * 25,
        b"7,1,0,0123456789abcdef,2,205\x021\x031.0",
        REAL_LINE + b"\r",
        REAL_LINE + b"\r\r",
        b"",
    ],
)
def test_lines_at_the_edges_of_the_grammar_are_seen_alone_and_among_others(line: bytes) -> None:
    for lines in ([line], [REAL_LINE, line, REAL_LINE], [line, REAL_LINE, line]):
        assert_agrees(lines, read_records(b"".join(each + b"\n" for each in lines), "sample"), "sample")


def test_a_block_without_lines_holds_nothing() -> None:
    found = read_records(b"", "sample")

    assert found.num_lines == len(found.begin) == len(scenes(found)) == len(coverage(found)) == 0
