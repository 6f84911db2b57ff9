"""`python -m spark_jobs.prune`: give back the disk of a load in staging that has been built and tested."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("spark_jobs.prune")

from collections.abc import Sequence
from contextlib import closing

from pipeline.cli import DATA_SET_ENVIRONMENT, SERVER_ENVIRONMENT, command_parser, run_command, say
from pipeline.commands import dbt_command, make_command
from pipeline.errors import LoadError
from pipeline.mysql import MysqlConnection, explained
from pipeline.published import hold_tables
from pipeline.registry import current_partitions, latest_test_run, open_registry, staging_lock, supersede_load
from pipeline.settings import Settings, load_settings
from pipeline.units import quantity
from spark_jobs.staging import STAGING_TABLES, empty_staging_tables

# What stands nowhere else.
_KEPT = "rejected_record"

_EXAMPLES = """\
  python -m spark_jobs.prune                     after dbt build, or dbt run and dbt test (make prune)
  DATASET=test python -m spark_jobs.prune        of the test data set
"""


def prune(settings: Settings) -> list[str]:
    """Empty the staging tables of a load, once the four tables are built from it and have passed all tests.

    Stopped on the way, there is no current load, and the same command empties what is left.

    Args:
        settings: name the server and the databases.

    Returns:
        Lines for a person: what was given back, what stays, and what is no longer possible.

    Raises:
        LoadError: the tests of this load have not all passed; nothing was given back.
        DatabaseError: the four tables are not of the load that is staged, or the server fails.
    """
    staging = settings.staging_database
    names = [name for name in STAGING_TABLES if name != _KEPT]
    with staging_lock(settings.mysql, staging), explained(settings.mysql), closing(open_registry(settings)) as registry:
        load_id, _ = current_partitions(registry)
        if load_id is not None:
            with hold_tables(settings, 1, staging=("load_partition", "feature_load")):
                _require_tested(settings, registry, load_id)
        size = _size(registry, names)
        supersede_load(registry)
        empty_staging_tables(registry, names)
    if load_id is None:
        return [f"{staging} holds no load, and its tables are empty"]
    again, readers = make_command("extract", settings), [dbt_command("run", settings), dbt_command("test", settings)]
    readers.append(make_command("report", settings))
    return [
        f"{staging}: load {load_id} is given back, some {quantity(size, 'B')} in {', '.join(names)}",
        f"  what stays: the four tables of {settings.database}, {_KEPT}, and what is known of loads and tests",
        f"  what has nothing to read until {again} has loaded the files again: {', '.join(readers)}",
    ]


def _require_tested(settings: Settings, registry: MysqlConnection, load_id: int) -> None:
    run = latest_test_run(registry, settings.staging_database)
    test = dbt_command("test", settings)
    if run is None or run.load_id != load_id or run.is_selection:
        raise LoadError(f"the tables of load {load_id} have not been tested, with all tests, last: run {test}")
    if run.num_failed:
        raise LoadError(f"{run.num_failed} tests of load {load_id} have failed: staging stays; {test} tells which")


def _size(registry: MysqlConnection, names: Sequence[str]) -> int:
    """Give the size of tables as the server estimates it, before it compresses their pages."""
    with registry.cursor() as cursor:
        cursor.execute(
            "select coalesce(sum(data_length + index_length), 0) from information_schema.tables"
            " where table_schema = database() and table_name in %s",
            (names,),
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line and give the exit code."""
    parser = command_parser(
        "python -m spark_jobs.prune",
        "Empty the staging tables of a load that dbt has built and tested, half of what its tables take of the disk.",
        examples=_EXAMPLES,
        environment=DATA_SET_ENVIRONMENT + SERVER_ENVIRONMENT,
    )
    options = parser.parse_args(arguments)

    def run() -> None:
        for line in prune(load_settings()):
            say(line)

    return run_command(
        run, verbose=options.verbose, interrupted="staging may be empty already; the same command says whether it is"
    )
