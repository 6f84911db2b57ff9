from __future__ import annotations

from pathlib import Path

from benchmarks.published_method import _explode_group, read_slice


def test_the_published_method_gives_a_row_for_each_structure(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(
        b"bacff91692951881,2,121\x023438658\x031.0\x01109_14\x02449068\x030.69315\n"
        b"0000000000000000,1,122\x023438755\x031.0\n"
        b"ffffffffffffffff,1,122\x023438755\x031.0\n"
    )
    slice_ = read_slice(path, "common_feature", 2)
    assert slice_.num_structures == 3
    assert _explode_group(slice_.records).to_numpy().tolist() == [
        ["bacff91692951881", "121", 3438658, 1.0],
        ["bacff91692951881", "109_14", 449068, 0.69315],
        ["0000000000000000", "122", 3438755, 1.0],
    ]
