from __future__ import annotations

from pathlib import Path

from benchmarks.bare_load import Part, prepare, write_features
from benchmarks.exploding import tasks_of
from benchmarks.run import in_order_of_landing

SAMPLES = b"1,0,0,bacff91692951881,2,210\x029052218\x031.0\x01205\x024186222\x030.69315\n7,1,0,bacff91692951881,0,\n"
GROUPS = b"bacff91692951881,1,121\x023438658\x031.0\n"


def rows(parts: tuple[Part, ...]) -> dict[str, tuple[str, bytes, int]]:
    return {part.table: (part.columns, part.path.read_bytes(), part.num_rows) for part in parts}


def test_rows_are_prepared_for_staging_and_for_the_keyed_tables(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(SAMPLES)
    (tmp_path / "groups.csv").write_bytes(GROUPS)
    tasks = [*tasks_of(tmp_path / "samples.csv", "sample"), *tasks_of(tmp_path / "groups.csv", "common_feature")]
    prepared = prepare(in_order_of_landing(tasks), tmp_path)
    assert rows(prepared.staging) == {
        "sample": (
            "sample_id, click_label, conversion_label, common_feature_index, num_features, partition_number",
            b"1\t0\t0\tbacff91692951881\t2\t1\n7\t1\t0\tbacff91692951881\t0\t1\n",
            2,
        ),
        "sample_feature": (
            "sample_id, feature_name, feature_id, feature_value",
            b"1\t205\t4186222\t0.69315\n1\t210\t9052218\t1.0\n",
            2,
        ),
        "common_feature": (
            "common_feature_index, num_features, partition_number",
            b"bacff91692951881\t1\t1\n",
            1,
        ),
        "common_feature_group": (
            "common_feature_index, feature_name, feature_id, feature_value",
            b"bacff91692951881\t121\t3438658\t1.0\n",
            1,
        ),
    }
    assert rows(prepared.keyed) == {
        "sample": (
            "sample_id, click_label, conversion_label, common_feature_index",
            b"1\t0\t0\tbacff91692951881\n7\t1\t0\tbacff91692951881\n",
            2,
        ),
        "sample_feature": (
            "sample_id, feature_id, feature_value",
            b"1\t4186222\t0.69315\n1\t9052218\t1.0\n",
            2,
        ),
        "common_feature_group": (
            "common_feature_index, feature_id, feature_value",
            b"bacff91692951881\t3438658\t1.0\n",
            1,
        ),
    }


def test_features_are_prepared_from_their_rows(tmp_path: Path) -> None:
    part = write_features([(121, "a"), (3, "b_2")], tmp_path / "features")
    assert rows((part,)) == {"feature": ("feature_id, feature_name", b"121\ta\n3\tb_2\n", 2)}
