"""Records that contradict others, through the whole job: real Spark, real servers, real files."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.mysql import MysqlConnection
from pipeline.settings import MysqlSettings, Settings, load_settings
from spark_jobs.explode_features import DEFAULT_PARTITION_SIZE, run_step
from tests.contradictions import Expected, contradicting_files, expect
from tests.spark.test_explode_features import rows, unpack
from tests.spark_cluster import SparkCluster
from tests.surroundings import spark_environment

JOB = """
import pickle, sys
from spark_jobs.explode_features import run_step
run_step(*pickle.load(sys.stdin.buffer))
"""


@pytest.fixture
def settings(mysql: MysqlSettings, root: Path, tmp_path: Path) -> Settings:
    return replace(
        load_settings(root=root, environ={}), mysql=mysql, database="deepcvr_contradictions", unpacked_folder=tmp_path
    )


def unpack_contradictions(settings: Settings, registry: MysqlConnection, seed: int, num_samples: int = 300) -> Expected:
    samples, groups = contradicting_files(random.Random(seed), num_samples)
    unpack(settings, registry, "sample", samples)
    unpack(settings, registry, "common_feature", groups)
    return expect(samples, groups)


def landed(registry: MysqlConnection) -> Expected:
    samples = "select sample_id, click_label, conversion_label, common_feature_index from sample order by 1"
    return Expected(
        samples=rows(registry, samples),
        sample_features=rows(registry, "select * from sample_feature order by 1, 2"),
        groups=rows(registry, "select common_feature_index, num_features from common_feature order by 1"),
        group_features=rows(registry, "select * from common_feature_group order by 1, 2"),
        features=rows(registry, "select feature_id, feature_name from feature order by 1, 2"),
        rejects=rows(registry, "select source_file, line_number, reason, record from rejected_record order by 1, 2"),
    )


@contextmanager
def job(settings: Settings, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The job in a process of its own."""
    call = (replace(settings, spark_master=environment["SPARK_MASTER"]), 2 << 10)
    command, inherited = [sys.executable, "-c", JOB], spark_environment()
    with subprocess.Popen(
        command, cwd=settings.root, env={**inherited, **environment}, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write(pickle.dumps(call))
        process.stdin.close()
        yield process


@pytest.mark.parametrize(
    ("seed", "partition_size", "master"),
    [(0, 300, "local[8]"), (1, 4 << 10, "local[2]"), (2, 1 << 20, "local[1]")],
)
def test_whatever_contradicts_another_record_is_rejected_however_the_files_are_cut(
    settings: Settings, registry: MysqlConnection, seed: int, partition_size: int, master: str
) -> None:
    expected = unpack_contradictions(settings, registry, seed)
    run_step(replace(settings, spark_master=master), partition_size)

    assert landed(registry) == expected


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 40))
def test_no_mixture_of_contradictions_is_decided_otherwise(
    settings: Settings, registry: MysqlConnection, seed: int
) -> None:
    chance = random.Random(seed)
    expected = unpack_contradictions(settings, registry, seed, num_samples=chance.choice([10, 300, 2000]))
    master, size = f"local[{chance.choice([1, 2, 8])}]", chance.choice([200, 1 << 10, 16 << 10, 1 << 20])
    run_step(replace(settings, spark_master=master), size)

    assert landed(registry) == expected


@pytest.mark.parametrize("mysql", ["mysql"], indirect=True)
def test_executors_in_a_cluster_decide_alike(
    settings: Settings, registry: MysqlConnection, spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    expected = unpack_contradictions(settings, registry, seed=3)
    with job(settings, spark_cluster.environment(tmp_path)) as process:
        assert process.wait(200) == 0

    assert landed(registry) == expected


@pytest.mark.soak
def test_a_run_killed_again_and_again_decides_alike(settings: Settings, registry: MysqlConnection) -> None:
    expected = unpack_contradictions(settings, registry, seed=4, num_samples=2000)
    chance, num_killed = random.Random(4), 0
    while True:
        with job(settings, {"SPARK_MASTER": "local[2]"}) as process:
            try:
                assert process.wait(chance.uniform(4, 8) + num_killed) == 0
                break
            except subprocess.TimeoutExpired:
                process.kill()
                num_killed += 1

    assert num_killed > 1
    assert landed(registry) == expected


@pytest.mark.parametrize("mysql", ["mysql"], indirect=True)
def test_a_run_tells_what_it_lands_again_and_a_second_one_changes_nothing(
    settings: Settings, registry: MysqlConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = unpack_contradictions(settings, registry, seed=1)
    repeats = sum("earlier line" in reason for _, _, reason, _ in expected.rejects)
    first = run_step(settings, DEFAULT_PARTITION_SIZE).result
    printed = capsys.readouterr().out
    second = run_step(settings, DEFAULT_PARTITION_SIZE).result

    assert (
        f"  {repeats:,} records repeat the key of an earlier line, and are rejected: what they are among is" in printed
    )
    assert f"{len(expected.rejects):,} rejected records in 2 partitions" in first
    assert second.startswith("skipped: ")
    assert landed(registry) == expected
