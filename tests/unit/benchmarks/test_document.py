from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.document import DOCUMENT, draw, put_into, written
from benchmarks.results import RESULTS, Figure, Measurement, Run, read_runs, write
from pipeline.errors import SettingsError

RUN = Run(
    scale=0.01,
    server="mysql",
    conditions={
        "server": "MySQL 9.7.4",
        "machine": "2 cores",
        "measured_at": "2026-11-22T22:40:22+00:00",
        "csv_bytes": 194_000_000,
        "staged_rows": 12_000_000,
    },
    measurements=[
        Measurement("bare", 1.0, is_baseline=True),
        Measurement("dbt run", 40.0, None, "", 1.4, "time of the staging load", Figure("ratio", "at most", 1.3)),
    ],
    dbt_seconds={"feature": 4.0, "sample_feature": 20.0},
)


def test_the_page_shows_the_results_that_are_there() -> None:
    assert put_into(DOCUMENT.read_text(encoding="utf-8"), written(read_runs(RESULTS))) == DOCUMENT.read_text("utf-8")


def test_runs_come_back_as_they_were_written(tmp_path: Path) -> None:
    others = [replace(RUN, server="mariadb"), replace(RUN, scale=0.001)]
    for run in [*others, RUN]:
        write(tmp_path, run)

    assert read_runs(tmp_path) == [others[1], RUN, others[0]]


def test_each_run_has_its_table_and_the_growth_from_a_tenth_of_its_scale() -> None:
    small = replace(RUN, scale=0.001, measurements=[replace(RUN.measurements[1], seconds=3.2)])
    text = written([small, RUN])

    assert text.index("### 1 % of train, MySQL") < text.index("### 0.1 % of train, MySQL")
    assert "growth of dbt run" in text
    assert "12.50" in text
    assert "growth of bare" not in text
    assert "`sample_feature` 20.0, `feature` 4.0" in text


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    once = put_into(document, "new")

    assert once.count("new") >= 1
    assert put_into(once, "new") == once
    assert once.startswith(document.splitlines()[0])
    assert once.endswith(document.splitlines()[-1] + "\n")


def test_a_page_without_marks_is_left_alone() -> None:
    with pytest.raises(SettingsError, match="marks"):
        put_into("# Performance", "new")


def test_the_plot_is_the_same_for_the_same_runs(tmp_path: Path) -> None:
    runs = [RUN, replace(RUN, server="mariadb")]
    for name in ("one.svg", "other.svg"):
        draw(runs, tmp_path / name)

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    assert b"dbt run" in (tmp_path / "one.svg").read_bytes()
