"""`python -m pipeline.run_dbt`: dbt as make calls it, which Ctrl-C and SIGTERM end in one line as any other command.

Arguments, output and exit codes are dbt's own.
"""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("pipeline.run_dbt")

import os
import sys
from collections.abc import Sequence

from pipeline.cli import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run dbt.

    Args:
        arguments: dbt's command line; the process's own by default.

    Returns:
        the exit code, where dbt does not end.

    Raises:
        SystemExit: dbt has ended, with its exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    # What a run that is stopped has replaced, the next one puts back: docs/decisions/dbt-publication.md.
    interrupted = (
        "the tables may be of two runs; the same command puts them right and begins again"
        if {"build", "run"} & set(given)
        else "the same command begins again"
    )
    return run_command(lambda: _run(given), verbose="--debug" in given, interrupted=interrupted, is_private=False)


def _run(arguments: list[str]) -> None:
    # A shell may hold those of another project, such as DBT_PROFILES_DIR.
    for name in [name for name in os.environ if name.startswith("DBT_") and name != "DBT_USE_COLORS"]:
        del os.environ[name]
    # dbt takes over what a file .env holds, in this folder or in one above it.
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    from dbt.cli.main import cli  # noqa: PLC0415 - it takes seconds, in which Ctrl-C is answered

    cli(arguments, prog_name="dbt")
