"""An export is whole, or it is not there; and it is of one load."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from export import __main__ as command
from export import job
from export.job import export
from export.reading import open_readers
from pipeline import published
from pipeline.errors import DatabaseError, PipelineError, UsageError
from pipeline.files import hold_lock
from pipeline.mysql import MysqlConnection, connect
from tests.integration.export.conftest import DATABASE, Tables
from tests.integration.export.test_round_trip import assert_the_tables_are_there, read_manifest

# Ends an export by SIGKILL at the n-th call of a function.
KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from export import job, parts

owner, name, call = {
    "first part": (parts.pq.ParquetWriter, "write_table", 1),
    "last part": (parts.pq.ParquetWriter, "write_table", 2),
    "spool": (parts.Spool, "remove", 1),
    "manifest": (job, "write_manifest", 1),
    "first rename": (Path, "rename", 1),
    "second rename": (Path, "rename", 2),
}[sys.argv[1]]
real, calls = getattr(owner, name), []

def die(*args, **kwargs):
    calls.append(1)
    if len(calls) == call:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)

setattr(owner, name, die)
choices = job.Choices(2, 1) if sys.argv[1] == "spool" else job.Choices()
job.export(pickle.load(sys.stdin.buffer), Path(sys.argv[2]), 2, choices)
"""


def kill_at(moment: str, tables: Tables, folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, moment, str(folder)],
        input=pickle.dumps(tables.settings),
        env=os.environ | {"PYTHONPATH": str(tables.settings.root)},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


@pytest.mark.parametrize("moment", ["first part", "last part", "spool", "manifest", "first rename"])
def test_a_killed_export_leaves_nothing_that_looks_whole_and_the_next_one_succeeds(
    tables: Tables, tmp_path: Path, moment: str
) -> None:
    kill_at(moment, tables, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []

    export(tables.settings, tmp_path / "out", 2)
    assert_the_tables_are_there(tables, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.lock"}


def test_a_killed_export_costs_no_older_one(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    export(tables.settings, folder, 1)
    kill_at("manifest", tables, folder)
    assert_the_tables_are_there(tables, folder)

    # Between the two renames neither has the name; the next run puts the old one back before it begins.
    kill_at("second rename", tables, folder)
    assert not folder.exists()
    monkeypatch.setattr(job, "open_readers", lambda *_: (_ for _ in ()).throw(DatabaseError("gone")))
    with pytest.raises(DatabaseError, match="gone"):
        export(tables.settings, folder, 1)
    assert_the_tables_are_there(tables, folder)


def test_dbt_cannot_replace_a_table_while_it_is_read(tables: Tables) -> None:
    with (
        open_readers(tables.settings, 1),
        closing(connect(tables.settings.mysql, database=DATABASE)) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("set session lock_wait_timeout = 1")
        for table in ("sample", "feature", "sample_feature", "common_feature_group"):
            with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
                cursor.execute(f"rename table `{table}` to swapped")


@contextmanager
def another_load(tables: Tables, table: str, comment: str) -> Iterator[None]:
    """A table built from another load in the place of the published one, with all foreign keys of it and to it."""
    ((made,),) = [row[1:] for row in tables.query(f"show create table `{table}`")]
    keys = [line.strip(" ,") for line in str(made).splitlines() if "FOREIGN KEY" in line]
    children = tables.query(
        "select table_name, constraint_name, column_name from information_schema.key_column_usage"
        " where table_schema = database() and referenced_table_name = %s",
        [table],
    )
    tables.query(f"create table {table}__next like `{table}`")
    tables.query(f"insert into {table}__next select * from `{table}`")
    tables.query(f"alter table {table}__next comment = '{comment}'")
    for key in keys:
        tables.query(f"alter table {table}__next add foreign key {key.partition('FOREIGN KEY')[2]}")
    tables.query(f"rename table `{table}` to {table}__old_1, {table}__next to `{table}`")
    for child, name, column in children:
        tables.query(f"alter table `{child}` drop foreign key {name}")
        tables.query(
            f"alter table `{child}` add constraint {name} foreign key ({column}) references {table} ({column})"
        )
    try:
        yield
    finally:
        for child, name, _ in children:
            tables.query(f"alter table `{child}` drop foreign key {name}")
        tables.query(f"rename table `{table}` to {table}__next, {table}__old_1 to `{table}`")
        tables.query(f"drop table {table}__next")
        for child, name, column in children:
            tables.query(
                f"alter table `{child}` add constraint {name} foreign key ({column}) references {table} ({column})"
            )


@pytest.mark.parametrize(
    ("comment", "loads"), [("built from load 2", "loads 1 and 2"), ("built by hand", "loads 1 and an unknown one")]
)
@pytest.mark.parametrize("table", ["sample", "common_feature_group"])
def test_tables_of_two_loads_are_refused_whatever_their_foreign_keys_say(
    tables: Tables, tmp_path: Path, table: str, comment: str, loads: str
) -> None:
    """As dbt leaves them between the swap of one and that of the others, or when it is killed there."""
    with (
        another_load(tables, table, comment),
        pytest.raises(
            DatabaseError,
            match=rf"^the tables of {DATABASE} are of {loads}, because dbt run is at work or was stopped:"
            r" run \S*dbt run --target test to its end, then the same command again$",
        ),
    ):
        export(tables.settings, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()

    export(tables.settings, tmp_path / "out", 1)
    assert read_manifest(tmp_path / "out")["load_id"] == 1


def test_readers_are_in_nobodys_way_who_waits_for_the_first_of_them(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is to be replaced between the first connection and the second is replaced at once."""
    real = published._looks
    begun: list[threading.Thread] = []
    swap = "rename table feature to feature__old_1, feature__old_1 to feature"

    def look(reader: MysqlConnection, statement: str, *, is_first: bool) -> bool:
        found = real(reader, statement, is_first=is_first)
        if is_first and not begun:
            begun.append(threading.Thread(target=tables.query, args=(swap,)))
            begun[0].start()
            while not tables.query("select 1 from information_schema.processlist where info = %s", [swap]):
                time.sleep(0.01)
            time.sleep(0.1)
        return found

    monkeypatch.setattr(published, "_looks", look)
    with open_readers(tables.settings, 3):
        begun[0].join(timeout=0)
        assert not begun[0].is_alive()


def test_a_row_that_is_changed_meanwhile_is_exported_as_it_was(tables: Tables, tmp_path: Path) -> None:
    change = "update sample_feature set feature_value = %s where sample_id = 4294967295 and feature_id = 0"

    def say(_line: str) -> None:
        tables.query(change, ["9.99"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "say", say)
        export(tables.settings, tmp_path / "out", 2)
    tables.query(change, ["0.10"])

    assert_the_tables_are_there(tables, tmp_path / "out")


def test_a_folder_with_something_else_is_left_alone(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "manifest.json").write_text("{}")
    for folder in (tmp_path / "thesis", tmp_path / "manifest.json", tmp_path):
        with pytest.raises(UsageError, match="holds something else than an export"):
            export(tables.settings, folder, 1)

    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_two_exports_into_one_folder_take_turns(tables: Tables, tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path / ".out.lock", "the other"),
        pytest.raises(PipelineError, match=r"another make export is writing to .*out \(process \d+\)"),
    ):
        export(tables.settings, tmp_path / "out", 1)


def test_tables_that_were_not_built_are_named(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no_such has no table or view sample: run make extract DATASET=test"):
        export(replace(tables.settings, database="no_such"), tmp_path / "out", 1)


def test_a_user_who_may_only_read_can_export(tables: Tables, tmp_path: Path) -> None:
    reader, password = "only_reads", "a Secret 1"
    tables.query(f"create user '{reader}' identified by '{password}'")
    tables.query(f"grant select on `{DATABASE}`.* to '{reader}'")
    try:
        mysql = replace(tables.settings.mysql, user=reader, password=password)
        export(replace(tables.settings, mysql=mysql), tmp_path / "out", 1)
    finally:
        tables.query(f"drop user '{reader}'")

    assert_the_tables_are_there(tables, tmp_path / "out")


def test_the_command_says_what_it_does_and_what_was_written(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.settings.load_settings", lambda **_: tables.settings)
    monkeypatch.setattr("pipeline.progress.SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setenv("OUTPUT", str(tmp_path / "out"))

    assert command.main([]) == 0

    printed = capsys.readouterr()
    counts = read_manifest(tmp_path / "out")["sample"]
    assert f"reading {DATABASE} of" in printed.out
    assert f"export of test: {counts['rows']:,} samples with {counts['features']:,} features" in printed.out
    assert f"  samples: {counts['rows']:,} of {counts['rows']:,} rows" in printed.err
    assert "rows/s, 0.0 s left" in printed.err
