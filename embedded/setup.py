"""`python3 -m embedded.setup`: everything that a fresh machine lacks, without root.

Run by the system's Python, of whatever version, so this file keeps to syntax that every Python 3 reads until the
version is known to serve. Standard library only.
"""

import importlib
import os
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)

if __name__ == "__main__" and OLDEST <= sys.version_info[:2] <= NEWEST:  # Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("embedded.setup")

import shutil  # noqa: E402 - below what answers Ctrl-C
import subprocess  # noqa: E402

_DESCRIPTION = """\
Provide what this machine lacks, without root: .venv with the packages of requirements.txt, and in .embedded Java and
a MySQL server from the distribution's own packages. What is there already is used, and nothing is printed.
"""

_EXAMPLES = """\
  python3 -m embedded.setup                      what every target of make does first (make setup)
  python3 -m embedded.setup --checks             what the checks and the tests need beside (make test, make check)
  python3.12 -m embedded.setup                   with another Python, 3.11 to 3.13 (make setup PYTHON=python3.12)
"""

_ENVIRONMENT = """\
  MYSQL_HOST                                     where it is set, no MySQL server is provided
  JAVA_HOME                                      a Java 17 or later to use
"""


def main() -> int:
    """Set up what is missing; silent where nothing is. The exit code is 0, or 1 or 2 after an error."""
    from embedded import installation
    from pipeline.cli import command_parser, run_command
    from pipeline.settings import check_environment

    parser = command_parser("python3 -m embedded.setup", _DESCRIPTION, examples=_EXAMPLES, environment=_ENVIRONMENT)
    parser.add_argument("--checks", action="store_true", help="also what only lint and the tests need")
    parser.add_argument("--sample", action="store_true", help="check the settings of make sample too")
    options = parser.parse_args()

    def install() -> None:
        if not options.checks:
            check_environment(os.environ, Path(__file__).resolve().parents[1])
        if options.sample:
            # By its name, since it is of another layer.
            importlib.import_module("spark_jobs.sampling.parameters").check_environment(os.environ)
        installation.install(for_checks=options.checks)

    interrupted = "what is set up stays; the same command goes on from there"
    return run_command(install, verbose=options.verbose, interrupted=interrupted, is_private=False)


def version_advice(version: "tuple[int, ...]") -> str:
    """Say in one line why this Python does not serve, and which one to use."""
    names = ["python3.%d" % minor for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]  # noqa: UP031
    found = [name for name in names if shutil.which(name) and _runs(name)]
    advice = "run make PYTHON=%s" % found[0] if found else "install one and run make PYTHON=python3.11"  # noqa: UP031
    return "Python %d.%d does not serve, 3.11 to 3.13 does: %s" % (version[0], version[1], advice)  # noqa: UP031


def _runs(name: str) -> bool:
    return subprocess.call([name, "-c", ""], stderr=subprocess.DEVNULL) == 0  # noqa: S603 - a name of the list above


if __name__ == "__main__":
    sys.stderr.write("error: %s\n" % version_advice(sys.version_info[:2]))  # noqa: UP031 - for any Python 3
    sys.exit(2)
