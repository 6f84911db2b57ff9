from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import Figure, Measurement, Run, growth, table, write

STAGING = Measurement(
    "staging load", 4.0, 1_000_000, "rows", 0.9, "rows/s of the bare LOAD", Figure("ratio", "at least", 0.85)
)
MEMORY = Measurement("peak memory", amount=2.5e9, unit="B", figure=Figure("bytes", "at most", 2e9))


def test_a_rate_is_the_amount_by_the_seconds() -> None:
    assert STAGING.rate == 250_000


@pytest.mark.parametrize("stage", [MEMORY, Measurement("dbt run", 3.0), Measurement("nothing", 0.0, 5, "rows")])
def test_there_is_no_rate_without_an_amount_and_a_time(stage: Measurement) -> None:
    assert stage.rate is None


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Figure("ratio", "at least", 0.9), True),
        (Figure("ratio", "at least", 0.91), False),
        (Figure("ratio", "at most", 0.9), True),
        (Figure("ratio", "at most", 0.89), False),
        (Figure("seconds", "at most", 3.9), False),
        (Figure("rate", "at least", 250_000), True),
        (Figure("bytes", "at most", 999_999), False),
    ],
)
def test_a_figure_is_held_against_the_number_that_it_names(figure: Figure, reached: bool) -> None:
    assert Measurement("stage", 4.0, 1_000_000, "rows", 0.9, "that", figure).reached is reached


def test_a_stage_without_a_figure_neither_reaches_it_nor_not() -> None:
    assert Measurement("dbt run", 3.0).reached is None


def test_a_figure_for_a_number_that_was_not_measured_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="dbt run has a figure for its ratio"):
        _ = Measurement("dbt run", 3.0, figure=Figure("ratio", "at most", 1)).reached


def test_the_table_shows_numbers_units_figures_and_whether_they_are_reached() -> None:
    lines = table([STAGING, MEMORY])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["staging load", "4.00", "250,000 rows/s", "0.90", "rows/s of the bare LOAD", "at least 0.85", "yes"],
        ["peak memory", "", "2.5 GB", "", "", "at most 2.0 GB", "no"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_a_run_is_written_with_its_rates(tmp_path: Path) -> None:
    run = Run(0.01, "mysql", {"machine": "2 cores"}, [STAGING, MEMORY], {"model.x": 1.5})
    path = write(tmp_path / "results", run)
    written = json.loads(path.read_text())
    assert path.name == "0.01-mysql.json"
    assert [(stage["rate"], stage["reached"]) for stage in written["measurements"]] == [(250_000, True), (None, False)]
    assert written["dbt_seconds"] == {"model.x": 1.5}
    assert run.seconds == {"staging load": 4.0}


def test_growth_compares_the_stages_of_the_pipeline_that_both_runs_timed() -> None:
    earlier = {"staging load": 0.5, "gone": 1.0, "bare": 1.0}
    now = [STAGING, MEMORY, Measurement("new", 1.0), Measurement("bare", 9.0, is_baseline=True)]
    (grown,) = growth(earlier, now)
    assert (grown.stage, grown.ratio, grown.reached) == ("growth of staging load", 8.0, True)
