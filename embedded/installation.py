"""The virtual environment and its packages; Java and the MySQL server's program where the machine has none.

Each part is done once: a stamp, or the thing itself, tells that it is there. A run that was killed leaves no stamp, and
the next one does that part anew. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from embedded import apt, programs
from embedded.processes import folder_size, lock, require_free_space
from pipeline.cli import say
from pipeline.errors import ServiceError, SettingsError
from pipeline.files import private_folder
from pipeline.interrupt import end_children
from pipeline.progress import working
from pipeline.settings import require_nameable
from pipeline.units import quantity

# Not the environment's own Python, which make finds while the environment is active, and which may be removed here.
_PYTHON = os.path.realpath(sys.executable)
_MARKER = "made-by-make-setup"
_STAMP = "requirements-stamp"
_WITHOUT_DEPENDENCIES = "requirements-dbt.txt"
# In the place of dbt-core's own, which finds the profile from the project's root alone.
_DBT = """\
#!/bin/sh
exec "$(dirname -- "$0")/python" -P -c \
    'import sys; from pipeline.run_dbt import main; sys.exit(main(is_plain=True))' "$@"
"""
_ROOM_FOR_PACKAGES = 3_000_000_000
_ROOM_FOR_PROGRAMS = 1_000_000_000
_ROOM_FOR_CLIENT = 500_000_000


def install(root: Path | None = None, *, for_checks: bool = False) -> None:
    """Provide what is missing, one line for each thing that is done.

    Args:
        root: the project's folder; the one that holds this package by default.
        for_checks: provide also what only lint and the tests need: their packages, and in `.checks` the kinds of
            server and the client that the run has no need of.

    Raises:
        SettingsError: a setting of the machine stands in the way.
        ServiceError: something cannot be had.
    """
    root = root or Path(__file__).resolve().parents[1]
    require_nameable(root)
    embedded_dir, checks_dir = root / ".embedded", root / ".checks"
    checks = [root / "requirements-checks.txt"] if for_checks else []
    requirements = [root / "requirements.txt", *checks, root / _WITHOUT_DEPENDENCIES]
    try:
        private_folder(embedded_dir)
        with lock(embedded_dir / "setup.lock", "setting up") as descriptor:
            _install_java(embedded_dir)
            if not os.environ.get("MYSQL_HOST"):
                _install_mysql(embedded_dir)
            install_packages(root / ".venv", requirements, lock_descriptor=descriptor)
            _compile_explode(root)
            if for_checks:
                for kind in programs.NAMES:
                    if not programs.find_mysql_program(embedded_dir, kind=kind):
                        _install_mysql(checks_dir, kind=kind)
                install_client(checks_dir, root, lock_descriptor=descriptor)
    except PermissionError as error:
        raise ServiceError(
            f"{error.filename or root} may not be written: run as the user that it belongs to, or in a copy of your own"
        ) from error
    except OSError as error:
        raise ServiceError(f"{error.filename or root}: {error.strerror or error}") from error


def install_packages(
    environment: Path,
    requirements: Sequence[Path],
    *,
    lock_descriptor: int | None = None,
    room: int = _ROOM_FOR_PACKAGES,
) -> None:
    """Make the virtual environment and install the required packages into it, unless it has them already.

    Args:
        environment: its folder, such as `.venv`.
        requirements: the files that pin the packages; what others have brought stays.
        lock_descriptor: a lock that pip holds too, so that it is not disturbed where this process is killed.
        room: the bytes that must be free for them.

    Raises:
        ServiceError: the environment is somebody else's, or a package cannot be had.
    """
    bound_to = _interpreter(environment)
    wanted = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in requirements}
    present = _read_lines(environment / _STAMP)
    is_whole = present[: len(bound_to)] == bound_to and (environment / "bin" / "python").exists()
    if is_whole and set(wanted.values()) <= set(present[len(bound_to) :]):
        return
    # Over other versions of these pip would remove what others have brought: their files lie in folders of one another.
    is_whole = is_whole and wanted.get(_WITHOUT_DEPENDENCIES) in (None, *present)
    if environment.exists() and not (environment / _MARKER).exists():
        raise ServiceError(f"{environment} was not made by make setup: move it elsewhere or remove it")
    require_free_space(environment.parent, room, "the Python packages")
    with _announced(f"Python packages into {environment.name}") as announced:
        if not is_whole:
            # Also the case of a run that was killed: half a package looks whole to pip.
            shutil.rmtree(environment, ignore_errors=True)
            _make_environment(environment)
        (environment / _STAMP).unlink(missing_ok=True)
        _install_requirements(environment, requirements, lock_descriptor, announced.tell)
        (environment / _STAMP).write_text("\n".join([*bound_to, *wanted.values()]) + "\n", encoding="utf-8")
        announced.notes.append(quantity(folder_size(environment), "B"))


def was_broken_off(environment: Path) -> bool:
    """Whether set-up has begun to put packages into an environment, and has not come to its end."""
    return (environment / _MARKER).exists() and not (environment / _STAMP).exists()


def install_client(folder: Path, root: Path, *, lock_descriptor: int) -> Path:
    """Install mycli, which does not go with dbt's packages, into an environment of its own: `mycli` in a folder.

    Returns:
        its program.

    Raises:
        ServiceError: it cannot be had.
    """
    environment = folder / "mycli"
    requirements = [root / "requirements-sql.txt"]
    install_packages(environment, requirements, lock_descriptor=lock_descriptor, room=_ROOM_FOR_CLIENT)
    return environment / "bin" / "mycli"


def _install_java(embedded_dir: Path) -> None:
    named = os.environ.get("JAVA_HOME")
    if named:
        version = programs.java_version(Path(named))
        if version is None or version < programs.OLDEST_JAVA:
            is_what = "no Java that runs" if version is None else f"Java {version}"
            raise SettingsError(
                f"JAVA_HOME is {named}, {is_what}; Spark needs Java {programs.OLDEST_JAVA} or later: unset or change it"
            )
    if programs.find_java(embedded_dir):
        return
    require_free_space(embedded_dir, _ROOM_FOR_PROGRAMS, "Java")
    with _announced("Java, from the distribution's packages") as announced:
        unpacked = programs.unpack_java(embedded_dir)
        announced.notes += [f"version {unpacked.version}", f"{quantity(unpacked.download_bytes, 'B')} downloaded"]


def _install_mysql(folder: Path, *, kind: programs.Kind | None = None) -> None:
    if programs.find_mysql_program(folder, kind=kind):
        return
    private_folder(folder)
    require_free_space(folder, _ROOM_FOR_PROGRAMS, "the MySQL server")
    with _announced(f"{programs.NAMES[kind or 'mysql']} server, from the distribution's packages") as announced:
        unpacked = programs.unpack_mysql_program(folder, kind=kind)
        announced.notes += [
            unpacked.program.title,
            f"{quantity(unpacked.download_bytes, 'B')} downloaded",
            *unpacked.remarks,
        ]


def _compile_explode(root: Path) -> None:
    """Make the machine code that the first load would wait for. After a change of its source the next load makes it."""
    if any((root / "spark_jobs" / "__pycache__").glob("*.nbi")):
        return
    with _announced("machine code of the explode"):
        command = [str(root / ".venv" / "bin" / "python"), "-c"]
        code = "from spark_jobs.explode import load_machine_code; load_machine_code()"
        _run([*command, code], "compile the explode", folder=root)


@dataclass
class _Announced:
    """What is said of a long piece of work.

    Attributes:
        notes: what came of it.
        tell: shows what is being done just now.
    """

    notes: list[str] = field(default_factory=list)
    tell: Callable[[str], None] = lambda _: None


@contextmanager
def _announced(what: str) -> Iterator[_Announced]:
    """Show that something is being done, and print one line when it is: what came of it and how long it took."""
    begun = time.monotonic()
    announced = _Announced()
    with working(what) as announced.tell:
        yield announced
    say(f"{what}: {', '.join([*announced.notes, f'{time.monotonic() - begun:.0f} s'])}")


def _interpreter(environment: Path) -> list[str]:
    """Give what the environment is bound to: its own place, and the Python that it was made with."""
    return [str(environment.resolve()), sys.version.split()[0], _PYTHON]


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _make_environment(environment: Path) -> None:
    if importlib.util.find_spec("venv") is None:
        raise ServiceError("this Python has no module venv: install the whole Python (on Debian, the package python3)")
    environment.mkdir()
    (environment / _MARKER).touch()
    if importlib.util.find_spec("ensurepip") is not None:
        _run([_PYTHON, "-m", "venv", str(environment)], "make a virtual environment")
        return
    # Debian and Ubuntu keep ensurepip in python3-venv; the same pip can be had without installing that.
    _run([_PYTHON, "-m", "venv", "--without-pip", str(environment)], "make a virtual environment")
    with programs.work_folder(environment / "pip-packages") as folder:
        wheels = _unpack_pip(folder)
        pip = next(wheel for wheel in wheels if wheel.name.startswith("pip-"))
        command = [str(environment / "bin" / "python"), f"{pip}/pip", "install", "--quiet", "--no-index", "--no-deps"]
        _run([*command, *map(str, wheels)], "put pip into the virtual environment")


def _unpack_pip(folder: Path) -> list[Path]:
    if apt.read_distribution().family not in ("debian", "ubuntu") or not apt.is_available():
        raise ServiceError("this Python has no module ensurepip: install pip's part of Python with your system's tools")
    source = apt.open_apt(folder, programs.release_entries())
    apt.unpack(source, ["python3-pip-whl", "python3-setuptools-whl"], folder / "root")
    wheels = sorted((folder / "root").glob("usr/share/python-wheels/*.whl"))
    if not any(wheel.name.startswith("pip-") for wheel in wheels):
        raise ServiceError("the distribution's python3-pip-whl holds no pip: install python3-venv")
    return wheels


def _install_requirements(
    environment: Path, requirements: Sequence[Path], lock_descriptor: int | None, tell: Callable[[str], None]
) -> None:
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", "--progress-bar=off", "--no-input"]
    command += ["--disable-pip-version-check", "--no-warn-script-location"]

    def install_files(files: Sequence[Path], *options: str) -> None:
        full = [*command, *options, *(f"--requirement={path}" for path in files)]
        # pip reads a path in a file, that of the project's own adapter, from the folder that it runs in.
        folder, purpose = requirements[0].parent, "install the Python packages"
        _run(full, purpose, lock_descriptor, folder=folder, tell=lambda line: tell(_shortened(line)))

    install_files([path for path in requirements if path.name != _WITHOUT_DEPENDENCIES])
    if alone := [path for path in requirements if path.name == _WITHOUT_DEPENDENCIES]:
        install_files(alone, "--no-deps")
        (environment / "bin" / "dbt").write_text(_DBT, encoding="utf-8")


def _shortened(line: str) -> str:
    """Keep of a line of pip's what tells how far it is; names of hosts and folders are of no use beside the time."""
    words = line.split()
    if words[:1] == ["Installing"]:
        return f"installing {len(words) - 3} packages"
    if words[:1] == ["Downloading"] and len(words) > 1:
        return " ".join(["downloading", words[1].rpartition("/")[2], *words[2:]])
    return ""


def _run(
    command: list[str],
    purpose: str,
    lock_descriptor: int | None = None,
    *,
    folder: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    # What would lead pip, or this Python, out of the virtual environment.
    dropped = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["PIP_USER"] = "0"  # goes before pip.conf too
    # A package that is built asks for a home. A user without a passwd entry may have none: then as Docker says it.
    environment.setdefault("HOME", home if (home := os.path.expanduser("~")) != "~" else "/")  # noqa: PTH111
    printed: deque[str] = deque(maxlen=100)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(  # noqa: S603 - this Python, or the one that it has made
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            pass_fds=() if lock_descriptor is None else (lock_descriptor,),
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                printed.append(line)
                tell(line)
        except BaseException:
            end_children(process.pid)
            process.kill()
            raise
        if process.wait() != 0:
            complaints.seek(0)
            raise ServiceError(f"cannot {purpose}: {_reason(complaints.read() or ''.join(printed))}")


def _reason(output: str) -> str:
    """Choose the line that names the cause: pip prints its own after a hint or two about it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("Retrying (" in line for line in lines):
        return "the package index does not answer: check the network, and pip's settings (pip config list)"
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    with contextlib.suppress(IndexError):
        return apt.without_password((errors or lines)[-1])
    return "no reason given"
