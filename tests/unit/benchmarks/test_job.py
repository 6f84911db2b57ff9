from __future__ import annotations

import pytest

from benchmarks.job import seconds_of_report
from pipeline.errors import PipelineError
from pipeline.registry import LoadTotals, Partition
from spark_jobs.explode_features import Load, _summary


def test_the_seconds_of_the_explode_step_come_from_its_report() -> None:
    totals = LoadTotals(num_lines=50_000, num_rows=49_990, num_structures=943_812, num_rejects=10, num_non_records=0)
    partition = Partition("sample.csv", "0" * 64, "sample", 1, 1, 0, 9, 50_000)
    load = Load(1, (partition,), (partition,))
    report = f"[1/1] explode: {_summary(totals, 1000, load, 7.25)} (12.0 s)"
    assert seconds_of_report(report) == pytest.approx(7.25, rel=1e-4)


def test_a_step_that_loaded_nothing_has_no_report() -> None:
    with pytest.raises(PipelineError, match="did not report its rate"):
        seconds_of_report("[1/1] explode: skipped: 50,000 rows, 943,812 structures, 0 rejected records are in staging")
