"""A real Spark standalone cluster from the pip package: a master and two workers, each a process."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyspark

from tests.ports import free_port
from tests.processes import command_line, descendants
from tests.surroundings import spark_environment

# Two addresses, because Spark never runs two attempts of a task at once on one host.
HOSTS = ("127.0.0.1", "127.0.0.2")
_START_SECONDS = 200

# What lives for a minute does not gain what Java's second compiler costs.
_QUICK_START = "-XX:TieredStopAtLevel=1"


@dataclass(frozen=True)
class SparkCluster:
    """A running cluster.

    Attributes:
        master: what SPARK_MASTER must be.
        conf_folder: what SPARK_CONF_DIR must be; its `spark-defaults.conf` alone has the cluster's secret.
        folder: where the cluster writes: logs, the executors' work folders, event logs.
        worker_pids: the two workers.
        pages: addresses of the web pages of the master and the workers.
    """

    master: str
    conf_folder: Path
    folder: Path
    worker_pids: tuple[int, ...]
    pages: tuple[str, ...]

    @property
    def secret(self) -> str:
        """What the members of the cluster know each other by."""
        lines = (self.conf_folder / "spark-defaults.conf").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith("spark.authenticate.secret "))

    def environment(self, folder: Path, **conf: str) -> dict[str, str]:
        """What a program must find in its environment to use the cluster, with more in its spark-defaults.conf."""
        conf_folder = folder / "client-conf"
        conf_folder.mkdir(mode=0o700)
        declared = (self.conf_folder / "spark-defaults.conf").read_text()
        _write_conf(conf_folder, declared + "".join(f"{name} {value}\n" for name, value in conf.items()))
        return {"SPARK_MASTER": self.master, "SPARK_CONF_DIR": str(conf_folder)}

    def executor_pids(self) -> list[int]:
        """The executors' JVMs, of whatever application."""
        return [
            pid
            for worker in self.worker_pids
            for pid in descendants(worker)
            if "CoarseGrainedExecutorBackend" in command_line(pid)
        ]


@contextmanager
def start_cluster(folder: Path) -> Iterator[SparkCluster]:
    """Run a cluster that authenticates and encrypts what its members say to each other, in a folder of its own."""
    conf_folder = folder / "conf"
    conf_folder.mkdir(mode=0o700)
    _write_conf(
        conf_folder,
        "spark.authenticate true\n"
        f"spark.authenticate.secret {secrets.token_hex(24)}\n"
        "spark.network.crypto.enabled true\n"
        "spark.master.rest.enabled false\n"  # it cannot authenticate
        f"spark.executor.extraJavaOptions {_QUICK_START}\n",
    )
    port, master_page, *worker_pages = (free_port() for _ in range(4))
    master = f"spark://{HOSTS[0]}:{port}"
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, host: str, arguments: Sequence[str]) -> None:
        environment = {
            **spark_environment(),
            "SPARK_CONF_DIR": str(conf_folder),
            "SPARK_LOCAL_IP": host,
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": _QUICK_START,
            "SPARK_LOCAL_DIRS": str(folder / "local"),
        }
        with (folder / f"{name}.log").open("wb") as log:
            spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
            command: list[str] = [str(spark_class), *arguments]
            processes.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))

    try:
        at_master = ["--host", HOSTS[0], "--port", str(port), "--webui-port", str(master_page)]
        start("master", HOSTS[0], ["org.apache.spark.deploy.master.Master", *at_master])
        for host, page in zip(HOSTS, worker_pages, strict=True):
            at_worker = ["--host", host, "--webui-port", str(page), "--cores", "1", "--memory", "1g"]
            work = ["--work-dir", str(folder / f"work-{host}"), master]
            start(f"worker-{host}", host, ["org.apache.spark.deploy.worker.Worker", *at_worker, *work])
        pages = (
            f"http://{HOSTS[0]}:{master_page}/",
            *(f"http://{h}:{p}/" for h, p in zip(HOSTS, worker_pages, strict=True)),
        )
        _wait_for_workers(pages[0], processes, folder)
        yield SparkCluster(master, conf_folder, folder, tuple(worker.pid for worker in processes[1:]), pages)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _write_conf(folder: Path, text: str) -> None:
    path = folder / "spark-defaults.conf"
    path.touch(mode=0o600)
    path.write_text(text)


def _wait_for_workers(page: str, processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{page}json/", timeout=5) as answer:
                state: Mapping[str, object] = json.load(answer)
            if state["aliveworkers"] == len(HOSTS):
                return
        except (OSError, ValueError):
            pass
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in folder.glob("*.log"))
            raise AssertionError(f"the cluster does not start\n{logs}")
        time.sleep(0.2)


def kill(pid: int) -> None:
    """SIGKILL, to a process that may have ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
