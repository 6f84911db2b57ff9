"""The Spark session, quiet and small by default; `spark-defaults.conf` and `spark-submit --conf` win."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import LoadError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

_PACKAGES = ("pipeline", "spark_jobs")

_DEFAULTS = {
    # The JVM only hands out partitions: the rows never pass through it.
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.python.worker.reuse": "true",
}

# A local master needs no address that others can reach.
_LOCAL_DEFAULTS = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


@contextmanager
def spark_session(settings: Settings, *, log: Path | None) -> Iterator[SparkSession]:
    """Run a Spark session whose executors know this project's code.

    Args:
        settings: name the master, and the folder in which Java may be.
        log: file for what Spark and its workers print; None lets it through to standard error.

    Yields:
        The session. It is stopped at the end.

    Raises:
        LoadError: Spark does not start.
    """
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    java = settings.embedded_dir / "java"
    if "JAVA_HOME" not in os.environ and java.is_dir():
        os.environ["JAVA_HOME"] = str(java)
    with tempfile.TemporaryDirectory(prefix="deepcvr-") as folder:
        spark = _start(settings, log, Path(folder))
        try:
            spark.sparkContext.addPyFile(_zip_packages(settings.root, Path(folder)))
            yield spark
        finally:
            spark.stop()


def _start(settings: Settings, log: Path | None, folder: Path) -> SparkSession:
    from py4j.protocol import Py4JError  # noqa: PLC0415
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - slow to import, and not every run needs Spark
    from pyspark.errors import PySparkException  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    conf = SparkConf().setAppName("deepcvr explode")
    if settings.spark_master:
        conf.setMaster(settings.spark_master)
    master = conf.setIfMissing("spark.master", "local[*]").get("spark.master", "")
    # Spark makes this folder at every start, by default in a home that a user of a container may not have.
    conf.setIfMissing("spark.jars.ivy", str(folder / "ivy"))
    defaults = _DEFAULTS | (_LOCAL_DEFAULTS if str(master).startswith("local") else {})
    for name, value in defaults.items():
        conf.setIfMissing(name, value)
    try:
        SparkContext(conf=conf, gateway=_start_jvm(conf, log))
    except (PySparkException, Py4JError) as error:
        where = f" ({log} has its own account)" if log else ""
        raise LoadError(f"Spark does not start with master {master}: {_reason(error)}{where}") from error
    return SparkSession.builder.getOrCreate()


def _reason(error: Exception) -> str:
    """Find the line that names the JVM's exception, or else what Python says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line[2:] for line in lines if line.startswith(": ")), lines[0] if lines else type(error).__name__)


def _start_jvm(conf: SparkConf, log: Path | None) -> JavaGateway | None:
    """Start a JVM whose output goes to a file, and with it that of the Python workers that it starts.

    It prints warnings before any of its logging can be configured. None leaves it to Spark to start one, or to go on
    with the one that this process has.
    """
    from pyspark import SparkContext  # noqa: PLC0415
    from pyspark.java_gateway import launch_gateway  # noqa: PLC0415

    if log is None or SparkContext._gateway is not None:
        return None
    # Without a handler, what Spark's client logs of an interrupt would come between the lines of the command.
    logging.getLogger().addHandler(logging.NullHandler())
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        streams = {"stdout": file, "stderr": file}
        return launch_gateway(conf, popen_kwargs=streams)  # type: ignore[no-untyped-call]


def _zip_packages(root: Path, folder: Path) -> str:
    """Pack the code that the executors run."""
    for package in _PACKAGES:
        shutil.copytree(root / package, folder / "code" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return shutil.make_archive(str(folder / "deepcvr"), "zip", folder / "code")
