"""`python -m report.summary`: what a run has built, beside what its source holds."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("report.summary")

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.cli import DATA_SET_ENVIRONMENT, SERVER_ENVIRONMENT, command_parser, run_command, say
from pipeline.commands import dbt_command, make_command
from pipeline.mysql import MysqlConnection, explained
from pipeline.progress import working
from pipeline.published import hold_tables
from pipeline.registry import LoadTotals, RunOfTests, file_totals, latest_test_run, source_of_load
from pipeline.settings import RECORD_KINDS, RecordKind, Settings, load_settings

# The tables of the normal form that hold, row for row, what a file holds.
_TABLES: dict[RecordKind, tuple[str | None, str]] = {
    "sample": ("sample", "sample_feature"),
    "common_feature": (None, "common_feature_group"),
}

_EXAMPLES = """\
  python -m report.summary                     after dbt build or dbt test
  DATASET=test python -m report.summary        of the test data set
"""


@dataclass(frozen=True)
class _Line:
    table: str
    rows: int
    source: str


def summary(settings: Settings) -> list[str]:
    """Compare the tables with the source.

    Args:
        settings: name the data set and the databases.

    Returns:
        Lines for a person: the rows of each table beside what the loaded files hold, the rejected records, and the
        outcome of dbt's latest tests.

    Raises:
        DatabaseError: the tables have not been built, or not from the load that is staged; or the server fails.
    """
    with (
        hold_tables(settings, 1, views=("dataset_summary",), staging=("load_partition", "feature_load")) as published,
        explained(settings.mysql),
    ):
        (connection,) = published.readers
        connection.select_db(settings.staging_database)
        totals = file_totals(connection, published.load_id)
        tests = latest_test_run(connection, settings.staging_database)
        source = source_of_load(connection, published.load_id)
        connection.select_db(settings.database)
        lines = _lines(settings, connection, totals)
    rejects = sum(total.num_rejects for total in totals.values())
    return [
        "",
        f"{settings.database}, from {' and '.join(asset.uri for asset in source) or 'an unknown source'}",
        *_aligned(lines),
        f"  rejected records: {rejects:,}",
        f"  {_tests(tests, settings)}",
        next_line(settings),
    ]


def _lines(settings: Settings, connection: MysqlConnection, totals: dict[RecordKind, LoadTotals]) -> list[_Line]:
    lines, rows = [], _counts(connection)
    for kind in RECORD_KINDS:
        file = settings.data_set.members[kind]
        total = totals.get(kind, LoadTotals(0, 0, 0, 0, 0))
        rows_table, structures_table = _TABLES[kind]
        if rows_table:
            source = f"{total.num_rows:,} of the {total.num_lines:,} lines of {file}"
            lines.append(_Line(rows_table, rows[rows_table], source))
        structures = f"{total.num_structures:,} feature structures in {file}"
        lines.append(_Line(structures_table, rows[structures_table], structures))
    lines.append(_Line("feature", rows["feature"], "distinct feature ids of both files"))
    return lines


def _counts(connection: MysqlConnection) -> dict[str, int]:
    with working("count the rows of the tables"), connection.cursor() as cursor:
        cursor.execute("select table_name, num_rows from dataset_summary")
        return {str(name): int(rows) for name, rows in cursor.fetchall()}


def _aligned(lines: Sequence[_Line]) -> list[str]:
    name, rows = max(len(line.table) for line in lines), max(len(f"{line.rows:,}") for line in lines)
    return [f"  {line.table:<{name}}  {line.rows:>{rows},} rows   {line.source}" for line in lines]


def next_line(settings: Settings) -> str:
    """Name what can be done with tables that are built."""
    page, documents, files = (make_command(target, settings) for target in ("report", "docs", "export"))
    return f"  next: {page} (what the tables hold), {documents} (lineage and columns), {files} (Parquet)"


def _tests(run: RunOfTests | None, settings: Settings) -> str:
    if run is None:
        return f"tests: none were run: run {dbt_command('test', settings)}"
    return f"tests: {run.num_passed} passed, {run.num_warned} warned, {run.num_failed} failed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary and give the exit code."""
    parser = command_parser(
        "python -m report.summary",
        "Compare what a run has built with what its source holds, and count its tests.",
        examples=_EXAMPLES,
        environment=f"{DATA_SET_ENVIRONMENT}{SERVER_ENVIRONMENT}",
    )
    options = parser.parse_args(arguments)

    def show() -> None:
        for line in summary(load_settings()):
            say(line)

    return run_command(show, verbose=options.verbose, interrupted="nothing was changed; the same command counts again")
