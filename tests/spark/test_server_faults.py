"""The whole job when the server goes away under it."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DatabaseError, PipelineError
from pipeline.registry import current_partitions, open_registry, supersede_load
from pipeline.settings import load_settings
from spark_jobs.explode_features import run_step
from spark_jobs.staging import empty_staging_tables
from tests.servers import FragileServer
from tests.spark.test_explode_features import NUM_GROUPS, group, rows, sample, unpack

pytestmark = pytest.mark.soak

NUM_SAMPLES = 5_000
PARTITIONS = 16 << 10


@pytest.mark.parametrize("fragile", ["mysql"], indirect=True)
def test_a_server_killed_in_the_middle_of_the_job_costs_what_was_not_committed_and_nothing_else(
    fragile: FragileServer, root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(
        load_settings(root=root, environ={}),
        mysql=fragile.settings,
        database="deepcvr_spark",
        unpacked_folder=tmp_path,
        spark_master="local[2]",
    )
    with closing(open_registry(settings)) as registry:
        supersede_load(registry)
        empty_staging_tables(registry)
        unpack(settings, registry, "sample", [sample(number) for number in range(1, NUM_SAMPLES + 1)])
        unpack(settings, registry, "common_feature", [group(number) for number in range(NUM_GROUPS)])

    killed = threading.Thread(target=kill_after_some_partitions, args=(fragile,))
    killed.start()
    with pytest.raises(PipelineError) as caught:
        run_step(settings, PARTITIONS)
    killed.join()
    message = str(caught.value)
    assert "\n" not in message
    assert "the connection was lost: run the same command again" in message or "no MySQL server answers" in message
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(DatabaseError, match=r"no MySQL server answers at 127\.0\.0\.1"):
        run_step(settings, PARTITIONS)

    fragile.start()
    with closing(open_registry(settings)) as registry:
        load_id, states = current_partitions(registry)
        landed = rows(registry, "select partition_number, loaded_at from load_partition where state = 'loaded'")
        assert "planned" in states.values()
        assert len(landed) >= 5

        assert f" in {list(states.values()).count('planned')} partitions" in run_step(settings, PARTITIONS).result

        assert current_partitions(registry) == (load_id, dict.fromkeys(states, "loaded"))
        again = rows(registry, "select partition_number, loaded_at from load_partition where state = 'loaded'")
        assert set(landed) <= set(again)
        assert rows(registry, "select * from sample_feature order by sample_id, feature_id") == [
            row
            for number in range(1, NUM_SAMPLES + 1)
            for row in [(number, 4_190_000 + number, "1.0"), (number, 9_354_000 + number, "0.69315")]
        ]
        assert rows(registry, "select sample_id from sample order by 1") == [(n,) for n in range(1, NUM_SAMPLES + 1)]
        assert rows(registry, "select * from common_feature_group order by feature_id") == [
            (f"{number:016x}", number + 1, "1.0") for number in range(NUM_GROUPS)
        ]


def kill_after_some_partitions(server: FragileServer) -> None:
    state = "select count(*) from deepcvr_spark_staging.load_partition where state = 'loaded'"
    while server.as_root(state)[0][0] < 5:
        time.sleep(0.02)
    server.kill()
