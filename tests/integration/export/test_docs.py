"""The blocks of docs/export.md are run as they stand there, and what they read is what the tables hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.job import Choices, export
from tests.integration.export.conftest import Tables
from tests.model_environment import make_model_environment
from tests.surroundings import spark_environment

# What is asked of each block, beside running: the rows of one field, as the database has them, stand in `expected`.
CHECKS = {
    "pandas": """
assert len(joined) == len(samples) == num_samples
assert {(int(s), int(i), float(v)) for s, i, v in long.itertuples(index=False)} == own
""",
    "Spark": """
assert joined.count() == samples.count() == num_samples
assert {(r.sample_id, r.ids_210, float(r.values_210)) for r in long.collect()} == own
rows = numbers.select("sample_id", "ids_210", "values_210").collect()
assert {(r.sample_id, i, v) for r in rows for i, v in zip(r.ids_210, r.values_210)} == own
assert {(r.sample_id, i) for r in joined.collect() for i in r.ids_109_14 or []} == {(s, i) for s, i, _ in common}
""",
}

MODEL_CHECKS = {
    "DuckDB": """
assert set(long) == own
assert {(sample_id, feature_id) for sample_id, _, feature_id in joined} == {(s, i) for s, i, _ in common}
""",
    "polars": """
assert joined.height == num_samples
rows = joined.select("sample_id", "ids_210", "values_210").iter_rows()
assert {(s, i, v) for s, ids, values in rows for i, v in zip(ids, values)} == own
rows = joined.select("sample_id", "ids_109_14").iter_rows()
assert {(s, i) for s, ids in rows for i in ids or []} == {(s, i) for s, i, _ in common}
""",
}

MODEL = """
from esmm import Esmm, batches

model = Esmm("out")
scores = [model(own, common, group_of)[0] for _, own, common, group_of in batches("out")]
assert all(each.isfinite().all() for each in scores)
assert sum(map(len, scores)) == num_samples
"""

LOADED = """
from pathlib import Path
import numpy as np
import pyarrow.parquet as pq
from loader import batches, num_indexes

id_of = {}
for field in ("210", "109_14"):
    entries = pq.read_table(f"out/vocabulary/{field}.parquet")
    assert len(entries) + 1 == num_indexes("out")[field]
    id_of[field] = dict(zip(entries["index"].to_pylist(), entries["id"].to_pylist()))


def features(field, bag, row):
    indexes, weights, starts = bag
    end = starts[row + 1] if row + 1 < len(starts) else len(indexes)
    return [(id_of[field][int(i)], float(w)) for i, w in zip(indexes[starts[row]:end], weights[starts[row]:end])]


found_own, found_common, clicks = [], [], []
for parts in sorted(Path("out/sample").iterdir())[::2], sorted(Path("out/sample").iterdir())[1::2]:
    for labels, of_samples, of_groups, group_of in batches("out", 64, parts=parts):
        assert len(labels["click"]) == len(group_of) == len(of_samples["210"][2])
        clicks += labels["click"].tolist()
        for row, group in enumerate(group_of):
            found_own += features("210", of_samples["210"], row)
            found_common += features("109_14", of_groups["109_14"], group)
assert len(clicks) == num_samples
assert sorted(found_own) == sorted((i, float(np.float32(v))) for _, i, v in own)
assert sorted(found_common) == sorted((i, float(np.float32(v))) for _, i, v in common)
kept = list(batches("out", 64, lambda table: [fold < 50 for fold in table["group_fold"].to_pylist()]))
assert 0 < sum(len(labels["click"]) for labels, *_ in kept) < num_samples
"""


def blocks(page: str) -> dict[str, str]:
    """The Python block under each heading."""
    sections = re.split(r"^## (.*)\n", page, flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    return {
        heading: "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        for heading, text in found.items()
    }


@pytest.fixture(scope="module")
def models_python(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_environment(tmp_path_factory.mktemp("models"), root)


@pytest.mark.soak
@pytest.mark.parametrize("mysql", ["mysql"], indirect=True)
@pytest.mark.parametrize("heading", list(MODEL_CHECKS))
def test_readers_that_are_no_dependency_read_what_the_tables_hold(
    tables: Tables, root: Path, tmp_path: Path, models_python: Path, heading: str
) -> None:
    export(tables.settings, tmp_path / "data" / "development" / "export" / "train", 1)
    block = blocks((root / "docs" / "export.md").read_text())[heading]
    (tmp_path / "page.py").write_text(expected_features(tables) + block + MODEL_CHECKS[heading])
    run_page(tmp_path, models_python)


@pytest.mark.soak
@pytest.mark.parametrize("mysql", ["mysql"], indirect=True)
def test_a_model_takes_samples_without_a_group_and_lists_without_a_feature(
    tables: Tables, root: Path, tmp_path: Path, models_python: Path
) -> None:
    export(tables.settings, tmp_path / "out", 1, Choices(1, 1))
    for name in ("esmm.py", "loader.py"):
        shutil.copy(root / "docs" / name, tmp_path)
    (tmp_path / "page.py").write_text(expected_features(tables) + MODEL)
    run_page(tmp_path, models_python)


@pytest.mark.parametrize("mysql", ["mysql"], indirect=True)
@pytest.mark.parametrize("heading", list(CHECKS))
def test_the_page_reads_what_the_tables_hold(tables: Tables, root: Path, tmp_path: Path, heading: str) -> None:
    export(tables.settings, tmp_path / "data" / "development" / "export" / "train", 1)
    (tmp_path / "page.py").write_text(
        expected_features(tables) + blocks((root / "docs" / "export.md").read_text())[heading] + CHECKS[heading]
    )
    run_page(tmp_path)


def test_the_loader_gives_what_the_tables_hold_and_the_page_shows_it(
    tables: Tables, root: Path, tmp_path: Path
) -> None:
    export(tables.settings, tmp_path / "out", 1, Choices(1, 7))
    loader = (root / "docs" / "loader.py").read_text()
    assert blocks((root / "docs" / "export.md").read_text())["Arrow, as embedding bags take it"] == loader
    (tmp_path / "loader.py").write_text(loader)
    (tmp_path / "page.py").write_text(expected_features(tables) + LOADED)
    run_page(tmp_path)


def run_page(folder: Path, python: Path = Path(sys.executable)) -> None:
    ended = subprocess.run(
        [python, "page.py"],
        cwd=folder,
        env=spark_environment()
        | {"PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def expected_features(tables: Tables) -> str:
    """Python that has the features of two fields by sample, and the number of samples."""
    field = "inner join feature as f on t.feature_id = f.feature_id where f.feature_name"
    own = tables.query(
        f"select t.sample_id, t.feature_id, t.feature_value + 0 from sample_feature as t {field} = '210'"
    )
    common = tables.query(
        "select s.sample_id, t.feature_id, t.feature_value + 0 from sample as s"
        f" inner join common_feature_group as t on s.common_feature_index = t.common_feature_index {field} = '109_14'"
    )
    ((num_samples,),) = tables.query("select count(*) from sample")
    assert len(own) > 500
    assert len(common) > 500
    return f"own, common, num_samples = {set(own)!r}, {set(common)!r}, {num_samples}\n"


def test_the_page_has_a_block_for_every_reader_that_it_promises(root: Path) -> None:
    found = blocks((root / "docs" / "export.md").read_text())

    assert set(found) == {*CHECKS, *MODEL_CHECKS, "Arrow, as embedding bags take it"}
    for heading, block in found.items():
        compile(block, heading, "exec")
