from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.steps import byte_size, refuse_unknown


@pytest.mark.parametrize(
    ("text", "size"), [("8 MiB", 8 << 20), ("64 KiB", 64 << 10), ("1 gib", 1 << 30), (512, 512), ("512", 512)]
)
def test_a_size_is_read_with_its_unit(text: object, size: int) -> None:
    assert byte_size({"part_size": text}, "part_size", default=1) == size


def test_a_size_that_is_not_given_is_the_default() -> None:
    assert byte_size({}, "part_size", default=7) == 7


@pytest.mark.parametrize("text", ["8 MB", "many", "-1", "0", "", "1.5 MiB", "٣ MiB", None, True])
def test_anything_else_is_refused_by_its_name(text: object) -> None:
    with pytest.raises(SettingsError, match=r"pipeline\.yml: part_size is"):
        byte_size({"part_size": text}, "part_size", default=1)


def test_a_parameter_that_no_one_reads_is_refused() -> None:
    refuse_unknown({"part_size": 1}, {"part_size"}, step="download")
    with pytest.raises(SettingsError, match=r"step download has no parameter 'partsize' \(known: part_size\)"):
        refuse_unknown({"partsize": 1}, {"part_size"}, step="download")
