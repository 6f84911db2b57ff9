"""What a terminal or a page gets of a text from anywhere."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.printable import printable, printable_lines

# What does something to a terminal, or lets the eye read other words than there are: asked of Unicode, not of the code.
_BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_MARKS = "\u061c\u200e\u200f"
_COMMANDS = ["\x1b[2J\x1b]0;title\x07", "\x9b31m", "\r", "\b", "\x7f", "\u202e", "\u2066", "\u2028", "\ud800"]


def commands(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in _BIDI_CONTROLS
        or character in _MARKS
    )


any_text = st.text(st.characters() | st.characters(categories=("Cs", "Cc", "Cf", "Zl", "Zp")) | st.sampled_from("\\u"))


@given(any_text)
def test_nothing_that_is_printed_commands_a_terminal(text: str) -> None:
    printed = printable(text)

    assert not any(map(commands, printed))
    printed.encode()  # no half of a surrogate pair is left
    assert printable(printed) == printed


@given(any_text)
def test_ordinary_text_of_any_script_stays_and_the_rest_can_be_read(text: str) -> None:
    expected = (f"\\u{ord(c):04x}" if commands(c) else c for c in re.sub(r"[\t\n\r]", " ", text))

    assert printable(text) == "".join(expected)


@given(any_text)
def test_json_says_the_same_when_it_is_printed(text: str) -> None:
    assert json.loads(printable(json.dumps(text))) == text


@given(any_text)
def test_lines_stay_lines(text: str) -> None:
    assert printable_lines(text).split("\n") == [printable(line) for line in text.split("\n")]


@pytest.mark.parametrize("text", ["Grüße, 数据 ещё שלום 👩‍👩‍👧 e\u0301", *"aä數"])
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("command", _COMMANDS)
def test_each_command_is_made_harmless(command: str) -> None:
    assert command not in printable(f"a{command}b")


def test_lines_leave_the_program_in_one_place(root: Path) -> None:
    """Whoever prints elsewhere prints what it has from others as it is."""
    folders = ("pipeline", "extract", "spark_jobs", "export", "report", "embedded")
    writes = re.compile(r"(?<![\w.])print\(|std(?:out|err)\.write|print_exc|os\.write\((?!descriptor)")
    found = {
        str(path.relative_to(root))
        for name in folders
        for path in (root / name).rglob("*.py")
        if writes.search(path.read_text())
    }

    # One makes all lines printable; the others write a line of their own words.
    assert found == {"pipeline/__init__.py", "pipeline/interrupt.py", "pipeline/progress.py", "embedded/setup.py"}
