"""Lines are counted and marked alike, however a file comes by."""

from __future__ import annotations

from codecs import BOM_UTF8

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.lines import Lines

TEXTS = st.lists(st.sampled_from([b"\n", b"a", b"bc,", b"\r\n", BOM_UTF8, b"\n\n\n"]), max_size=60).map(b"".join)


@given(text=TEXTS, grain=st.integers(1, 40), sizes=st.lists(st.integers(0, 30), min_size=1, max_size=9))
@example(text=BOM_UTF8, grain=1, sizes=[1])
@example(text=BOM_UTF8 + b"\n", grain=1, sizes=[2])
def test_marks_are_the_first_lines_after_each_grain(text: bytes, grain: int, sizes: list[int]) -> None:
    lines, at = Lines(len(text), grain), 0
    for number in range(len(text) + len(sizes)):
        size = max(sizes[number % len(sizes)], number // len(sizes) > 0)
        lines.update(text[at : at + size])
        at += size
    assert at >= len(text)

    beginnings = [0, *(place + 1 for place, byte in enumerate(text) if byte == ord("\n"))]
    if text.startswith(BOM_UTF8) and text != BOM_UTF8:
        beginnings[0] = len(BOM_UTF8)
    numbered = [(first_byte, number) for number, first_byte in enumerate(beginnings, 1) if first_byte < len(text)]
    expected, due = numbered[:1], grain
    for mark in numbered[1:]:
        if mark[0] >= due:
            expected.append(mark)
            due = mark[0] + grain
    assert list(lines.marks) == expected
    assert lines.num_lines == len(numbered)


def test_a_large_file_has_no_more_marks_than_a_manifest_should_hold() -> None:
    lines = Lines(100 << 20)
    for _ in range(100):
        lines.update(b"1234567\n" * (128 << 10))
    assert 4_000 < len(lines.marks) <= 8_200
