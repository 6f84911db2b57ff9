"""The pipeline's own commands on one server, against bare loads of the same rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import commands
from benchmarks.bare_load import Part, Prepared, read_definitions, seconds_to_load
from benchmarks.commands import Finished
from benchmarks.results import Figure, Measurement
from benchmarks.workspace import ProjectCopy, mysql_server
from embedded.mysql_server import data_folder
from embedded.processes import folder_size
from embedded.programs import Kind
from pipeline.errors import PipelineError
from pipeline.mysql import connect, explained
from pipeline.settings import CORE_TABLES, MysqlSettings
from spark_jobs.staging import STAGING_TABLES

_DBT_COMMANDS = ("run", "test")
_IDLE_TRIES = 3
_MOST_MEMORY = 2_000_000_000

# The job's own report of its work after start-up. It rounds the seconds and not the rate.
_REPORT = re.compile(r"([\d,]+) structures, .*\(([\d,]+) structures/s\)")


@dataclass(frozen=True)
class _Extracted:
    """The steps of `make extract`, each as a command of its own."""

    download: Finished
    unpack: Finished
    explode: Finished


def measure_job(place: Path, copy: ProjectCopy, kind: Kind, prepared: Prepared) -> Iterator[Measurement]:
    """Run the whole job, and load the same rows barely; each on a server that was made for it.

    Args:
        place: the folder of the run.
        copy: the project whose commands are run; its S3 source holds the archive.
        kind: MySQL or MariaDB.
        prepared: the rows as text.
    """
    bare = _measure_bare(place, kind, "bare LOAD into staging", STAGING_TABLES, prepared.staging)
    yield bare
    with mysql_server(copy.settings.embedded_dir, kind) as mysql:
        # As every dbt command but the first finds it.
        _run(copy, copy.folder / ".venv/bin/dbt", "parse")
        extracted = _extract(copy)
        staging = _staging(extracted.explode, bare)
        yield from staging
        run, test = (_dbt(copy, command) for command in _DBT_COMMANDS)
        yield from _dbt_stages(extracted.explode, run, test)
        yield _peak_memory(extracted)
        yield _disk(copy)
        yield _idle(copy)
        definitions = _built_tables(mysql, copy)
    keyed = _measure_bare(place, kind, "bare LOAD into the keyed tables", definitions, prepared.keyed)
    yield keyed
    yield _whole_job(extracted, run, test, keyed)


def dbt_seconds(copy: ProjectCopy) -> dict[str, float]:
    """Read how long dbt took for each model and test of the measured commands, the slowest first."""
    results = [
        result
        for command in _DBT_COMMANDS
        for result in json.loads(_kept_results(copy, command).read_text(encoding="utf-8"))["results"]
    ]
    by_name = {".".join(result["unique_id"].split(".")[::2]): float(result["execution_time"]) for result in results}
    return dict(sorted(by_name.items(), key=lambda item: -item[1]))


def _measure_bare(
    place: Path, kind: Kind, stage: str, definitions: Mapping[str, str], parts: Sequence[Part]
) -> Measurement:
    with mysql_server(place / "bare", kind) as mysql:
        seconds = seconds_to_load(mysql, definitions, parts)
    return Measurement(stage, seconds, sum(part.num_rows for part in parts), "rows", is_baseline=True)


def _extract(copy: ProjectCopy) -> _Extracted:
    python = copy.folder / ".venv/bin/python"

    def step(name: str) -> Finished:
        return _run(copy, python, "-m", "extract", "--step", name)

    return _Extracted(download=step("download"), unpack=step("unpack"), explode=step("explode"))


def _staging(explode: Finished, bare: Measurement) -> list[Measurement]:
    after_start = seconds_of_report(explode.output)
    assert bare.seconds is not None  # noqa: S101 - for the type checker
    return [
        Measurement(
            "staging load after start-up",
            after_start,
            bare.amount,
            "rows",
            bare.seconds / after_start,
            "rows/s of the bare LOAD",
            Figure("ratio", "at least", 0.85),
        ),
        Measurement("staging load, whole command", explode.seconds, bare.amount, "rows"),
    ]


def seconds_of_report(output: str) -> float:
    """Find how long the explode job worked after its start-up in what it reported.

    Raises:
        PipelineError: there is no such report.
    """
    found = _REPORT.search(output)
    if not found:
        raise PipelineError(f"the explode step did not report its rate: {' '.join(output.split())[-300:]}")
    num_structures, rate = (int(text.replace(",", "")) for text in found.groups())
    return num_structures / rate


def _dbt(copy: ProjectCopy, command: str) -> Finished:
    finished = _run(copy, copy.folder / ".venv/bin/dbt", command)
    (copy.folder / "target/run_results.json").replace(_kept_results(copy, command))
    return finished


def _kept_results(copy: ProjectCopy, command: str) -> Path:
    return copy.folder / f"target/measured-{command}.json"


def _dbt_stages(explode: Finished, run: Finished, test: Finished) -> list[Measurement]:
    return [
        Measurement(
            "dbt run",
            run.seconds,
            ratio=run.seconds / explode.seconds,
            ratio_to="time of the staging load, whole",
            figure=Figure("ratio", "at most", 1.3),
        ),
        Measurement(
            "dbt test",
            test.seconds,
            ratio=test.seconds / run.seconds,
            ratio_to="time of dbt run",
            figure=Figure("ratio", "at most", 0.25),
        ),
    ]


def _peak_memory(extracted: _Extracted) -> Measurement:
    peak = max(step.peak_bytes for step in (extracted.download, extracted.unpack, extracted.explode))
    return Measurement("peak memory of extract", amount=peak, unit="B", figure=Figure("bytes", "at most", _MOST_MEMORY))


def _disk(copy: ProjectCopy) -> Measurement:
    """Measure the staging tables and the tables that dbt has built, without the server's logs."""
    settings = copy.settings
    folders = [data_folder(settings.embedded_dir) / name for name in (settings.database, settings.staging_database)]
    return Measurement("tables on disk", amount=sum(map(folder_size, folders)), unit="B")


def _idle(copy: ProjectCopy) -> Measurement:
    seconds = min(_run(copy, "make", "extract").seconds for _ in range(_IDLE_TRIES))
    return Measurement("make extract, nothing to do", seconds, figure=Figure("seconds", "at most", 3))


def _whole_job(extracted: _Extracted, run: Finished, test: Finished, keyed: Measurement) -> Measurement:
    assert keyed.seconds is not None  # noqa: S101 - for the type checker
    seconds = sum(command.seconds for command in (extracted.unpack, extracted.explode, run, test))
    return Measurement(
        "whole job after the download",
        seconds,
        keyed.amount,
        "rows",
        seconds / keyed.seconds,
        "time of the bare LOAD, keyed",
        Figure("ratio", "at most", 3),
    )


def _built_tables(mysql: MysqlSettings, copy: ProjectCopy) -> dict[str, str]:
    """Read the definitions of the tables that dbt has built."""
    with explained(mysql), closing(connect(mysql, database=copy.settings.database)) as connection:
        return read_definitions(connection, CORE_TABLES)


def _run(copy: ProjectCopy, *command: str | Path) -> Finished:
    return commands.run(command, folder=copy.folder, environment=copy.environment)
