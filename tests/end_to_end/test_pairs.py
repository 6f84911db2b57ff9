"""Any two commands at once, at moments spread over each other, one of them killed now and then: never a wrong table.

The oracle is plain Python over the lines of the source. Each pair is a test of its own, and can be repeated alone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
import yaml

from embedded.mysql_server import TcpOptions, start_mysql, stop_mysql
from embedded.s3_server import S3Server
from pipeline.mysql import connect
from pipeline.settings import Settings, load_settings
from spark_jobs.grammar import Record, parse_record
from tests.conftest import PASSWORD, USER
from tests.end_to_end import processes
from tests.end_to_end.conftest import environment_of
from tests.integration.dbt.staged_data import generate_load
from tests.integration.export.test_round_trip import FEATURES, read_features, read_manifest
from tests.ports import free_port
from tests.surroundings import copy_project, mysql_program
from tests.unit.extract.archives import COMMON, SKELETON, Entry, archive_of

pytestmark = pytest.mark.soak

COMMANDS: Mapping[str, list[str]] = {
    "extract": ["python", "-m", "extract"],
    "dbt": ["dbt", "--no-use-colors", "run"],
    "export": ["python", "-m", "export"],
    "report": ["python", "-m", "report"],
    "sample": ["python", "-m", "extract.sample"],
}
# Of a command's time, what it takes about to import and to start before it touches anything.
START_UP: Mapping[str, float] = {"extract": 0.15, "dbt": 0.5, "export": 0.5, "report": 0.4, "sample": 0.15}
MOMENTS = 4
PAIRS = [(*pair, moment) for pair in product(COMMANDS, COMMANDS) for moment in range(MOMENTS)]
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
LEFT_OVER = ("__next", "__old_1", "__dropped")
# What a line says that tells of the other command, or of what that has left for now.
NAMES: Mapping[str, str] = {name: f"make {name}" for name in COMMANDS} | {"dbt": "dbt run"}
SECONDS_TO_END = 180
_GOLDEN = 0.618034

Rows = set[tuple[object, ...]]
Tables = dict[str, Rows]


@dataclass(frozen=True)
class Archive:
    """An archive, and what the tables must hold of it.

    Attributes:
        content: its bytes.
        tables: the rows of each table.
    """

    content: bytes
    tables: Tables


def make_archive(seed: int, first_id: int) -> Archive:
    """An archive of 400 impressions, whose numbers begin somewhere, and 40 groups."""
    load = generate_load(num_samples=400, num_groups=40, seed=seed)
    names = {row[0]: row[1] for row in load["feature"]}
    lists: dict[object, list[str]] = defaultdict(list)
    for key, feature_id, value in load["sample_feature"] + load["common_feature_group"]:
        lists[key].append(f"{names[feature_id]}\x02{feature_id}\x03{value}")
    common = [",".join([str(row[0]), str(row[1]), "\x01".join(lists[row[0]])]) for row in load["common_feature"]]
    samples = [
        ",".join([str(first_id + number), *map(str, [*row[1:4], row[4]]), "\x01".join(lists[row[0]])])
        for number, row in enumerate(load["sample"])
    ]
    contents = {name: "".join(f"{line}\n" for line in lines) for name, lines in ((SKELETON, samples), (COMMON, common))}
    content = archive_of(*(Entry(name, text.encode()) for name, text in contents.items()))
    return Archive(content, expected_tables(contents[SKELETON].encode(), contents[COMMON].encode()))


def expected_tables(skeleton: bytes, common: bytes) -> Tables:
    """What the four tables hold of two files, by the plain parser."""
    tables: Tables = {"sample": set(), "feature": set(), "sample_feature": set(), "common_feature_group": set()}
    for line in skeleton.splitlines():
        record = parse_record(line, "sample")
        assert isinstance(record, Record)
        number, click, conversion, index, _ = record.columns
        tables["sample"].add((int(number), int(click), int(conversion), index.decode()))
        add_structures(tables, "sample_feature", int(number), record)
    for line in common.splitlines():
        record = parse_record(line, "common_feature")
        assert isinstance(record, Record)
        add_structures(tables, "common_feature_group", record.columns[0].decode(), record)
    return tables


def add_structures(tables: Tables, table: str, key: object, record: Record) -> None:
    for structure in record.structures:
        tables[table].add((key, int(structure.feature_id), structure.feature_value.decode()))
        tables["feature"].add((int(structure.feature_id), structure.feature_name.decode()))


@dataclass(frozen=True)
class Ended:
    """How a command of a pair ended.

    Attributes:
        code: what the command returned; that of a signal is negative.
        killed_by: the signal that it got before its end.
        said: all that it printed.
    """

    name: str
    code: int
    killed_by: signal.Signals | None
    said: str

    @property
    def text(self) -> str:
        """In a few words."""
        killed = f" by {self.killed_by.name}" if self.killed_by else ""
        return f"{self.name} {self.code}{killed}" + ("" if self.code == 0 else f" ({self.line[:150]})")

    @property
    def line(self) -> str:
        """The line that tells why it ended."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith("error: ") or any(name in line for name in NAMES.values())]
        return (told or lines or [""])[-1]


@dataclass
class Job:
    """A copy of the project over one server, whose archive in S3 is replaced again and again.

    Attributes:
        archives: by name.
        current: the archive that is in S3.
        of_load: the archive of each load.
        seconds: how long each command takes alone.
    """

    project: Path
    environ: dict[str, str]
    settings: Settings
    put: Callable[[bytes], object]
    archives: Mapping[str, Archive]
    current: str = "B"
    of_load: dict[int, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    seeds: Iterator[int] = field(default_factory=count)

    def replace_the_archive(self) -> None:
        self.current = "B" if self.current == "A" else "A"
        self.put(self.archives[self.current].content)

    def start(self, name: str, log: Path, *, by_make: bool = False) -> subprocess.Popen[bytes]:
        program, *arguments = COMMANDS[name]
        command = [str(self.project / ".venv/bin" / program), *arguments]
        if by_make and name != "dbt":
            command = ["make", name]
        # Another sample each time: the one that is there would not be drawn again.
        environ = self.environ | ({"SEED": str(next(self.seeds))} if name == "sample" else {})
        return processes.start(command, self.project, environ, log)

    def run(self, name: str, log: Path) -> Ended:
        """Run a command that nothing disturbs."""
        process = self.start(name, log)
        process.wait(SECONDS_TO_END)
        return Ended(name, process.returncode, None, said(log))

    def succeed(self, name: str, log: Path) -> None:
        begun = time.monotonic()
        ended = self.run(name, log)
        assert ended.code == 0, f"{name} alone ended with {ended.code}:\n{ended.said}"
        self.seconds[name] = time.monotonic() - begun

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with (
            closing(connect(self.settings.mysql, database=self.settings.database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def staged_load(self) -> tuple[int | None, bool]:
        """The load that the registry holds, and whether it is whole."""
        staging = self.settings.staging_database
        ((load_id, unfinished),) = self.query(
            f"select max(load_id), sum(state <> 'loaded') from {staging}.load_partition where state <> 'superseded'"
        )
        if load_id is None:
            return None, False
        features = self.query(f"select 1 from {staging}.feature_load where load_id = %s", load_id)
        return int(load_id), not unfinished and bool(features)

    def note_load(self) -> None:
        load_id, _ = self.staged_load()
        if load_id is not None:
            self.of_load.setdefault(load_id, self.current)

    def published_load(self) -> int:
        """The one load of the four tables, which are whole and have nothing beside them."""
        found = self.query(
            "select table_name, table_comment from information_schema.tables"
            " where table_schema = database() and table_type = 'BASE TABLE'"
        )
        names = {str(name) for name, _ in found}
        assert [name for name in names if name.endswith(LEFT_OVER)] == []
        loads = {str(comment) for name, comment in found if name in self.archives["A"].tables}
        assert len(loads) == 1, f"the tables are of several loads: {found}"
        load_id = int(loads.pop().removeprefix("built from load "))
        expected = self.archives[self.of_load[load_id]].tables
        for table, rows in expected.items():
            assert set(self.query(f"select * from `{table}`")) == rows, f"{table} is not of load {load_id}"
        parents = self.query(
            "select table_name, referenced_table_name from information_schema.key_column_usage"
            " where table_schema = database() and referenced_table_name is not null"
        )
        children = {("sample_feature", "sample"), ("sample_feature", "feature"), ("common_feature_group", "feature")}
        assert {*parents} == children
        return load_id

    def require_staged(self, load_id: int) -> None:
        """Staging holds a load, row for row."""
        expected = self.archives[self.of_load[load_id]].tables
        for table, columns in (
            ("sample", "sample_id, click_label, conversion_label, common_feature_index"),
            ("feature", "*"),
            ("sample_feature", "*"),
            ("common_feature_group", "*"),
        ):
            rows = self.query(f"select {columns} from {self.settings.staging_database}.`{table}`")
            assert len(rows) == len(expected[table])
            assert set(rows) == expected[table], f"staged {table}"

    def exported_load(self) -> int:
        """The load of the export that is there, which holds all of it and nothing else."""
        folder = self.settings.export_folder
        if not folder.exists():  # killed between two renames: the next one puts the old one back
            folder = folder.with_name(f".{folder.name}.replaced")
        load_id = int(read_manifest(folder)["load_id"])
        expected = self.archives[self.of_load[load_id]].tables
        fields = {row[0]: row[1] for row in expected["feature"]}
        for side, table in FEATURES.items():
            found = read_features(folder, side)
            assert len(found) == len(expected[table])
            assert set(found) == {(key, fields[number], number, value) for key, number, value in expected[table]}
        own = ["sample_id", "click_label", "conversion_label", "common_feature_index"]
        rows = pq.read_table(folder / "sample", columns=own).to_pylist()
        assert {tuple(row.values()) for row in rows} == expected["sample"]
        return load_id

    def require_report(self) -> None:
        page = (self.project / "target/report" / f"{self.settings.database}.html").read_text()
        assert "400 impressions with all of their features" in " ".join(page.split())
        assert page.rstrip().endswith("</html>")
        assert "✗ differ" not in page


def said(log: Path) -> str:
    return log.read_text(errors="replace") + log.with_suffix(".err").read_text(errors="replace")


@pytest.fixture(scope="module")
def archives() -> Mapping[str, Archive]:
    """Two archives without an impression or a group in common."""
    found = {"A": make_archive(1, 1), "B": make_archive(2, 1_000_001)}
    assert not found["A"].tables["sample"] & found["B"].tables["sample"]
    return found


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def job(
    request: pytest.FixtureRequest,
    s3: S3Server,
    archives: Mapping[str, Archive],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Job]:
    """The job over the embedded MySQL, and over a MariaDB of one's own, after one undisturbed run of each command."""
    kind: str = request.param
    project = copy_project(tmp_path_factory.mktemp(f"pairs_{kind}"))
    declared = yaml.safe_load((project / "pipeline.yml").read_text())
    declared["source"]["bucket"] = bucket = f"pairs-{kind}"
    declared["extract"][2] |= {"partition_size": "16 KiB"}
    (project / "pipeline.yml").write_text(yaml.safe_dump(declared, sort_keys=False))
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access.access_key_id,
        aws_secret_access_key=s3.access.secret_access_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    environ = environment_of(project) | {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3.access.secret_access_key,
    }
    base = tmp_path_factory.mktemp("own") if kind == "mariadb" else None
    if base:
        tcp = TcpOptions(port=free_port(), user=USER, password=PASSWORD)
        start_mysql(mysql_program("mariadb"), base, tcp=tcp)
        address = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(tcp.port)}
        environ |= {**address, "MYSQL_USER": USER, "MYSQL_PASSWORD": PASSWORD}
    settings = load_settings(root=project, environ=environ)

    def put(content: bytes) -> object:
        return client.put_object(Bucket=bucket, Key=settings.archive_key, Body=content)

    job = Job(project, environ, settings, put, archives)
    log = project / "alone.log"
    subprocess.run(["make", "up"], cwd=project, env=environ, check=True)
    for _ in range(2):  # the second time they have all that they keep
        job.replace_the_archive()
        for name in COMMANDS:
            job.succeed(name, log)
        job.note_load()
    job.require_report()
    print(f"\nalone, seconds: { ({name: round(seconds, 1) for name, seconds in job.seconds.items()}) }")
    yield job
    if base:
        stop_mysql(base)
    subprocess.run(["make", "down"], cwd=project, env=environ, check=True)


def begin_of_work(job: Job, name: str, share: float) -> float:
    """Seconds from the start of a command until a share of its work is done."""
    return job.seconds[name] * (START_UP[name] + share * (1 - START_UP[name]))


def disturb(job: Job, number: int, logs: Path, offset: int) -> tuple[list[Ended], str]:
    """Start both commands of a pair, the second's work at a moment of the first's, and kill one of them, or none."""
    *names, moment = PAIRS[number]
    starts = [0.0, begin_of_work(job, names[0], (moment + 0.5) / MOMENTS) - begin_of_work(job, names[1], 0.0)]
    starts = [start - min(starts) for start in starts]
    turn, is_killed = divmod(number + offset, 3)
    victim = turn % 2 if is_killed == 0 else None
    which = SIGNALS[turn // 2 % 3]
    events = [(start, "start", index) for index, start in enumerate(starts)]
    if victim is not None:
        at = begin_of_work(job, names[victim], number * _GOLDEN % 1)
        events.append((starts[victim] + at, "kill", victim))
    plan = ", ".join(f"{what} {names[index]} at {at:.1f} s" for at, what, index in sorted(events))
    running: dict[int, subprocess.Popen[bytes]] = {}
    killed_by: dict[int, signal.Signals] = {}
    paths = [logs / f"{index}-{name}.log" for index, name in enumerate(names)]
    begun = time.monotonic()
    for at, what, index in sorted(events):
        time.sleep(max(0.0, begun + at - time.monotonic()))
        if what == "start":
            running[index] = job.start(names[index], paths[index], by_make=moment == MOMENTS - 1)
        elif running[index].poll() is None:
            killed_by[index] = which
            with suppress(ProcessLookupError):
                os.killpg(running[index].pid, which)
    for process in running.values():
        process.wait(SECONDS_TO_END)
        processes.wait_for_none(process.pid, seconds=10)
    ended = [
        Ended(name, running[index].returncode, killed_by.get(index), said(paths[index]))
        for index, name in enumerate(names)
    ]
    return ended, plan


def without_pythons_own(said: str) -> str:
    """What was said, without the traceback of a Ctrl-C that came before Python ran a function of the project."""
    ours = re.compile(
        r'File "[^"]*/(?:embedded|export|extract|pipeline|report|spark_jobs)/[^"]*", line \d+, in (?!<module>)'
    )
    return re.sub(
        r"Traceback \(most recent call last\):\n(?:  .*\n)+KeyboardInterrupt\n",
        lambda found: found[0] if ours.search(found[0]) else "",
        said,
    )


def require_told(ended: Ended, other: str) -> None:
    """A command that was not killed has succeeded, or names the other in one line."""
    if ended.killed_by is signal.SIGKILL or (ended.killed_by and ended.name == "dbt"):
        return  # dbt answers Ctrl-C as it likes
    said = without_pythons_own(ended.said) if ended.killed_by is signal.SIGINT else ended.said
    assert "Traceback" not in said, f"{ended.text}:\n{ended.said}"
    if ended.killed_by is None and ended.code != 0:
        assert ended.code in (1, 2), f"{ended.text}:\n{ended.said}"  # make's own is 2
        # What a make extract has left is for dbt run.
        is_told = NAMES[other] in ended.line or (other == "extract" and "_staging holds load" in ended.line)
        assert is_told, f"{ended.text}:\n{ended.said}"
        assert ended.said.count("error: ") <= 1, f"{ended.text}:\n{ended.said}"


@pytest.mark.parametrize(
    "number", range(len(PAIRS)), ids=[f"{first}-{second}-{moment}" for first, second, moment in PAIRS]
)
def test_two_commands_at_once_never_give_a_wrong_table(
    job: Job, number: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    names = PAIRS[number][:2]
    if "extract" in names:
        job.replace_the_archive()
    begun = time.monotonic()

    ended, plan = disturb(job, number, tmp_path, offset="mariadb" in request.node.name)
    job.note_load()
    before = job.staged_load()
    print(f"\n{plan}; {'; '.join(one.text for one in ended)}; staged {before}", end="", flush=True)

    for one, other in zip(ended, reversed(names), strict=True):
        require_told(one, other)
    log = tmp_path / "alone.log"
    if any(one.name == "dbt" and one.code != 0 for one in ended):
        alone = job.run("dbt", log)
        require_told(alone, "extract")
        assert (alone.code == 0) is before[1], f"{alone.text}:\n{alone.said}"
    published = job.published_load()
    exported = job.exported_load()
    job.require_report()
    print(f", published {published}, exported {exported}", end="")
    if "extract" in names and not (before[1] and all(one.code == 0 for one in ended if one.name == "extract")):
        alone = job.run("extract", log)
        assert alone.code == 0, f"{alone.text}:\n{alone.said}"
        job.note_load()
    load_id, is_whole = job.staged_load()
    assert load_id is not None
    assert is_whole
    assert job.of_load[load_id] == job.current
    job.require_staged(load_id)
    if published != load_id:
        # For the next pair.
        assert job.run("dbt", log).code == 0, said(log)
        assert job.published_load() == load_id
    print(f"; then {load_id}, {time.monotonic() - begun:.1f} s")
