"""The blocks of docs/export.md are run as they stand there, and what they read is what the tables hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from export.job import export
from tests.integration.export.conftest import Tables
from tests.surroundings import spark_environment

# What is asked of each block, beside running: the rows of one field, as the database has them, stand in `expected`.
CHECKS = {
    "pandas": """
assert len(joined) == len(samples) == num_samples
assert {(int(s), int(i), float(v)) for s, i, v in long.itertuples(index=False)} == own
""",
    "Arrow, as an embedding bag takes it": """
found_own, found_common, seen = set(), set(), 0
for sample_ids, clicks, bags in batches(64):
    seen += len(sample_ids)
    for field, found in (("210", found_own), ("109_14", found_common)):
        ids, weights, offsets = bags[field]
        assert len(offsets) == len(sample_ids)
        ends = [*offsets[1:], len(ids)]
        for sample_id, first, end in zip(sample_ids, offsets, ends):
            found |= {(int(sample_id), int(i), float(w)) for i, w in zip(ids[first:end], weights[first:end])}
assert seen == num_samples
assert found_own == {(s, i, float(np.float32(v))) for s, i, v in own}
assert found_common == {(s, i, float(np.float32(v))) for s, i, v in common}
""",
    "Spark": """
assert joined.count() == samples.count() == num_samples
assert {(r.sample_id, r.ids_210, float(r.values_210)) for r in long.collect()} == own
rows = numbers.select("sample_id", "ids_210", "values_210").collect()
assert {(r.sample_id, i, v) for r in rows for i, v in zip(r.ids_210, r.values_210)} == own
assert {(r.sample_id, i) for r in joined.collect() for i in r.ids_109_14 or []} == {(s, i) for s, i, _ in common}
""",
}


def blocks(page: str) -> dict[str, str]:
    """The Python block under each heading."""
    sections = re.split(r"^## (.*)\n", page, flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    return {
        heading: "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        for heading, text in found.items()
    }


@pytest.mark.parametrize("mysql", ["mysql"], indirect=True)
@pytest.mark.parametrize("heading", list(CHECKS))
def test_the_page_reads_what_the_tables_hold(tables: Tables, root: Path, tmp_path: Path, heading: str) -> None:
    export(tables.settings, tmp_path / "data" / "development" / "export" / "train", 1)
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
    expected = f"own, common, num_samples = {set(own)!r}, {set(common)!r}, {num_samples}\n"
    (tmp_path / "page.py").write_text(
        expected + blocks((root / "docs" / "export.md").read_text())[heading] + CHECKS[heading]
    )
    ended = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=spark_environment()
        | {"PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr[-3000:]


def test_the_page_has_a_block_for_every_reader_that_it_promises(root: Path) -> None:
    found = blocks((root / "docs" / "export.md").read_text())

    assert set(found) == {*CHECKS, "PyTorch", "polars"}
    for heading, block in found.items():
        compile(block, heading, "exec")
