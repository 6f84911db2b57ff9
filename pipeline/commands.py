"""Commands as messages advise them: typed as they stand there, they go on with the same data set, mode and source.

Whoever advises a command has it from here; a test looks for others. Standard library only: set-up advises some too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pipeline.settings import Settings

# What a command is about: settings, or the names of a mode and of a data set.
About: TypeAlias = "Settings | tuple[str, str]"

# The targets of make that read the source. Where the environment says which it is, so does the advice.
_OF_SOURCE = ("run", "extract", "sample")

# These are about the machine, and the same for every data set and mode.
SETUP, UP, DOCS, CLEAN_ALL = "make setup", "make up", "make docs", "make clean ALL=1"


def make_command(target: str, about: About, **variables: str | int) -> str:
    """Give a call of make.

    Args:
        target: of the Makefile.
        about: the data set and the mode that the call is to work on.
        variables: further ones, such as `FORCE=1`.
    """
    mode, data_set = _names(about)
    words = {"DATASET": data_set} if _is_said(data_set, "train", os.environ.get("DATASET")) else {}
    words |= {"MODE": mode} if _is_said(mode, "development", _mode_of_environment()) else {}
    if target in _OF_SOURCE and (source := os.environ.get("SOURCE")):
        words["SOURCE"] = source
    words |= {name: str(value) for name, value in variables.items()}
    return " ".join(["make", target, *(f"{name}={shlex.quote(value)}" for name, value in words.items())])


def dbt_command(arguments: str, about: About) -> str:
    """Give a call of dbt, by its path where the shell would not find the project's own.

    Args:
        arguments: the command of dbt and its options, such as `run`.
        about: the data set and the mode that the call is to work on.
    """
    mode, data_set = _names(about)
    # The name that goes before the other one, where that says something else.
    name = "MODE" if os.environ.get("DEEPCVR_MODE") in (None, "", mode) else "DEEPCVR_MODE"
    words = [f"{name}={mode}"] if _is_said(mode, "development", _mode_of_environment()) else []
    target = [] if data_set == "train" else ["--target", data_set]
    return " ".join([*words, _program("dbt"), arguments, *target])


def python_command(module: str) -> str:
    """Give a call of one of the project's modules, with its options, that works whatever environment is active."""
    return f"{_program('python')} -m {module}"


def _names(about: About) -> tuple[str, str]:
    return about if isinstance(about, tuple) else (about.mode, about.data_set.name)


def _mode_of_environment() -> str | None:
    return os.environ.get("DEEPCVR_MODE") or os.environ.get("MODE")


def _is_said(value: str, default: str, of_environment: str | None) -> bool:
    """Whether a call must name a value: it is not the default, or the environment has another in its place."""
    return value != default or (of_environment or default) != default


def _program(name: str) -> str:
    """Give a program of `.venv` as a shell finds it: by its name where the environment is active."""
    found, own = shutil.which(name), Path(sys.executable).with_name(name)
    return name if found and Path(found).parent == own.parent else f".venv/bin/{name}"
