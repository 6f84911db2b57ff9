"""What is downloaded, unpacked, staged, built and tested, for each mode and data set.

It is read from the files in the data folders, from the registry in the staging databases, where dbt writes down what
has become of its tests too, and from the comment that it leaves on each table. Nothing is started or changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.commands import dbt_command, make_command
from pipeline.errors import DatabaseError
from pipeline.files import read_json
from pipeline.landed import Asset, manifest_path, part_path, read_manifest
from pipeline.mysql import MysqlConnection, connect, explained
from pipeline.registry import (
    RunOfTests,
    current_partitions,
    has_loaded_features,
    is_building,
    latest_test_run,
    load_totals,
)
from pipeline.settings import CORE_TABLES, MODES, RECORD_KINDS, Settings, load_settings
from pipeline.units import quantity

State = Literal["no", "partly", "outdated", "failed", "done", "unknown"]

# A person waits for the answer; a server that is there answers at once.
_SECONDS_TO_WAIT = 3
_REGISTRY = {"load_partition", "feature_load"}
_LOAD_COMMENT = re.compile(r"load (\d+)")
# What a run of dbt that has not ended has replaced.
_REPLACED = tuple(f"{name}__old_1" for name in CORE_TABLES)


@dataclass(frozen=True)
class Stage:
    """How far one thing has come.

    Attributes:
        state: `no`, `partly`, `outdated` (of something that has been replaced since), `failed`, `done`, or `unknown`
            where the server does not answer.
        text: the same for a person, in a few words.
        facts: the same for a program: numbers, times in ISO 8601.
    """

    state: State
    text: str
    facts: Mapping[str, Any]


_NOT = Stage("no", "-", {})
_UNKNOWN = Stage("unknown", "?", {})


@dataclass(frozen=True)
class DataSetStatus:
    """How far one data set has come in one mode."""

    mode: str
    data_set: str
    database: str
    downloaded: Stage
    unpacked: Stage
    staged: Stage
    built: Stage
    tested: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages in the order in which they are done."""
        return (self.downloaded, self.unpacked, self.staged, self.built, self.tested)

    @property
    def names(self) -> tuple[str, str]:
        """Its mode and its name, for the commands that are about it."""
        return self.mode, self.data_set


@dataclass(frozen=True)
class Status:
    """How far every data set has come.

    Attributes:
        problem: why nothing is known of the databases, in one line; None where the server answers.
    """

    server: str
    problem: str | None
    data_sets: tuple[DataSetStatus, ...]


@dataclass(frozen=True)
class _Tables:
    """The tables of interest that a server has: by database and name, when each was made, and its comment."""

    present: Mapping[tuple[str, str], tuple[datetime | None, str]]

    def missing(self, database: str, names: Iterable[str]) -> list[str]:
        return [name for name in names if (database, name) not in self.present]


def read_status(settings: Settings, *, has_server: bool = True) -> Status:
    """Find out how far every data set of `pipeline.yml` has come in every mode.

    Args:
        settings: of any data set and mode; they name the server and the project's folder.
        has_server: False where the embedded server has never been started, so that nothing can be staged or built.
    """
    each = [
        load_settings(root=settings.root, mode=mode, data_set=data_set)
        for mode in MODES
        for data_set in settings.data_sets
    ]
    if not has_server:
        return Status(settings.mysql.address, None, tuple(_status(one, (_NOT, _NOT, _NOT)) for one in each))
    try:
        with (
            explained(settings.mysql),
            closing(connect(settings.mysql, seconds_to_wait=_SECONDS_TO_WAIT)) as connection,
        ):
            tables = _read_tables(connection, each)
            found = [_in_database(one, connection, tables) for one in each]
    except DatabaseError as error:
        return Status(settings.mysql.address, str(error), tuple(_status(one, (_UNKNOWN,) * 3) for one in each))
    statuses = tuple(_status(one, stages) for one, stages in zip(each, found, strict=True))
    return Status(settings.mysql.address, None, statuses)


def as_json(status: Status) -> dict[str, Any]:
    """Give a status as what JSON can hold, with the command that is `next` for each data set."""
    told = asdict(status)
    for one, each in zip(status.data_sets, told["data_sets"], strict=True):
        each["next"] = next_command(one)
    return told


def next_command(status: DataSetStatus) -> str | None:
    """Give the command that brings a data set further; None where there is nothing to do, or nothing is known."""
    staged, built, tested = status.staged.state, status.built.state, status.tested.state
    if "unknown" in (staged, built):
        return None
    if staged == "no" and (built, tested) == ("done", "done"):
        return None  # as make prune leaves it
    if staged != "done":
        # The first time the whole job, which explains itself.
        target = "run" if all(stage.state == "no" for stage in status.stages) else "extract"
        return make_command(target, status.names)
    if built != "done":
        return dbt_command("run", status.names)
    return dbt_command("test", status.names) if tested in ("no", "partly", "outdated") else None


def lines_of(status: Status, settings: Settings) -> Iterator[str]:
    """Write a status for a person.

    Args:
        status: how far everything has come.
        settings: the data set and the mode of the run, for which the next command is named.
    """
    heads = ("", "downloaded", "unpacked", "staged", "built", "tested")
    rows: list[Sequence[str]] = [heads]
    for mode in MODES:
        rows.append((mode, *[""] * (len(heads) - 1)))
        rows += [
            (f"  {one.data_set}", *(stage.text for stage in one.stages)) for one in status.data_sets if one.mode == mode
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    if status.problem:
        yield f"what is staged and built is not known: {status.problem}"
        return
    chosen = next(
        one for one in status.data_sets if (one.mode, one.data_set) == (settings.mode, settings.data_set.name)
    )
    command = next_command(chosen)
    what = f"{chosen.data_set}, {chosen.mode}"
    if command:
        yield f"next for {what}: {command}"
    elif chosen.tested.state == "failed":
        yield f"{what}: tests have failed; {dbt_command('test', chosen.names)} tells which"
    else:
        yield f"{what}: complete, in {chosen.database}"


def _status(settings: Settings, in_database: tuple[Stage, Stage, Stage]) -> DataSetStatus:
    archive = read_manifest(settings.archive_path, verify=False)
    staged, built, tested = in_database
    return DataSetStatus(
        mode=settings.mode,
        data_set=settings.data_set.name,
        database=settings.database,
        downloaded=_downloaded(settings, archive),
        unpacked=_unpacked(settings, archive),
        staged=staged,
        built=built,
        tested=tested,
    )


def _in_database(settings: Settings, connection: MysqlConnection, tables: _Tables) -> tuple[Stage, Stage, Stage]:
    load_id, staged = _staged(settings, connection, tables)
    at_work = is_building(connection, settings.staging_database)
    built = _built(settings, tables, load_id, is_staged=staged.state != "no", is_building=at_work)
    has_runs = not tables.missing(settings.staging_database, {"test_run"})
    run = latest_test_run(connection, settings.staging_database) if has_runs else None
    return staged, built, _tested(run, built)


def _downloaded(settings: Settings, archive: Asset | None) -> Stage:
    if archive is not None:
        at = archive.landed_at.isoformat()
        facts = {"uri": archive.uri, "bytes": archive.size_bytes, "sha256": archive.sha256 or None, "at": at}
        place = " in place" if archive.path else ""
        return Stage("done", quantity(archive.size_bytes, "B") + place, facts)
    # What the download has written down of its parts, so that it can go on.
    journal = read_json(manifest_path(part_path(settings.archive_path)))
    try:
        if journal is None or not part_path(settings.archive_path).exists():
            return _NOT
        size = int(journal["size_bytes"])
        there = min(size, len(journal["done"]) * int(journal["part_bytes"]))
    except (KeyError, TypeError, ValueError):
        return _NOT
    return Stage("partly", f"{_share(there, size)} of {quantity(size, 'B')}", {"bytes": there, "of_bytes": size})


def _unpacked(settings: Settings, archive: Asset | None) -> Stage:
    found = [read_manifest(settings.member_path(kind), verify=False) for kind in RECORD_KINDS]
    manifests = [manifest for manifest in found if manifest is not None]
    if not manifests:
        return _NOT
    size = sum(manifest.size_bytes for manifest in manifests)
    facts = {
        "bytes": size,
        "lines": sum(manifest.num_rows or 0 for manifest in manifests),
        "at": max(manifest.landed_at for manifest in manifests).isoformat(),
        "files": [
            one.path or str(settings.member_path(kind)) for kind, one in zip(RECORD_KINDS, found, strict=True) if one
        ],
    }
    if len(manifests) < len(found):
        return Stage("partly", f"{len(manifests)} of {len(found)} files", facts)
    is_in_place = all(manifest.path for manifest in manifests)
    if archive and not is_in_place and not all(manifest.is_from(archive) for manifest in manifests):
        return Stage("outdated", "of another archive", facts)
    return Stage("done", quantity(size, "B") + (" in place" if is_in_place else ""), facts)


def _staged(settings: Settings, connection: MysqlConnection, tables: _Tables) -> tuple[int | None, Stage]:
    """Give the number of the load that is complete, if one is, and how far the current one has come."""
    if tables.missing(settings.staging_database, _REGISTRY):
        return None, _NOT
    connection.select_db(settings.staging_database)
    load_id, partitions = current_partitions(connection)
    if load_id is None:
        return None, _NOT
    totals = load_totals(connection, load_id)
    num_loaded = sum(state == "loaded" for state in partitions.values())
    facts: dict[str, Any] = {
        "load_id": load_id,
        "partitions": num_loaded,
        "of_partitions": len(partitions),
        "rows": totals.num_rows,
        "structures": totals.num_structures,
        "rejects": totals.num_rejects,
    }
    if num_loaded < len(partitions):
        return None, Stage("partly", f"{num_loaded} of {len(partitions)} partitions", facts)
    if not has_loaded_features(connection, load_id):
        return None, Stage("partly", "all but the features", facts)
    if _is_replaced(settings, {partition.source_sha256 for partition in partitions}):
        return load_id, Stage("outdated", f"load {load_id}, of other files", facts)
    rejects = f", {totals.num_rejects:,} rejected" if totals.num_rejects else ""
    return load_id, Stage("done", f"load {load_id}: {quantity(totals.num_rows, 'rows')}{rejects}", facts)


def _is_replaced(settings: Settings, staged: set[str]) -> bool:
    """Whether other files than those in staging are unpacked now; files that were removed since are no others."""
    manifests = [read_manifest(settings.member_path(kind), verify=False) for kind in RECORD_KINDS]
    return any(one is not None and one.num_rows and one.sha256 not in staged for one in manifests)


def _built(settings: Settings, tables: _Tables, load_id: int | None, *, is_staged: bool, is_building: bool) -> Stage:
    missing = tables.missing(settings.database, CORE_TABLES)
    if len(missing) == len(CORE_TABLES):
        return _NOT
    made = [tables.present[settings.database, name] for name in CORE_TABLES if name not in missing]
    loads = {int(comment[1]) if (comment := _LOAD_COMMENT.search(text)) else None for _, text in made}
    times = [when for when, _ in made if when is not None]
    at = max(times).replace(tzinfo=UTC).isoformat() if times else None
    facts = {"tables": len(made), "loads": sorted(load for load in loads if load is not None), "at": at}
    if len(tables.missing(settings.database, _REPLACED)) < len(_REPLACED):
        return Stage("partly", "dbt run is at work" if is_building else "dbt run was stopped", facts)
    if missing:
        return Stage("partly", f"{len(made)} of {len(CORE_TABLES)} tables", facts)
    if len(loads) > 1:
        return Stage("partly", "from several loads", facts)
    (load,) = loads
    if load is None:
        return Stage("outdated", "from an unknown load", facts)
    return Stage("done" if load == load_id or not is_staged else "outdated", f"from load {load}", facts)


def _tested(run: RunOfTests | None, built: Stage) -> Stage:
    if run is None or built.state == "no":
        return _NOT
    facts = {**asdict(run), "ended_at": run.ended_at.isoformat()}
    counts = {"failed": run.num_failed, "passed": run.num_passed, "warned": run.num_warned}
    text = ", ".join(f"{number} {name}" for name, number in counts.items() if number or name == "passed")
    built_at = built.facts.get("at")
    if built_at and run.ended_at < datetime.fromisoformat(built_at):
        return Stage("outdated", "before the latest build", facts)
    if run.num_failed:
        return Stage("failed", text, facts)
    return Stage("partly", f"{text}, of some", facts) if run.is_selection else Stage("done", text, facts)


def _read_tables(connection: MysqlConnection, each: Sequence[Settings]) -> _Tables:
    databases = [name for one in each for name in (one.database, one.staging_database)]
    names = [*CORE_TABLES, *_REPLACED, *_REGISTRY, "test_run"]
    with connection.cursor() as cursor:
        cursor.execute(
            "select table_schema, table_name, create_time, table_comment from information_schema.tables"
            " where table_schema in %s and table_name in %s",
            (databases, names),
        )
        return _Tables({(str(row[0]), str(row[1])): (row[2], str(row[3])) for row in cursor.fetchall()})


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "100%"
