"""Whose word counts for Spark's settings, who may speak to Spark, and what a start says that fails."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.errors import LoadError
from pipeline.settings import load_settings
from spark_jobs.context import spark_context
from tests.ports import free_port
from tests.processes import command_lines, descendants, listeners
from tests.spark_cluster import SparkCluster
from tests.surroundings import spark_environment

PASSWORD = "Zq7mVt3KwPx9Rb2L"

# A job as the explode is one: its code carries the password, and Spark keeps it as blocks for those who ask.
JOB = """
import sys, time
from functools import partial
from pathlib import Path
from pipeline.settings import load_settings
from spark_jobs.context import spark_context

def work(password, number):
    print("at work", file=sys.stderr, flush=True)
    time.sleep(600)

with spark_context(load_settings(), "test", log=None) as context:
    context.parallelize([1], 1).foreach(partial(work, sys.argv[1]))
"""

SCRIPT = """
import json, sys
from pathlib import Path
from pipeline.settings import load_settings
from spark_jobs.context import spark_context

with spark_context(load_settings(), "test", log=Path(sys.argv[1])) as context:
    print(json.dumps({"master": context.master, **dict(context.getConf().getAll())}))
"""

DECLARED = (
    "spark.master local[3]\nspark.executor.memory 700m\nspark.driver.memory 600m\nspark.ui.showConsoleProgress true\n"
)


def spark_settings(folder: Path, root: Path, *command: str, **environment: str) -> dict[str, str]:
    """The settings of a context of a process that finds a spark-defaults.conf."""
    (folder / "conf").mkdir()
    (folder / "conf" / "spark-defaults.conf").write_text(DECLARED)
    (folder / "script.py").write_text(SCRIPT)
    answer = subprocess.run(
        [*command, str(folder / "script.py"), str(folder / "spark.log")],
        cwd=folder,
        env=spark_environment() | {"PYTHONPATH": str(root), "SPARK_CONF_DIR": str(folder / "conf")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    settings: dict[str, str] = json.loads(answer.stdout)
    return settings


def test_spark_defaults_go_before_those_of_the_project(root: Path, tmp_path: Path) -> None:
    settings = spark_settings(tmp_path, root, sys.executable)

    assert settings["master"] == "local[3,4]"  # a failed task is run again
    assert settings["spark.executor.memory"] == "700m"
    assert settings["spark.driver.memory"] == "600m"
    assert settings["spark.ui.showConsoleProgress"] == "true"
    assert settings["spark.ui.enabled"] == "false"  # the project's own


def test_spark_submits_arguments_go_before_everything(root: Path, tmp_path: Path) -> None:
    command = ("spark-submit", "--master", "local[1,2]", "--conf", "spark.executor.memory=800m")
    settings = spark_settings(tmp_path, root, *command)

    assert settings["master"] == "local[1,2]"
    assert settings["spark.executor.memory"] == "800m"
    assert settings["spark.ui.showConsoleProgress"] == "true"


def test_the_environments_master_goes_before_the_declared_one(root: Path, tmp_path: Path) -> None:
    assert spark_settings(tmp_path, root, sys.executable, SPARK_MASTER="local[2]")["master"] == "local[2,4]"


@pytest.mark.parametrize(
    ("master", "expected"),
    [("local", "local[1,4]"), ("local[*]", "local[*,4]"), ("local[2,1]", "local[2,1]"), ("yarn", "yarn")],
)
def test_only_a_local_master_that_names_no_attempts_is_given_them(master: str, expected: str) -> None:
    from spark_jobs.context import _with_attempts

    assert _with_attempts(master) == expected


def frame(kind: int, body: bytes) -> bytes:
    """A message of Spark's transport."""
    return struct.pack(">qb", 9 + len(body), kind) + body


def text(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def open_blocks(block: bytes) -> bytes:
    """Ask a block manager for a block, as an executor does that fetches it."""
    message = b"\0" + text(b"app") + text(b"driver") + struct.pack(">i", 1) + text(block)
    return frame(3, struct.pack(">qi", 1, len(message)) + message)


def ask_for_block(port: int, block: bytes) -> bytes:
    """All that a stranger gets at a port who asks for a block: the answer, and the block if it is offered."""
    got = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(open_blocks(block))
        with connection.makefile("rb") as stream:
            got += stream.read(34)
            if got[8:9] == b"\x04":  # yes: number of the question, size, type, number of the stream, how many blocks
                connection.sendall(frame(0, got[22:30] + struct.pack(">i", 0)))
            while more := stream.read1():
                got += more
    return got


def answers_to_strangers(root: Path, folder: Path, declared: str) -> bytes:
    """What all ports of a running local job's JVM together give to somebody who asks for the job's code."""
    (folder / "conf").mkdir()
    (folder / "conf" / "spark-defaults.conf").write_text(f"spark.broadcast.compress false\n{declared}")
    environment = {"PYTHONPATH": str(root), "SPARK_CONF_DIR": str(folder / "conf"), "SPARK_MASTER": "local[1]"}
    (folder / "job.py").write_text(JOB)
    with subprocess.Popen(
        [sys.executable, str(folder / "job.py"), PASSWORD],
        cwd=folder,
        env=spark_environment() | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr
            assert any("at work" in line for line in process.stderr)
            lines = command_lines()
            (java,) = [pid for pid in descendants(process.pid) if b"SparkSubmit" in lines.get(pid, b"")]
            ports = {each.port for each in listeners(java) if each.port}
            assert len(ports) >= 2
            return b"".join(ask_for_block(port, b"broadcast_0_piece0") for port in sorted(ports))
        finally:
            for pid in [*descendants(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)


def test_a_stranger_gets_no_block_of_a_local_job_and_its_ports_ask_for_the_secret(root: Path, tmp_path: Path) -> None:
    got = answers_to_strangers(root, tmp_path, "")

    assert PASSWORD.encode() not in got
    assert got.count(b"Expected SaslMessage") >= 2  # the block manager, and the driver's own port


def test_without_the_secret_a_stranger_would_get_the_password(root: Path, tmp_path: Path) -> None:
    """Otherwise the test above would show nothing; and whoever declares it so has it so."""
    got = answers_to_strangers(root, tmp_path, "spark.authenticate false\n")

    assert PASSWORD.encode() in got
    assert b"Expected SaslMessage" not in got


def silent(_: socket.socket) -> None:
    pass


def closing(connection: socket.socket) -> None:
    connection.close()


def greeting(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" + b" " * 64)


class _Web(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("answer", [silent, closing, greeting])
def test_a_port_where_no_spark_master_is_is_told_within_seconds(
    root: Path, answer: Callable[[socket.socket], None]
) -> None:
    kept = []  # a connection that nobody refers to is closed

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                kept.append(listener.accept()[0])
                answer(kept[-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        assert_no_master(root, listener.getsockname()[1])


def test_a_web_server_is_no_spark_master(root: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert_no_master(root, server.server_port)
        server.shutdown()


def assert_no_master(root: Path, port: int) -> None:
    master = f"spark://127.0.0.1:{port}"
    settings = replace(load_settings(root=root, environ={}), spark_master=master)
    begun = time.monotonic()
    with (
        pytest.raises(LoadError, match=rf"^nobody at {master} speaks as a Spark master: check SPARK_MASTER$"),
        spark_context(settings, "test", log=None),
    ):
        pass
    assert time.monotonic() - begun < 20


def test_a_real_master_is_known_where_another_one_is_down(spark_cluster: SparkCluster) -> None:
    from spark_jobs.context import _require_standalone_master

    _require_standalone_master(f"spark://127.0.0.1:{free_port()},{spark_cluster.master.removeprefix('spark://')}")


FULL_DISK = """
set -e
mount -t tmpfs -o size=$1 none "$2"
shift 2
exec "$@"
"""
PRIVATE_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.parametrize(
    ("size", "declared", "told"),
    [
        ("40k", "", r"the disk is full while writing {disk}\S*: make room, or name another folder by TMPDIR, and run"),
        (
            "40k",
            "spark.local.dir {disk}\n",
            r"Spark does not start.* a disk is full.* \({temporary}, or spark\.local\.dir\)",
        ),
    ],
)
def test_a_full_disk_of_temporary_files_is_told_in_one_line(
    root: Path, tmp_path: Path, size: str, declared: str, told: str
) -> None:
    if subprocess.run([*PRIVATE_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode:
        pytest.skip("this system lets its users mount nothing")
    disk, temporary = tmp_path / "disk", tmp_path / "temporary"
    for folder in (disk, temporary, tmp_path / "conf"):
        folder.mkdir()
    (tmp_path / "conf" / "spark-defaults.conf").write_text(declared.format(disk=disk))
    (tmp_path / "start.py").write_text(START)
    ended = subprocess.run(
        [*PRIVATE_MOUNTS, "sh", "-c", FULL_DISK, "sh", size, disk, sys.executable, tmp_path / "start.py"],
        cwd=tmp_path,
        env=spark_environment()
        | {"PYTHONPATH": str(root), "SPARK_CONF_DIR": str(tmp_path / "conf"), "SPARK_MASTER": "local[1]"}
        | {"TMPDIR": str(temporary if declared else disk)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert re.match("error: " + told.format(disk=disk, temporary=temporary), ended.stderr), ended.stderr


START = """
import sys
from pathlib import Path
from pipeline.cli import run_command
from pipeline.settings import load_settings
from spark_jobs.context import spark_context

def start():
    with spark_context(load_settings(), "test", log=Path("spark.log")) as context:
        print(context.master)

sys.exit(run_command(start, verbose=False))
"""


# What a shell may hold: of a Spark that is gone, of another shell's spark-submit, of other uses of Java, of no locale.
FOREIGN = {
    "SPARK_HOME": "/none/spark",
    "SPARK_CONF_DIR": "/none/conf",
    "SPARK_DIST_CLASSPATH": "/none/*",
    "SPARK_LOCAL_IP": "none.invalid",
    "SPARK_LOCAL_HOSTNAME": "none.invalid",
    "SPARK_TESTING": "1",
    "SPARK_ENV_LOADED": "1",
    "SPARK_REMOTE": "sc://none.invalid",
    "SPARK_LAUNCHER_OPTS": "-Xnonsense",
    "PYSPARK_PYTHON": "/none/python",
    "PYSPARK_DRIVER_PYTHON": "/none/python",
    "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
    "PYSPARK_GATEWAY_SECRET": "left over",
    "JAVA_TOOL_OPTIONS": "-Xnonsense",
    "JDK_JAVA_OPTIONS": "-Xnonsense",
    "_JAVA_OPTIONS": "-Xnonsense",
    "CLASSPATH": "/none",
    "MASTER": "yarn",
    "SHELLOPTS": "braceexpand:nounset",
    "LC_ALL": "C",
    "HOME": "/none/home",
}
KERBEROS = """
<configuration>
<property><name>hadoop.security.authentication</name><value>kerberos</value></property>
</configuration>
"""
WORK = START.replace("context.master", "context.parallelize(range(4), 2).map(str).collect()")


def start_in(folder: Path, root: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that starts Spark and has it do something."""
    folder.mkdir(exist_ok=True)
    (folder / "start.py").write_text(WORK)
    return subprocess.run(
        [*command, folder / "start.py"],
        cwd=folder,
        env=spark_environment() | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_that_the_shell_holds_for_another_spark_or_java_matters(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Ä ö'q\" %20#$x"
    (tmp_path / "core-site.xml").write_text(KERBEROS)
    here = {"PYSPARK_GATEWAY_PORT": str(free_port()), "TMPDIR": str(folder), "HADOOP_CONF_DIR": str(tmp_path)}
    ended = start_in(folder, root, sys.executable, **FOREIGN, **here)

    assert (ended.returncode, ended.stdout) == (0, "['0', '1', '2', '3']\n"), ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("JAVA_HOME", "/none", "JAVA_HOME is /none, which has no bin/java: unset or change it"),
        (
            "SPARK_LOCAL_DIRS",
            "/proc/none",
            r"Spark's temporary files have no folder that can be written \(/proc/none, or",
        ),
        (
            "SPARK_DRIVER_MEMORY",
            "lots",
            "Java ended, 'Invalid maximum heap size: -Xmxlots': check .*SPARK_DRIVER_MEMORY",
        ),
    ],
)
def test_what_spark_does_not_start_with_is_named(root: Path, tmp_path: Path, name: str, value: str, told: str) -> None:
    ended = start_in(tmp_path, root, sys.executable, **{name: value})

    assert ended.returncode == 1
    assert re.fullmatch(rf"error: (Spark does not start: )?{told}.*\n", ended.stderr), ended.stderr


def other_spark(folder: Path, home: str) -> Path:
    """An installation of another version of Spark, as far as a job sees it before it is told."""
    (folder / "python" / "lib").mkdir(parents=True)
    for name in ("bin", "jars"):
        (folder / name).symlink_to(Path(home) / name)
    with zipfile.ZipFile(folder / "python" / "lib" / "pyspark.zip", "w") as archive:
        archive.writestr("pyspark/__init__.py", "__version__ = '3.5.1'")
    return folder


def test_the_spark_submit_of_another_version_is_named(root: Path, tmp_path: Path) -> None:
    import pyspark

    home = other_spark(tmp_path / "spark", str(Path(pyspark.__file__).parent))
    ended = start_in(tmp_path, root, "spark-submit", "--master", "local[1]", SPARK_HOME=str(home))

    assert ended.returncode == 1
    told = rf"^error: this is Spark 3\.5\.1 \({home}\), and Spark \S+ is needed: unset SPARK_HOME and PYTHONPATH, and"
    assert re.search(told, ended.stdout, re.MULTILINE), ended  # where spark-submit puts what its program says


def test_what_spark_has_put_on_the_path_of_modules_goes_with_it(root: Path, tmp_path: Path) -> None:
    before = list(sys.path)
    with spark_context(
        replace(load_settings(root=root, environ={}), spark_master="local[1]"), "test", log=tmp_path / "log"
    ):
        assert sys.path != before
    assert sys.path == before
