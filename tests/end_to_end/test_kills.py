"""`make extract` killed at moments spread over all of it: the next one, and `dbt build`, make up for it completely."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from embedded.mysql_server import connect_as_root, find_mysql
from embedded.s3_server import S3Server
from tests.end_to_end import processes
from tests.end_to_end.conftest import environment_of
from tests.end_to_end.processes import Target
from tests.integration.extract.proxy import proxy_to
from tests.surroundings import copy_project

pytestmark = pytest.mark.soak

NUM_KILLS = 30
SCALE = "0.0002"
TABLES = ("sample", "feature", "sample_feature", "common_feature_group")
DATABASE = "deepcvr_development_train"
BUCKET = "kills"
WAYS: list[tuple[signal.Signals, Target]] = [
    (signal.SIGINT, "all"),
    (signal.SIGTERM, "all"),
    (signal.SIGKILL, "all"),
    (signal.SIGKILL, "main"),
    (signal.SIGINT, "main"),
    (signal.SIGTERM, "main"),
]
# A Python that has only just been started, by its processor time, knows nothing of the project and ends as Python does.
SECONDS_TO_WAKE = 0.2

Checksums = dict[str, tuple[int, int]]


@dataclass
class Job:
    """A copy of the project whose archive in S3 is replaced again and again by one with other data."""

    project: Path
    environ: dict[str, str]
    client: Any
    archives: Iterator[tuple[str, Path]]
    seconds: float = 0.0
    undisturbed: dict[str, Checksums] = field(default_factory=dict)

    def replace_the_archive(self) -> str:
        name, path = next(self.archives)
        self.client.upload_file(str(path), BUCKET, "development/taobao_train.tar.gz")
        return name

    def type(self, line: str) -> str:
        """Run a line that must end well, and give what it printed."""
        ended = subprocess.run(
            ["bash", "-c", f". .venv/bin/activate; {line}"],
            cwd=self.project,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{line} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def checksums(self) -> Checksums:
        """The number of rows and the checksum of each table."""
        found = {}
        with connect_as_root(self.project / ".embedded") as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"select count(*) from {DATABASE}.{table}")
                (count,) = cursor.fetchone() or (0,)
                cursor.execute(f"checksum table {DATABASE}.{table} extended")
                (_, checksum) = cursor.fetchone() or ("", None)
                assert checksum is not None
                found[table] = (int(count), int(checksum))
        return found


@pytest.fixture(scope="module")
def job(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """The job after one undisturbed run with each of two archives."""
    project = copy_project(tmp_path_factory.mktemp("killed"))
    declared = yaml.safe_load((project / "pipeline.yml").read_text())
    declared["source"]["bucket"] = BUCKET
    declared["extract"][0] |= {"part_size": "64 KiB"}
    declared["extract"][2] |= {"partition_size": "256 KiB"}
    (project / "pipeline.yml").write_text(yaml.safe_dump(declared, sort_keys=False))

    def slow(_connection: int, _before: int, data: bytes) -> bytes:
        time.sleep(0.06)
        return data

    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access.access_key_id,
        aws_secret_access_key=s3.access.secret_access_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    archives = [(name, project / f"{name}.tar.gz") for name in ("first", "second")]
    with proxy_to(s3.endpoint_url, slow) as proxy:
        environ = environment_of(project) | {
            "AWS_ENDPOINT_URL": proxy.endpoint_url,
            "AWS_ACCESS_KEY_ID": s3.access.access_key_id,
            "AWS_SECRET_ACCESS_KEY": s3.access.secret_access_key,
        }
        job = Job(project, environ, client, itertools.cycle(archives))
        for seed, (_, path) in enumerate(archives):
            job.type(f"python -m embedded generate --dataset train --scale {SCALE} --seed {seed} --output {path}")
        for _ in range(2):
            name = job.replace_the_archive()
            begun = time.monotonic()
            job.type("make extract")
            job.seconds = time.monotonic() - begun
            job.type("dbt build")
            job.undisturbed[name] = job.checksums()
        assert job.undisturbed["first"] != job.undisturbed["second"]
        print(f"\nundisturbed: {job.seconds:.1f} s of make extract; {job.undisturbed}")
        yield job
        job.type("make down")


@pytest.mark.parametrize("number", range(NUM_KILLS))
def test_an_extract_killed_at_any_moment_is_made_up_for_by_the_next_one(job: Job, number: int, tmp_path: Path) -> None:
    which, target = WAYS[number % len(WAYS)]
    log = tmp_path / "extract.log"
    while True:
        name = job.replace_the_archive()
        begun = time.monotonic()
        make = processes.start(["make", "extract"], job.project, job.environ, log)
        after = job.seconds * (number + 0.5) / NUM_KILLS
        time.sleep(after)
        if make.poll() is None:
            break
        assert make.returncode == 0, log.with_suffix(".err").read_text()
        job.seconds = 0.95 * (time.monotonic() - begun)  # the machine has become quicker since
    killed = processes.kill(make, which, target, log)
    said = log.read_text().splitlines()

    assert make.returncode != 0, killed
    if which is signal.SIGINT and killed.seconds > SECONDS_TO_WAKE:
        assert killed.seconds_to_answer is not None, killed
        assert killed.seconds_to_answer < 1, killed
        assert "same command" in killed.errors
    if killed.seconds > SECONDS_TO_WAKE:
        assert "Traceback" not in killed.errors
    if which is not signal.SIGKILL and "-m extract" in killed.main and killed.seconds > SECONDS_TO_WAKE:
        assert killed.left == [], killed
    # After SIGKILL nobody is there to end the rest, which ends by itself; the next run does not wait for that.
    printed = job.type("make extract && dbt build")
    assert processes.wait_for_none(make.pid, seconds=5) == []
    server = find_mysql(job.project / ".embedded")
    assert server
    others = [process for process in processes.processes_that_name(job.project) if process.pid != server.pid]
    assert others == []

    continued = [line for line in printed.splitlines() if line.startswith(("[", "the download"))]
    print(
        f"\n{number}: {which.name} to {target} after {after:.1f} of {job.seconds:.1f} s, during {killed.main[-40:]!r}"
        f" ({said[-1][:60] if said else 'nothing said'!r}), answered after {killed.seconds_to_answer}, ended after"
        f" {killed.seconds_to_end:.2f} s, {len(killed.left)} left; then {[line[:60] for line in continued]}"
    )
    assert job.checksums() == job.undisturbed[name]
