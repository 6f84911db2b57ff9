from __future__ import annotations

from pathlib import Path

from benchmarks.bare_load import Part, prepare
from benchmarks.exploding import tasks_of
from pipeline.landed import write_manifest
from pipeline.settings import RECORD_KINDS
from spark_jobs.explode_features import interleaved
from tests.manifests import asset_of

SAMPLES = b"1,0,0,bacff91692951881,2,210\x029052218\x031.0\x01205\x024186222\x030.69315\n7,1,0,bacff91692951881,0,\n"
GROUPS = b"bacff91692951881,1,121\x023438658\x031.0\n"


FEATURES = ("feature_id, feature_name", b"3438658\t121\n4186222\t205\n9052218\t210\n", 3)


def rows(parts: tuple[Part, ...]) -> dict[str, tuple[str, bytes, int]]:
    """The columns, text and number of rows of each table; the parts of a table follow one another."""
    found: dict[str, tuple[str, bytes, int]] = {}
    for part in parts:
        _, text, num_rows = found.get(part.table, ("", b"", 0))
        found[part.table] = (part.columns, text + part.path.read_bytes(), num_rows + part.num_rows)
    return found


def test_rows_are_prepared_for_staging_and_for_the_keyed_tables(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(SAMPLES)
    (tmp_path / "groups.csv").write_bytes(GROUPS)
    paths = {"sample": tmp_path / "samples.csv", "common_feature": tmp_path / "groups.csv"}
    for path in paths.values():
        write_manifest(path, asset_of(path))
    tasks = [task for kind in RECORD_KINDS for task in tasks_of(paths[kind], kind)]
    prepared = prepare(interleaved([partition for _, _, partition in tasks], paths.values()), tmp_path)
    assert rows(prepared.staging) == {
        "feature": FEATURES,
        "sample": (
            "sample_id, click_label, conversion_label, common_feature_index, num_features, partition_number",
            b"1\t0\t0\tbacff91692951881\t2\t1\n7\t1\t0\tbacff91692951881\t0\t1\n",
            2,
        ),
        "sample_feature": (
            "sample_id, feature_id, feature_value",
            b"1\t4186222\t0.69315\n1\t9052218\t1.0\n",
            2,
        ),
        "common_feature": (
            "common_feature_index, num_features, partition_number",
            b"bacff91692951881\t1\t1\n",
            1,
        ),
        "common_feature_group": (
            "common_feature_index, feature_id, feature_value",
            b"bacff91692951881\t3438658\t1.0\n",
            1,
        ),
    }
    assert rows(prepared.keyed) == {
        "feature": FEATURES,
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
