"""The pipeline's own commands on one server, against bare loads of the same rows."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import commands
from benchmarks.bare_load import Part, Prepared, read_definitions, seconds_to_load
from benchmarks.commands import Finished
from benchmarks.results import Figure, Measurement
from benchmarks.workspace import ProjectCopy, mysql_server
from embedded.mysql_server import data_folder
from embedded.processes import folder_size
from embedded.programs import Kind
from pipeline.background import beside
from pipeline.errors import PipelineError
from pipeline.mysql import connect, explained
from pipeline.settings import CORE_TABLES, MysqlSettings, Settings
from spark_jobs.staging import STAGING_TABLES

STAGING_LOAD = "staging load, whole command"

_DBT_COMMANDS = ("run", "test")
_IDLE_TRIES = 3
_MOST_MEMORY = 2_000_000_000
_SECONDS_BETWEEN_LOOKS = 2.0

# The job's own report of its work after start-up. It rounds the seconds and not the rate.
_REPORT = re.compile(r"([\d,]+) structures, .*\(([\d,]+) structures/s\)")


@dataclass(frozen=True)
class _Job:
    """The job, each of its parts as a command of its own, and what it has left."""

    unpack: Finished
    explode: Finished
    run: Finished
    test: Finished
    peak_disk_bytes: int
    staged_rows: int
    published_rows: int
    table_bytes: int
    idle: float
    definitions: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """How long the parts took."""
        return sum(part.seconds for part in (self.unpack, self.explode, self.run, self.test))


def measure_job(
    place: Path, copy: ProjectCopy, kind: Kind, prepared: Prepared | None, csv_bytes: int
) -> Iterator[Measurement]:
    """Run the whole job, and load the same rows barely; each on a server that was made for it.

    Args:
        place: the folder of the run.
        copy: the project whose commands are run; its source is the archive.
        kind: MySQL or MariaDB.
        prepared: the rows as text for the bare loads; without them there are none, and no ratio to them.
        csv_bytes: the size of what is unpacked.
    """
    staged = keyed = None
    if prepared:
        yield (staged := _measure_bare(place, kind, "bare LOAD into staging", STAGING_TABLES, prepared.staging))
    with mysql_server(copy.settings.embedded_dir, kind) as mysql:
        job = _run_job(copy, mysql)
    if prepared is None:  # beside its baseline it has been measured before, without the start of a command
        yield Measurement("unpack", job.unpack.seconds, csv_bytes, "B")
    yield _against(staged, _load(job), "rows/s of the bare LOAD", Figure("ratio", "at least", 0.85))
    yield Measurement(STAGING_LOAD, job.explode.seconds, job.staged_rows, "rows")
    yield from _dbt_stages(job)
    peak = max(part.peak_bytes for part in (job.unpack, job.explode))
    yield Measurement("peak memory of extract", amount=peak, unit="B", figure=Figure("bytes", "at most", _MOST_MEMORY))
    yield Measurement("tables on disk", amount=job.table_bytes, unit="B")
    yield Measurement("peak of the server's disk", amount=job.peak_disk_bytes, unit="B")
    yield Measurement("make extract, nothing to do", job.idle, figure=Figure("seconds", "at most", 3))
    if prepared:
        yield (keyed := _measure_bare(place, kind, "bare LOAD into the keyed tables", job.definitions, prepared.keyed))
    whole = Measurement("whole job after the download", job.seconds, job.published_rows, "rows")
    yield _against(keyed, whole, "time of the bare LOAD, keyed", Figure("ratio", "at most", 3))


def _run_job(copy: ProjectCopy, mysql: MysqlSettings) -> _Job:
    """Run the commands, and look meanwhile how much of the disk the server takes."""
    sizes: list[int] = []

    def look(ended: threading.Event) -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            sizes.append(folder_size(data_folder(copy.settings.embedded_dir)))

    python, dbt = copy.folder / ".venv/bin/python", copy.folder / ".venv/bin/dbt"
    _run(copy, dbt, "parse")  # as every dbt command but the first finds it
    with beside(look):
        steps = ("download", "unpack", "explode")  # the first looks at the archive, which is read where it is
        _, unpack, explode = (_run(copy, python, "-m", "extract", "--step", step) for step in steps)
        run, test = (_dbt(copy, command) for command in _DBT_COMMANDS)
    idle = min(_run(copy, "make", "extract").seconds for _ in range(_IDLE_TRIES))
    staged, published = _count_rows(mysql, copy.settings)
    databases = copy.settings.database, copy.settings.staging_database
    folders = [data_folder(copy.settings.embedded_dir) / name for name in databases]
    with explained(mysql), closing(connect(mysql, database=copy.settings.database)) as connection:
        definitions = read_definitions(connection, CORE_TABLES)
    return _Job(
        unpack=unpack,
        explode=explode,
        run=run,
        test=test,
        peak_disk_bytes=max(sizes, default=0),
        staged_rows=staged,
        published_rows=published,
        table_bytes=sum(map(folder_size, folders)),
        idle=idle,
        definitions=definitions,
    )


def _count_rows(mysql: MysqlSettings, settings: Settings) -> tuple[int, int]:
    """Count the rows of the load in staging, and those that the four tables have of them."""
    query = (
        "select sum(num_rows + num_structures), sum(if(record_kind = 'common_feature', num_rows, 0)),"
        " (select sum(num_features) from feature_load) from load_partition"
    )
    with (
        explained(mysql),
        closing(connect(mysql, database=settings.staging_database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query)
        rows, groups, features = cursor.fetchall()[0]
    return int(rows + features), int(rows + features - groups)


def _load(job: _Job) -> Measurement:
    return Measurement("staging load after start-up", seconds_of_report(job.explode.output), job.staged_rows, "rows")


def _against(bare: Measurement | None, measured: Measurement, to: str, figure: Figure) -> Measurement:
    """Set a stage beside its baseline: its speed, or its time."""
    if bare is None or bare.seconds is None or measured.seconds is None:
        return measured
    ratio = measured.seconds / bare.seconds
    return replace(measured, ratio=ratio if to.startswith("time") else 1 / ratio, ratio_to=to, figure=figure)


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


def _dbt_stages(job: _Job) -> list[Measurement]:
    load, run, test = job.explode.seconds, job.run.seconds, job.test.seconds
    to_load, to_run = "time of the staging load, whole", "time of dbt run"
    return [
        Measurement("dbt run", run, ratio=run / load, ratio_to=to_load, figure=Figure("ratio", "at most", 1.3)),
        Measurement("dbt test", test, ratio=test / run, ratio_to=to_run, figure=Figure("ratio", "at most", 0.25)),
    ]


def _run(copy: ProjectCopy, *command: str | Path) -> Finished:
    return commands.run(command, folder=copy.folder, environment=copy.environment)
