"""`python -m pipeline.run_dbt`: dbt as make calls it, and `dbt` of `.venv`, as people do.

Ctrl-C and SIGTERM end it in one line as any other command. Arguments, output and exit codes are dbt's own.
"""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("pipeline.run_dbt")

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import run_command


def main(arguments: Sequence[str] | None = None, *, is_plain: bool = False) -> int:
    """Run dbt.

    Args:
        arguments: dbt's command line; the process's own by default.
        is_plain: whether a person has called it: what the shell holds for dbt is meant then, and any folder of the
            project will do.

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
    return run_command(
        lambda: _run(given, is_plain=is_plain), verbose="--debug" in given, interrupted=interrupted, is_private=False
    )


def _run(arguments: list[str], *, is_plain: bool) -> None:
    if is_plain:
        _point_at_profile(arguments)
    else:
        # A shell may hold those of another project, such as DBT_PROFILES_DIR, and so may a file .env, here or above.
        for name in [name for name in os.environ if name.startswith("DBT_") and name != "DBT_USE_COLORS"]:
            del os.environ[name]
        os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    # dbt makes hundreds of thousands of objects that stay: to look at them again and again is a tenth of its start.
    gc.set_threshold(100_000, 50, 50)
    # Python's keeper of semaphores would complain of those of a dbt that is interrupted.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    if os.environ.get("NO_COLOR"):  # no-color.org, which dbt does not know
        os.environ.setdefault("DBT_USE_COLORS", "false")
    from dbt.cli.main import cli

    cli(arguments, prog_name="dbt")


def _point_at_profile(arguments: Sequence[str]) -> None:
    """Let dbt find profiles.yml where it finds dbt_project.yml, above this folder or where it is told."""
    words = [part for word in arguments for part in word.split("=", 1)]
    named = os.environ.get("DBT_PROJECT_DIR")
    if "--project-dir" in words[:-1]:
        named = words[words.index("--project-dir") + 1]
    here = Path.cwd()
    for folder in [here / named] if named else [here, *here.parents]:
        if (folder / "dbt_project.yml").is_file():
            if (folder / "profiles.yml").is_file() and not (here / "profiles.yml").is_file():
                os.environ.setdefault("DBT_PROFILES_DIR", str(folder))
            return
