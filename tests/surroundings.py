"""What every test, and every command that a test starts, finds around it, whoever runs the tests and wherever.

The shell, the home folder and the checkout are those of the person who runs the tests. None of them reaches a test: it
has an environment that is made here, an empty home, and a copy of the project, in which it may start, build and break
whatever it likes. So has `make bench`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from embedded.programs import Kind, MysqlProgram, find_mysql_program

CHECKOUT = Path(__file__).resolve().parents[1]

# Where the programs are, Java among them; where temporary files have room; what numpy must know of the processor; and
# what is said to the tests themselves.
_KEPT_NAMES = ("PATH", "JAVA_HOME", "LD_LIBRARY_PATH", "TMPDIR", "FUZZ_SEED")
_KEPT_PREFIXES = ("OPENBLAS_",)

# Where set-up puts the programs, in the order in which they are looked for.
_PROGRAM_FOLDERS = (".embedded", ".checks")
_PROGRAMS = ("java", "mycli", "mysql/mysql", "mysql/mariadb")

# No file of the project is near this; archives that somebody keeps in the checkout are above it.
_LARGEST_FILE = 10_000_000


def clean_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing, on a machine that has no role in a cloud."""
    kept = {name: value for name, value in environ.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    return kept | {"HOME": str(home), "LANG": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}


def replace_surroundings(home: Path) -> dict[str, str]:
    """Give this process, and with it all that it starts, the clean environment, and say what it is."""
    environment = clean_environment(os.environ, home)
    put_back(environment)
    os.umask(0o022)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A script that has started the tests in its background has Ctrl-C ignored by all that it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return environment


def put_back(environ: Mapping[str, str]) -> None:
    """Make this the environment of the process, and nothing else but what pytest keeps there."""
    of_pytest = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    os.environ.clear()
    os.environ.update({**environ, **of_pytest})
    time.tzset()


def spark_environment() -> dict[str, str]:
    """What Spark's own commands need of who types them: an active .venv and, where set-up brought Java, JAVA_HOME."""
    path = os.pathsep.join([str(CHECKOUT / ".venv" / "bin"), os.environ["PATH"]])
    java = CHECKOUT / ".embedded" / "java"
    return os.environ | {"PATH": path} | ({"JAVA_HOME": str(java)} if java.is_dir() else {})


def copy_project(copy: Path) -> Path:
    """Make a project as a new user has it after set-up: the files that git has or would add, and links to programs."""
    shutil.copytree(CHECKOUT, copy, symlinks=True, ignore=_not_of_the_project, dirs_exist_ok=True)
    compiled = CHECKOUT / "spark_jobs"
    for path in compiled.glob("**/__pycache__/*.nb[ci]"):
        place = copy / "spark_jobs" / path.relative_to(compiled)
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(path, place)
    (copy / ".venv").symlink_to(CHECKOUT / ".venv")
    (copy / ".embedded" / "mysql").mkdir(mode=0o700, parents=True)
    (copy / ".embedded").chmod(0o700)
    for program in _PROGRAMS:
        found = [CHECKOUT / folder / program for folder in _PROGRAM_FOLDERS if (CHECKOUT / folder / program).exists()]
        if found:
            (copy / ".embedded" / program).symlink_to(found[0])
    return copy


def mysql_program(kind: Kind) -> MysqlProgram:
    """A server's program, of the machine or as set-up has unpacked it."""
    found = (find_mysql_program(CHECKOUT / folder, kind=kind) for folder in _PROGRAM_FOLDERS)
    program = next((program for program in found if program), None)
    assert program, "make setup-checks provides it"
    return program


def _not_of_the_project(folder: str, names: Iterable[str]) -> set[str]:
    ignored = {line.strip("/") for line in (CHECKOUT / ".gitignore").read_text().splitlines()}
    here = Path(folder)
    # Where TMPDIR is in the checkout, the copies are made in what is copied.
    return shutil.ignore_patterns(".git", "pytest-of-*", *ignored)(folder, [*names]) | {
        name for name in names if (here / name).is_file() and (here / name).stat().st_size > _LARGEST_FILE
    }
