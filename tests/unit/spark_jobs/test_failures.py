"""The line that a Spark job ends with, from what Spark says in each case."""

from __future__ import annotations

from pathlib import Path

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError

from spark_jobs.failures import explained_failure

LESS_MEMORY = "free memory, or use fewer cores by SPARK_MASTER='local[1]', then run the same command again"
CALL = "An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.\n: "
LOST = (
    f"{CALL}org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed 4 times,"
    " most recent failure: Lost task 1.3 in stage 0.0 (TID 6) (192.0.2.2 executor driver): "
)
RAISED = (
    f'{CALL}org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n  File "x.py", line 1\n'
)


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (Py4JNetworkError("Answer from Java side is empty"), "Spark's JVM ended in the middle of the job", LESS_MEMORY),
        (Py4JError("Answer from Java side is empty"), "Spark's JVM ended in the middle of the job", LESS_MEMORY),
        (ConnectionRefusedError(111, "Connection refused"), "Spark's JVM ended in the middle of the job", LESS_MEMORY),
        (
            Py4JError(f"{LOST}org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider"),
            "Spark's Python workers ended again and again, most likely killed for want of memory",
            LESS_MEMORY,
        ),
        (
            Py4JError(f"{LOST}ExecutorLostFailure (executor 1 exited) Reason: Command exited with code 137\n"),
            "Spark's executors were lost again and again",
            "(spark.executor.memory)",
        ),
        (Py4JError(f"{RAISED}MemoryError\n\n\tat org.apache.spark"), "MemoryError: free", LESS_MEMORY),
        (
            Py4JError(f"{CALL}java.lang.OutOfMemoryError: Java heap space\n\tat x"),
            "java.lang.OutOfMemoryError: Java heap space",
            LESS_MEMORY,
        ),
        (
            Py4JError(f"{CALL}java.io.IOException: No space left on device\n\tat x"),
            "a disk is full, most likely that of temporary files (/elsewhere, or spark.local.dir)",
            "name another folder by TMPDIR",
        ),
        (
            Py4JError(f"{RAISED}OSError: [Errno 28] No space left on device: '/drawn/sample-000001'\n"),
            "'/drawn/sample-000001': a disk is full",
            "make room there",
        ),
        (
            Py4JError(f"{RAISED}OSError: [Errno 5] Input/output error: '/data/sample.csv'\n"),
            "[Errno 5] Input/output error: '/data/sample.csv'",
            "check that file and its disk, on every machine where Spark runs tasks",
        ),
        (Py4JError(f"{RAISED}pipeline.errors.PipelineError: a.csv: broken: check it\n"), "a.csv: broken: check it", ""),
    ],
)
def test_a_failure_is_told_with_its_cause_and_its_remedy(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str, remedy: str
) -> None:
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    told = str(explained_failure(error, Path("spark.log")))

    assert cause in told
    assert remedy in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Py4JError(f"{CALL}java.lang.IllegalStateException: odd\n\tat x"), "java.lang.IllegalStateException: odd"),
        # In a task it is the network's, and no word of the JVM beside it.
        (Py4JError(f"{RAISED}ConnectionRefusedError: [Errno 111] Connection refused\n"), "ConnectionRefusedError: "),
        (ValueError(), "ValueError"),
    ],
)
def test_what_nobody_knows_a_remedy_for_is_told_as_it_is(error: Exception, told: str) -> None:
    line = str(explained_failure(error, Path("spark.log")))

    assert line.startswith(f"the Spark job failed: {told}")
    assert line.endswith(" (spark.log has Spark's own account)")
    assert "memory" not in line
