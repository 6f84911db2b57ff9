"""How many rows a second one MySQL server takes from 1, 2 and 4 tasks at once: `python -m benchmarks.concurrency`.

The figures of docs/scale.md. Everything is on one machine, so that the tasks take processor time from the server.
"""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("benchmarks.concurrency")

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.job import seconds_of_report
from benchmarks.workspace import Workspace, mysql_server, workspace
from embedded.mysql_server import find_mysql
from embedded.programs import Kind
from embedded.source_data.files import write_csvs
from pipeline.cli import command_parser, run_command, say
from pipeline.landed import Asset, write_manifest
from pipeline.lines import Lines
from pipeline.mysql import connect
from pipeline.registry import load_totals, open_registry, record_asset
from pipeline.settings import RECORD_KINDS, MysqlSettings, Settings, load_settings
from spark_jobs.explode_features import DEFAULT_PARTITION_SIZE, run_step

_TASKS = (1, 2, 4)


def measure(place: Workspace, kind: Kind, scale: float) -> Iterator[str]:
    """Land the same files by different numbers of tasks, and give a row of a table for each.

    Args:
        place: where the server and the files are.
        kind: MySQL or MariaDB.
        scale: the files' share of the full size.
    """
    unpacked = place.folder / "unpacked"
    unpacked.mkdir()
    write_csvs(unpacked, "train", scale=scale)
    base = place.folder / "server"
    with mysql_server(place, base, kind) as mysql:
        server = find_mysql(base)
        assert server is not None  # noqa: S101 - for the type checker
        settings = replace(load_settings(root=place.root, environ={}), mysql=mysql, unpacked_folder=unpacked)
        _record(settings)
        for tasks in _TASKS:
            before = _cpu_seconds(server.pid)
            run = replace(settings, spark_master=f"local[{tasks}]", force=True)
            report = run_step(run, DEFAULT_PARTITION_SIZE).result
            cpu_seconds = _cpu_seconds(server.pid) - before
            seconds, num_rows = seconds_of_report(report), _num_rows(settings)
            yield (
                f"| {tasks} | {num_rows:,} | {seconds:.1f} | {num_rows / seconds:,.0f} | {cpu_seconds:.1f} |"
                f" {_most_connections(mysql)} |"
            )


def _record(settings: Settings) -> None:
    """Record the files as unpacking would."""
    with closing(open_registry(settings)) as registry:
        for kind in RECORD_KINDS:
            path = settings.member_path(kind)
            content = path.read_bytes()
            lines = Lines(len(content))
            lines.update(content)
            asset = Asset(
                settings.member_uri(kind),
                "",
                len(content),
                datetime.now(UTC),
                hashlib.sha256(content).hexdigest(),
                lines.num_lines,
                marks=lines.marks,
            )
            write_manifest(path, asset)
            record_asset(registry, asset)


def _num_rows(settings: Settings) -> int:
    with closing(open_registry(settings)) as registry, registry.cursor() as cursor:
        cursor.execute("select max(load_id) from load_partition")
        row = cursor.fetchone()
        totals = load_totals(registry, int(row[0]) if row else 0)
        cursor.execute("select count(*) from feature")
        features = cursor.fetchone()
    return totals.num_rows + totals.num_structures + (int(features[0]) if features else 0)


def _most_connections(mysql: MysqlSettings) -> int:
    """Read the most connections at once since the last call, with that of this call."""
    with closing(connect(mysql)) as connection, connection.cursor() as cursor:
        cursor.execute("show global status like 'Max_used_connections'")
        row = cursor.fetchone()
        cursor.execute("flush status")
        return int(row[1]) if row else 0


def _cpu_seconds(pid: int) -> float:
    """Read the processor time that a process has taken. Source: man proc_pid_stat, utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the command and give its exit code."""
    parser = command_parser(
        "python -m benchmarks.concurrency",
        str(__doc__),
        examples="  python -m benchmarks.concurrency --scale 0.01\n",
    )
    parser.add_argument("--scale", type=float, default=0.003, help="share of the full size (default: 0.003)")
    parser.add_argument("--server", choices=("mysql", "mariadb"), default="mysql")
    options = parser.parse_args()

    def run() -> None:
        say("| tasks | rows | seconds | rows/s | the server's CPU seconds | most connections |")
        with workspace(Path(__file__).resolve().parents[1]) as place:
            for row in measure(place, options.server, options.scale):
                say(row)

    return run_command(
        run,
        verbose=options.verbose,
        interrupted="the server of the run is being stopped, and its folder is removed",
        grace_seconds=60,
    )
