r"""Files whose form is wrong altogether, told as that from their first block.

Where no line of the block is a good record, it is tried whether most of its lines would be if the file were read in
another way: of another encoding, with other separators, with quotes, as the other kind of records. What is found is
told in one line, before anything is loaded. A file of which nothing is recognised is read record by record, and each
line is rejected with its reason.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from pipeline.csv_files import Place, open_csv
from pipeline.errors import LoadError
from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs.grammar import COLUMNS, Record, parse_record
from spark_jobs.partitions import BLOCK_SIZE

# A first line may be a header.
_LINES_TO_TRY = 50

_BEGINNINGS = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"[": "JSON",
}

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8)
_ENCODINGS = {
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32-le": "UTF-32",
    "utf-32-be": "UTF-32",
    "cp037": "EBCDIC",
}

# How the control bytes 1, 2 and 3 are printed.
_SPELLINGS = ("^A ^B ^C", r"\x01 \x02 \x03", r"\u0001 \u0002 \u0003", r"\001 \002 \003", r"\1 \2 \3", "␁ ␂ ␃")

_FIRST_SEPARATOR = re.compile(rb"[0-9A-Za-z]+([^0-9A-Za-z]+)")
_BETWEEN_PARTS = re.compile(rb"[^0-9A-Za-z_.+-]+")
_NAMES = {b"\t": "a tab", b" ": "a blank"}

# What was changed in lines, as a message tells it, and the lines after it.
Way: TypeAlias = tuple[tuple[str, ...], list[bytes]]


def check_form(path: Place, kind: RecordKind) -> None:
    """Refuse a file that is not of the source's form, where it is known what it is instead.

    Args:
        path: the CSV file.
        kind: the kind of records that it should hold.

    Raises:
        LoadError: it is of another form.
    """
    with open_csv(path) as file:
        block = file.read(BLOCK_SIZE)
        is_whole = not file.read(1)
    mark = next((mark for mark in _MARKS if block.startswith(mark)), b"")
    text = block.removeprefix(mark)
    if any(_is_shown_by(line, kind) for line in _lines(text, is_whole=is_whole)):
        return
    if what := _packed(text) or _recognised(text, kind, is_whole=is_whole):
        raise LoadError(
            f"{path} does not hold {_named(kind)}: {what}: nothing was loaded; put it into the form of the source"
            " (UTF-8, columns separated by commas, features and their parts by the bytes 1, 2 and 3, no quotes), and"
            " run the same command again"
        )


def _is_shown_by(line: bytes, kind: RecordKind) -> bool | None:
    """Tell whether a line is a good record; None where it is one without features, which shows little of its form."""
    record = parse_record(line, kind)
    return bool(record.structures) or None if isinstance(record, Record) else False


def _lines(text: bytes, *, is_whole: bool) -> Iterator[bytes]:
    """Give the lines of a block that are not empty, but not the last one where it goes on behind the block."""
    lines = text.split(b"\n")
    return (line.removesuffix(b"\r") for line in (lines if is_whole else lines[:-1]) if line.strip(b"\r"))


def _packed(text: bytes) -> str | None:
    return next(
        (f"it is {name}" for beginning, name in _BEGINNINGS.items() if text.lstrip().startswith(beginning)), None
    )


def _recognised(text: bytes, kind: RecordKind, *, is_whole: bool) -> str | None:
    """Find the ways to read a block in which most of its lines are good records; tell the one with fewest changes."""
    ways: list[Sequence[str]] = [
        ((*notes, f"it holds {_named(other)} (exchange the two members in pipeline.yml)") if other != kind else notes)
        for begun in _texts(text, is_whole=is_whole)
        for other in RECORD_KINDS
        for notes, lines in _changed([begun], len(COLUMNS[other]))
        if (shown := [_is_shown_by(line, other) for line in lines]).count(True) > shown.count(False)
    ]
    fewest = min(ways, key=len, default=())
    return ", ".join(fewest) or None


def _texts(text: bytes, *, is_whole: bool) -> Iterator[Way]:
    """Read a block in each encoding, and with each end of lines."""
    decoded: list[tuple[tuple[str, ...], bytes]] = [((), text)]
    for encoding, name in _ENCODINGS.items():
        # EBCDIC has a byte for a new line that is another character everywhere else.
        one = text.decode(encoding, "replace").replace("\x85", "\n").encode("utf-8", "replace")
        decoded.append(((f"its encoding is {name}",), one))
    for notes, one in decoded:
        returns = b"\n" not in one and b"\r" in one
        more = ("its lines end in a carriage return alone",) if returns else ()
        lines = _lines(one.replace(b"\r", b"\n") if returns else one, is_whole=is_whole)
        yield (*notes, *more), list(islice(lines, _LINES_TO_TRY))


def _changed(ways: list[Way], num_columns: int) -> list[Way]:
    """Put lines into the form of the source, in each of the ways in which they may differ from it, and their sums."""
    for change in (_spelled, _unquoted, _separated, _shortened, _joined):
        ways += [
            ((*notes, note), changed) for notes, lines in ways if lines for note, changed in change(lines, num_columns)
        ]
    return ways


def _spelled(lines: list[bytes], _: int) -> Iterator[tuple[str, list[bytes]]]:
    for spelling in _SPELLINGS:
        printed = [one.encode() for one in spelling.split()]
        if all(any(one in line for line in lines) for one in printed[1:]):
            changed = lines
            for number, one in enumerate(printed, 1):
                changed = [line.replace(one, bytes([number])) for line in changed]
            yield f"its control bytes are printed as {spelling}", changed


def _unquoted(lines: list[bytes], _: int) -> Iterator[tuple[str, list[bytes]]]:
    for byte, what in ((b'"', "has quotes"), (b"'", "has quotes"), (b" ", "has blanks")):
        if any(byte in line for line in lines):
            yield f"it {what}", [line.replace(byte, b"") for line in lines]


def _separated(lines: list[bytes], num_columns: int) -> Iterator[tuple[str, list[bytes]]]:
    found = _FIRST_SEPARATOR.match(lines[-1])
    if found and found[1] != b",":
        separator = found[1]
        name = _NAMES.get(separator, ascii(separator.decode("utf-8", "replace")))
        yield (
            f"its columns are separated by {name}",
            [line.replace(separator, b",", num_columns - 1).removesuffix(separator) for line in lines],
        )


def _shortened(lines: list[bytes], _: int) -> Iterator[tuple[str, list[bytes]]]:
    yield "it has a column more at the end of its lines", [line.rpartition(b",")[0] for line in lines]
    yield "it has a column more at the beginning of its lines", [line.partition(b",")[2] for line in lines]


def _joined(lines: list[bytes], num_columns: int) -> Iterator[tuple[str, list[bytes]]]:
    """Join the parts of the lists anew, by threes, whatever separates them."""
    changed = []
    for line in lines:
        *columns, features = line.split(b",", num_columns - 1)
        parts = [part for part in _BETWEEN_PARTS.split(features) if part]
        triples = zip(parts[::3], parts[1::3], parts[2::3], strict=False)
        changed.append(b",".join([*columns, b"\x01".join(b"%s\x02%s\x03%s" % triple for triple in triples)]))
    yield "its features are separated by other characters than the bytes 1, 2 and 3", changed


def _named(kind: RecordKind) -> str:
    return f"{kind.replace('_', ' ')} records"
