"""The Spark context, quiet and small by default; `spark-defaults.conf` and `spark-submit --conf` win."""

from __future__ import annotations

import logging
import os
import pwd
import re
import shlex
import socket
import ssl
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.errors import LoadError
from pipeline.files import disk_errors
from pipeline.settings import Settings
from spark_jobs.failures import with_remedy

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkContext

_PACKAGES = ("pipeline", "spark_jobs")
_REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"

# The JVM only hands out partitions: the rows never pass through it.
_JVM_MEMORY = "512m"

# For the same reason its second compiler never earns what it costs: two of the six CPU seconds of a start.
_JVM_OPTIONS = "-XX:TieredStopAtLevel=1"

# What a shell may hold for another Spark, or for Java in general. The JVM that is started here has none of it: what is
# meant for this one stands in spark-defaults.conf, or in the arguments of spark-submit.
_OTHERS = (
    *("SPARK_HOME", "PYSPARK_SUBMIT_ARGS", "SPARK_LAUNCHER_OPTS", "SPARK_DIST_CLASSPATH", "SPARK_PREPEND_CLASSES"),
    *("SPARK_REMOTE", "SPARK_CONNECT_MODE", "SPARK_API_MODE", "SPARK_TESTING", "SPARK_ENV_LOADED"),
    *("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET", "PYSPARK_PIN_THREAD"),
    *("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
    *("MASTER", "BASH_ENV", "SHELLOPTS"),  # Spark's own scripts are bash's
)
_OF_A_CLUSTER = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME")

# What it does have, and may not start with.
_HEEDED = (
    "JAVA_HOME",
    "SPARK_CONF_DIR",
    *_OF_A_CLUSTER,
    "SPARK_SUBMIT_OPTS",
    "SPARK_DRIVER_MEMORY",
    "SPARK_EXECUTOR_MEMORY",
)

_JAVA_COMPLAINT = re.compile(
    r"^(?!WARNING|NOTE).*(Exception|[Ee]rror|Unrecogni[sz]ed|Invalid|Could not|No such).*$", re.MULTILINE
)

_DEFAULTS = {
    "spark.executor.memory": _JVM_MEMORY,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.python.worker.reuse": "true",
    # A function that is larger goes through a file, and its secrets with it: certificates may make it so.
    "spark.broadcast.UDFCompressionThreshold": "64m",
}

# A local master needs no address that others can reach.
_LOOPBACK = "127.0.0.1"
_LOCAL_DEFAULTS = {"spark.driver.host": _LOOPBACK, "spark.driver.bindAddress": _LOOPBACK}

# Without a secret, which Spark makes for itself here, whoever is on the machine reads blocks, the password among them.
_LOCAL_SECURITY = {"spark.authenticate": "true"}

# Forks the workers of a local master: see there.
_DAEMON = "spark_jobs.python_daemon"

# A cluster gives a task four attempts. A local master gives it one unless its name says otherwise: a worker that the
# system kills for want of memory would end the job.
_LOCAL_WITHOUT_ATTEMPTS = re.compile(r"local(?:\[(\d+|\*)\])?")
_ATTEMPTS = 4

# Frames of Spark's transport (its network-common, Message and MessageEncoder): eight bytes of length, those included,
# one of type (6 asks for a stream, 8 says that it failed), and a name with its length.
_STREAM = b"\0\0\0\x0e/deepcvr/probe"
_QUESTION = b"\0\0\0\0\0\0\0\x1b\x06" + _STREAM
_ANSWER = b"\x08" + _STREAM
_SECONDS_TO_ANSWER = 5


@contextmanager
def spark_context(settings: Settings, name: str, *, log: Path | None) -> Iterator[SparkContext]:
    """Run a Spark context whose executors know this project's code.

    A session would take a second or two more to start, for the SQL that these jobs do without.

    Args:
        settings: name the master, and the folder in which Java may be.
        name: of the application, as a cluster shows it.
        log: file for what Spark and its workers print; None lets it through to standard error.

    Yields:
        The context. It is stopped at the end.

    Raises:
        LoadError: Spark does not start.
    """
    _prepare_environment(settings)
    with ExitStack() as stack:
        with _start_errors(settings.spark_master, log):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deepcvr-")))
            # Spark puts its files there, which are gone with the context, and not from there.
            stack.callback(sys.path.__setitem__, slice(None), list(sys.path))
            context = _start(settings, name, log, folder)
            stack.callback(_stop, context)
            context.addPyFile(_zip_packages(settings.root, folder))
        yield context


def _prepare_environment(settings: Settings) -> None:
    """Give Spark the environment in which the pinned one starts, whatever this process was started in.

    Raises:
        LoadError: the Spark or the Java that is named does not serve.
    """
    import pyspark

    package = Path(pyspark.__file__).parent
    _require_pinned(pyspark.__version__)
    # The JVM names files as the locale has them, and its errors, of which failures.py has the words.
    os.environ["LC_ALL"] = "C.UTF-8"
    if _is_submitted():
        return
    # Hadoop's configuration is of a cluster, and may ask for a login that a local master needs not; so is an address.
    conf = os.environ.get("SPARK_CONF_DIR")
    is_local = _is_local(settings.spark_master or "local") and not (conf and Path(conf).is_dir())
    for name in (*_OTHERS, *(_OF_A_CLUSTER if is_local else ())):
        os.environ.pop(name, None)
    if is_local:
        os.environ["SPARK_LOCAL_IP"] = _LOOPBACK  # else it is asked of the machine's name, which may lead nowhere
    # In a distribution of Spark, the package is in a folder of it.
    homes = (folder for folder in (package, *package.parents) if (folder / "bin" / "spark-submit").is_file())
    os.environ["SPARK_HOME"] = str(next(homes, package))
    java = settings.embedded_dir / "java"
    if os.environ.get("JAVA_HOME"):
        if not os.access(Path(os.environ["JAVA_HOME"], "bin", "java"), os.X_OK):
            raise LoadError(f"JAVA_HOME is {os.environ['JAVA_HOME']}, which has no bin/java: unset or change it")
    elif java.is_dir():
        os.environ["JAVA_HOME"] = str(java)


def _is_submitted() -> bool:
    """Tell whether a spark-submit has started this process, and is there: a shell may hold what one has left."""
    try:
        port = int(os.environ["PYSPARK_GATEWAY_PORT"])
        socket.create_connection(("127.0.0.1", port), timeout=_SECONDS_TO_ANSWER).close()
    except (KeyError, ValueError, OverflowError, OSError):
        return False
    return "PYSPARK_GATEWAY_SECRET" in os.environ


def _require_pinned(version: str) -> None:
    """Versions of Spark do not understand each other's Python.

    Raises:
        LoadError: this is another one than requirements.txt pins.
    """
    pinned = re.search(r"^pyspark==(\S+)", _REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned and pinned[1].split(".")[:2] != version.split(".")[:2]:
        raise LoadError(
            f"this is Spark {version} ({os.environ.get('SPARK_HOME', sys.prefix)}), and Spark {pinned[1]} is needed:"
            " unset SPARK_HOME and PYTHONPATH, and use the spark-submit of .venv/bin"
        )


def _log_in(gateway: JavaGateway) -> None:
    """Give the user a name where the system has none for it, as in a container that runs as any number: Java asks."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        users = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
        users.setLoginUser(users.createRemoteUser(os.environ.get("SPARK_USER") or str(os.getuid())))


@contextmanager
def _start_errors(master: str | None, log: Path | None) -> Iterator[None]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    folder = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - asking for it may fail where the disk is full
    try:
        with disk_errors(folder, elsewhere="name another folder by TMPDIR"):
            yield
    except (PySparkException, Py4JError, ConnectionError) as error:
        where = f" ({log} has its own account)" if log else ""
        at = f" with master {master}" if master else ""
        printed = log.read_text(encoding="utf-8", errors="replace") if log and log.exists() else ""
        reason = with_remedy(_reason(error, printed), f"{error}\n{printed}")
        raise LoadError(f"Spark does not start{at}: {reason}{where}") from error


def _stop(context: SparkContext) -> None:
    """End Spark. Of a JVM that has ended before, the job has told already, or there is nothing to tell."""
    from py4j.protocol import Py4JError

    with warnings.catch_warnings(), suppress(Py4JError, OSError):
        warnings.simplefilter("ignore", RuntimeWarning)
        context.stop()


def _start(settings: Settings, name: str, log: Path | None, folder: Path) -> SparkContext:
    from pyspark import SparkConf, SparkContext

    master = settings.spark_master
    _require_standalone_master(master or "")
    SparkContext._ensure_initialized(gateway=_start_jvm(master, log, folder))
    gateway = cast("JavaGateway", SparkContext._gateway)
    _require_pinned(gateway.jvm.org.apache.spark.package.SPARK_VERSION())
    _log_in(gateway)
    conf = SparkConf()  # what spark-submit or the new JVM has read of its arguments and spark-defaults.conf
    master = _with_attempts(master or conf.get("spark.master", "local[*]") or "")
    conf.setMaster(master)
    for option, value in {"spark.app.name": name, **_defaults(master, settings.root)}.items():
        conf.setIfMissing(option, value)
    # Python takes its own from the environment alone.
    os.environ["PYSPARK_PYTHON"] = _python(master, conf.get("spark.pyspark.python"))
    context = SparkContext(conf=conf)
    # It would print a traceback where the JVM ends before it.
    context._accumulatorServer.handle_error = lambda *_: None  # type: ignore[method-assign]
    return context


def _require_standalone_master(master: str) -> None:
    """Find out at once that nobody is there, or somebody else: Spark itself takes a minute, and then says less."""
    if not master.startswith("spark://"):
        return
    is_somebody_there = False
    for host, _, port in (address.rpartition(":") for address in master.removeprefix("spark://").split(",")):
        with suppress(OSError, ValueError), socket.create_connection((host, int(port)), timeout=10) as connection:
            is_somebody_there = True
            if _speaks_spark(connection) or _speaks_tls(host, int(port)):
                return
    if is_somebody_there:
        raise LoadError(f"nobody at {master} speaks as a Spark master: check SPARK_MASTER")
    raise LoadError(f"no Spark master answers at {master}: check SPARK_MASTER")


def _speaks_spark(connection: socket.socket) -> bool:
    """Ask for a stream that is not there: Spark says so, and repeats its name, before it asks for any secret.

    Raises:
        OSError: no answer came in time.
    """
    connection.settimeout(_SECONDS_TO_ANSWER)
    connection.sendall(_QUESTION)
    with connection.makefile("rb") as answer:
        return answer.read(len(_QUESTION))[8:] == _ANSWER


def _speaks_tls(host: str, port: int) -> bool:
    """Tell whether it may be a master with `spark.ssl.rpc.enabled`: whose it is, Spark itself finds out.

    Raises:
        OSError: it does not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER) as connection,
        context.wrap_socket(connection),
    ):
        return True


def _with_attempts(master: str) -> str:
    """Let a local master run a failed task again."""
    local = _LOCAL_WITHOUT_ATTEMPTS.fullmatch(master)
    return f"local[{local[1] or 1},{_ATTEMPTS}]" if local else master


def _is_local(master: str) -> bool:
    """Tell whether tasks run in this process's JVM; `local-cluster` has executors of its own."""
    return master.partition("[")[0] == "local"


def _defaults(master: str, root: Path) -> dict[str, str]:
    defaults = _DEFAULTS | (_LOCAL_DEFAULTS if master.startswith("local") else {})
    if _is_local(master):
        daemon = {"spark.python.daemon.module": _DAEMON, "spark.executorEnv.PYTHONPATH": str(root)}
        defaults |= _LOCAL_SECURITY | daemon
    return defaults


def _python(master: str, declared: str | None) -> str:
    """Choose the interpreter of the executors: on other machines it may stand where this one's does not."""
    here = sys.executable
    return here if _is_local(master) else os.environ.get("PYSPARK_PYTHON") or declared or here


def _reason(error: Exception, printed: str) -> str:
    """Find the line that names the cause in what Spark printed or raised, or else what Python says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "JAVA_GATEWAY_EXITED" in str(error):
        told = _JAVA_COMPLAINT.search(printed)
        own = (_JVM_MEMORY, _JVM_OPTIONS, _LOOPBACK)
        heeded = [name for name in _HEEDED if os.environ.get(name) and not os.environ[name].startswith(own)]
        return (
            f"Java ended{f', {told[0].strip()!r}' if told else ''}: check {', '.join([*heeded, 'spark-defaults.conf'])}"
        )
    named = (
        re.search(r'^Exception in thread "main" (?:[\w.$]+: )?(.+)$', printed, re.MULTILINE)
        or re.search(r"Application has been killed\. Reason: (.+)$", printed, re.MULTILINE)
        or re.search(r"^: (.+)$", str(error), re.MULTILINE)
    )
    return named[1].strip() if named else lines[0] if lines else type(error).__name__


def _start_jvm(master: str | None, log: Path | None, folder: Path) -> JavaGateway | None:
    """Start a JVM whose output goes to a file, and with it that of the Python workers that it starts.

    It prints warnings before any of its logging can be configured. Under spark-submit this connects to the JVM that
    is there; None goes on with the one that this process has.

    What a JVM is started with goes before spark-defaults.conf, so that it is given only what it must know by then:
    the master, for which it may have to prepare; less memory than it would take, in the one way that
    spark-defaults.conf overrides; and a folder that it makes at every start, by default in a home that a user of a
    container may not have.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is not None:
        return None
    os.environ.setdefault("SPARK_DRIVER_MEMORY", _JVM_MEMORY)
    # Java itself does not heed TMPDIR.
    options = f"{_JVM_OPTIONS} {shlex.quote(f'-Djava.io.tmpdir={tempfile.gettempdir()}')}"
    os.environ.setdefault("SPARK_SUBMIT_OPTS", options)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    conf = SparkConf().set("spark.jars.ivy", str(folder / "ivy"))
    if master:
        conf.setMaster(master)
    if log is None:
        return launch_gateway(conf)  # type: ignore[no-untyped-call]
    # Without a handler, what Spark's client logs of an interrupt would come between the lines of the command.
    logging.getLogger().addHandler(logging.NullHandler())
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        streams = {"stdout": file, "stderr": file}
        return launch_gateway(conf, popen_kwargs=streams)  # type: ignore[no-untyped-call]


def _zip_packages(root: Path, folder: Path) -> str:
    """Pack the code that the executors run."""
    packed = folder / "deepcvr.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in (path for package in _PACKAGES for path in sorted((root / package).rglob("*.py"))):
            archive.write(path, path.relative_to(root))
    return str(packed)
