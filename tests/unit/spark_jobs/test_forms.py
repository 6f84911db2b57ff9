"""Files whose form is wrong altogether: told as what they seem to be, and nothing else is."""

from __future__ import annotations

import codecs
import gzip
import random
import re
from pathlib import Path

import pytest

from pipeline.errors import LoadError
from pipeline.settings import RecordKind
from spark_jobs import forms as forms_module
from spark_jobs.forms import check_form
from tests.fuzz_records import good_record
from tests.records import REAL_LINE

_CHANCE = random.Random(17)


def good(kind: RecordKind, number: int = 300) -> bytes:
    return b"".join(good_record(kind, _CHANCE, key) + b"\n" for key in range(number))


def quoted(text: bytes) -> bytes:
    fields = (b",".join(b'"%s"' % field for field in line.split(b",")) for line in text.splitlines())
    return b"\n".join(fields) + b"\n"


def printed(text: bytes, *controls: bytes) -> bytes:
    for number, each in enumerate(controls, 1):
        text = text.replace(bytes([number]), each)
    return text


def encoded(text: bytes, encoding: str) -> bytes:
    return text.decode().encode(encoding)


SAMPLES, GROUPS = good("sample"), good("common_feature")
HEADER = b"sample_id,click_label,conversion_label,common_feature_index,num_features,features_list\n"

FORMS = {
    "tab": (SAMPLES.replace(b",", b"\t"), "its columns are separated by a tab:"),
    "tab under a header": ((HEADER + SAMPLES).replace(b",", b"\t"), "its columns are separated by a tab:"),
    "two bars": (SAMPLES.replace(b",", b"||"), r"its columns are separated by '\|\|':"),
    "the byte 1": (SAMPLES.replace(b",", b"\x01"), r"its columns are separated by '\\x01':"),
    "quotes": (quoted(SAMPLES), "it has quotes:"),
    "semicolon and quotes": (quoted(SAMPLES).replace(b",", b";"), "it has quotes, its columns are separated by ';':"),
    "blanks": (SAMPLES.replace(b",", b", "), "it has blanks:"),
    "UTF-16": (encoded(SAMPLES, "utf-16"), "its encoding is UTF-16:"),
    "UTF-16 without a mark, tab": (
        encoded(SAMPLES.replace(b",", b"\t"), "utf-16-be"),
        "its encoding is UTF-16, its columns are separated by a tab:",
    ),
    "UTF-32": (encoded(SAMPLES, "utf-32"), "its encoding is UTF-32:"),
    "EBCDIC": (encoded(SAMPLES, "cp037"), "its encoding is EBCDIC:"),
    "^A": (printed(SAMPLES, b"^A", b"^B", b"^C"), r"its control bytes are printed as \^A \^B \^C:"),
    "escaped": (
        printed(SAMPLES, rb"\x01", rb"\x02", rb"\x03"),
        r"its control bytes are printed as \\x01 \\x02 \\x03:",
    ),
    "other list separators": (
        printed(SAMPLES, b"|", b":", b":"),
        "its features are separated by other characters than",
    ),
    "returns": (SAMPLES.replace(b"\n", b"\r"), "its lines end in a carriage return alone:"),
    "a column more": (SAMPLES.replace(b"\n", b",\n"), "it has a column more at the end of its lines:"),
    "a number before": (
        b"".join(b"%d,%s\n" % (number, line) for number, line in enumerate(SAMPLES.splitlines())),
        "it has a column more at the beginning of its lines:",
    ),
    "the other kind": (GROUPS, r"it holds common feature records \(exchange the two members in pipeline.yml\):"),
    "gzip": (gzip.compress(SAMPLES), "it is gzip:"),
    "Parquet": (b"PAR1" + bytes(100), "it is Parquet:"),
    "a page": (codecs.BOM_UTF8 + b"\n<!DOCTYPE html><html>404</html>", "it is HTML or XML:"),
    "JSON": (b'{"sample_id": 1}\n', "it is JSON:"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_another_form_is_told_as_that_in_one_line(tmp_path: Path, name: str) -> None:
    text, what = FORMS[name]
    path = tmp_path / "some.csv"
    path.write_bytes(text)
    with pytest.raises(LoadError, match=rf"^{re.escape(str(path))} does not hold sample records: {what}") as raised:
        check_form(path, "sample")
    assert "\n" not in str(raised.value)
    assert "nothing was loaded" in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        SAMPLES,
        SAMPLES.replace(b"\n", b"\r\n"),
        codecs.BOM_UTF8 + HEADER + SAMPLES,
        b"1\t2\t3\n" * 1000 + REAL_LINE + b"\n",  # one good record is enough
        b"",
        b"\n\r\n\n",
        HEADER,
        HEADER.replace(b",", b"\t"),
        b"no form at all\n" * 100,
        bytes(range(256)) * 20,
        b"\xff\xfe",
        b"1,0,0,bacff91692951881,0,\n" * 10,
        SAMPLES.replace(b",0,", b",7,").replace(b",1,", b",7,"),
    ],
)
def test_a_file_of_no_other_form_that_is_known_is_read_record_by_record(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(text)
    check_form(path, "sample")


def test_the_first_block_alone_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms_module, "BLOCK_SIZE", 5000)
    path = tmp_path / "some.csv"
    path.write_bytes(SAMPLES.replace(b",", b";") + REAL_LINE + b"\n")
    with pytest.raises(LoadError, match="separated by ';'"):
        check_form(path, "sample")
    path.write_bytes(REAL_LINE + b"\n" + SAMPLES.replace(b",", b";"))
    check_form(path, "sample")
