"""How every command of the project reports and ends."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pipeline.activity import print_line
from pipeline.errors import PipelineError


def say(line: str) -> None:
    """Print one line of the report on standard output, at once even into a pipe."""
    print_line(line, sys.stdout)


def shown(path: Path) -> str:
    """Give a path as a person sees it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def run_command(command: Callable[[], None], *, verbose: bool, is_private: bool = True) -> int:
    """Run a command and turn what it raises into one line and an exit code.

    What it writes, and what the programs that it starts write, is for its owner alone, whatever the umask says.

    Args:
        command: does the work; it reports through `say`.
        verbose: let the traceback through, after which the line still follows.
        is_private: False for a command that makes what others may use too, such as a virtual environment.

    Returns:
        0; 2 for a mistake in the call or the settings; 1 for a failed run; 130 after an interrupt.
    """
    umask = os.umask(0o077)
    if not is_private:
        os.umask(umask)
    try:
        command()
    except KeyboardInterrupt:
        print("interrupted: the same command continues where this one stopped", file=sys.stderr)
        return 130
    except PipelineError as error:
        if verbose:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, a person gets one line
        if verbose:
            traceback.print_exc()
        print(f"error: {_one_line(error)} (unexpected; --verbose shows where)", file=sys.stderr)
        return 1
    finally:
        os.umask(umask)
    return 0


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
