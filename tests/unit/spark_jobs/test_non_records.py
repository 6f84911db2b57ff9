"""Line ends, a byte order mark, a header and empty last lines: what a file's lines are, wherever it is cut."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs import partitions as partitions_module
from spark_jobs.explode import explode
from spark_jobs.grammar import COLUMNS, Reason, Record, is_header_line, parse_record
from spark_jobs.landing import tell_non_records
from spark_jobs.partitions import cut_ranges, holds_records, read_blocks
from spark_jobs.sampling.passes import Range, count_groups
from tests.manifests import partitions_of
from tests.records import REAL_LINE, good_records

HEADERS = {kind: ",".join(columns).encode() for kind, columns in COLUMNS.items()}


@st.composite
def files(draw: st.DrawFn) -> tuple[RecordKind, bytes, list[bytes]]:
    """A kind, a file, and its lines as they must be seen: good ones, bad ones, headers and empty ones, ended anyhow."""
    kind = draw(st.sampled_from(RECORD_KINDS))
    odd = st.sampled_from([b"", b"", b"\r", b"not a record", HEADERS[kind]])
    lines = [*draw(st.lists(st.one_of(good_records(kind), odd), max_size=12)), *[b""] * draw(st.integers(0, 3))]
    text, seen = draw(st.sampled_from([b"", BOM_UTF8])), []
    for number, line in enumerate(lines, 1):
        end = draw(st.sampled_from([b"\n", b"\r\n", *([b"", b"\r"] if number == len(lines) else [])]))
        text += line + end
        seen.append(line.removesuffix(b"\r") if end in (b"", b"\n") else line)
        if not line + end:
            seen.pop()
    return kind, text, seen


@settings(max_examples=300, deadline=None)
@given(file=files(), size=st.integers(1, 400), block_size=st.integers(1, 200))
def test_lines_are_told_apart_alike_wherever_a_file_is_cut(
    file: tuple[RecordKind, bytes, list[bytes]], size: int, block_size: int
) -> None:
    kind, text, lines = file
    if text == BOM_UTF8:
        return
    num_empty = sum(1 for _ in takewhile(lambda line: not line, reversed(lines)))
    expected = []
    for number, line in enumerate(lines, 1):
        record = parse_record(line, kind)
        if number > len(lines) - num_empty:
            expected.append((number, Reason.EMPTY_LAST_LINE, line))
        elif number == 1 and line == HEADERS[kind]:
            expected.append((number, Reason.HEADER, line))
        elif isinstance(record, Reason):
            expected.append((number, record, line))

    found, num_rows = [], 0
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions_module, "BLOCK_SIZE", block_size)
        path = Path(folder) / "some.csv"
        path.write_bytes(text)
        for part in partitions_of(path, kind, "", size):
            at, rejected = part.first_line, []
            for block in read_blocks(path, part):
                exploded = explode(block, kind)
                rejected += [replace(each, line_number=at + each.line_number) for each in exploded.rejected]
                at, num_rows = at + exploded.num_lines, num_rows + exploded.num_rows
            assert at == part.first_line + part.num_lines
            found += tell_non_records(path, part, rejected)
        assert holds_records(path, kind) == any(line.strip(b"\r") for line in lines[_is_header(lines, kind) :])
    assert [(each.line_number, each.reason, each.record) for each in found] == expected
    assert num_rows == sum(isinstance(parse_record(line, kind), Record) for line in lines)


def _is_header(lines: list[bytes], kind: RecordKind) -> bool:
    return lines[:1] == [HEADERS[kind]]


@pytest.mark.parametrize(
    ("line", "is_header"),
    [
        (b"sample_id,click_label,conversion_label,common_feature_index,num_features,features_list", True),
        (b'"id","click","conversion","group","n","features"', True),
        (b"id, click, conversion, group, n, features ", True),
        (b"'Sample ID',click,cvr,md5,Num.,list", True),
        (b"id,click,conversion,group,n", False),
        (b"id,click,conversion,group,n,features,more", False),
        (b"id,click,conversion,group,n,", False),
        (b"1,click,conversion,group,n,features", False),
        (b'"id,click,conversion,group,n,features', False),
        (REAL_LINE, False),
        (b"", False),
    ],
)
def test_a_header_line_has_a_word_for_each_column(line: bytes, is_header: bool) -> None:
    assert is_header_line(line, "sample") == is_header


def test_a_record_of_letters_is_no_header() -> None:
    assert not is_header_line(b"abcdefabcdefabcd,1,a\x021\x031", "common_feature")
    assert not is_header_line(b"abcdefabcdefabcd,0,", "common_feature")


def test_a_sample_is_counted_alike_whatever_ends_the_lines(tmp_path: Path) -> None:
    lines = [b"%016x,1,a\x02%d\x031.0" % (number, number) for number in range(200)]
    tallies = []
    for name, text in (
        ("plain", b"".join(line + b"\n" for line in lines)),
        ("odd", BOM_UTF8 + b"".join(line + b"\r\n" for line in lines)),
    ):
        path = tmp_path / name
        path.write_bytes(text)
        found = [
            count_groups(Range(number, path, "common_feature", first, end))
            for number, (first, end) in enumerate(cut_ranges(path, 900))
        ]
        tallies.append(
            [index for _, indexes in found for index in indexes.tolist()] + [sum(one.num_rejects for one, _ in found)]
        )
    assert tallies[0] == tallies[1] == [*range(200), 0]
