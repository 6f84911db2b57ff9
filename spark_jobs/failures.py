"""What a Spark job ended by, as one line that says what happened and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import LoadError, PipelineError

_AGAIN = "run the same command again"
_LESS_MEMORY = f"free memory, or use fewer cores by SPARK_MASTER='local[1]', then {_AGAIN}"

# What an error's text has, what has happened, and what to do. The first that fits counts.
_REMEDIES: Sequence[tuple[str, str, str]] = (
    (
        r"No space left on device|Disk quota exceeded",
        "{reason}: a disk is full, most likely that of temporary files ({folder}, or spark.local.dir)",
        f"make room there, or name another folder by TMPDIR, then {_AGAIN}",
    ),
    (
        r"Failed to create (a temp directory|(any )?local dir)",
        "Spark's temporary files have no folder that can be written ({folder}, or spark.local.dir)",
        f"make room there or name another folder, by SPARK_LOCAL_DIRS where it is set or by TMPDIR, then {_AGAIN}",
    ),
    (
        r"Python worker exited unexpectedly|Python worker failed to connect back",
        "Spark's Python workers ended again and again, most likely killed for want of memory",
        _LESS_MEMORY,
    ),
    (
        r"ExecutorLostFailure|Container killed|exit(ed with)? code 137",
        "Spark's executors were lost again and again, most likely killed for want of memory",
        f"give them more (spark.executor.memory) or fewer cores (spark.executor.cores), then {_AGAIN}",
    ),
    (r"MemoryError|OutOfMemoryError|[Ii]nsufficient memory|Cannot allocate memory", "{reason}", _LESS_MEMORY),
    # Of the Python beside the JVM; a task's own errors stand behind other lines.
    (
        r"\A(Py4JNetwork|Connection\w+|BrokenPipe|EOF)Error\b|Answer from Java side is empty|CANNOT_OPEN_SOCKET",
        "Spark's JVM ended in the middle of the job, most likely killed for want of memory",
        _LESS_MEMORY,
    ),
    (
        r"^(OS|FileNotFound|Permission|IsADirectory|NotADirectory)Error: \[Errno ",
        "{reason}",
        f"check that file and its disk, on every machine where Spark runs tasks, then {_AGAIN}",
    ),
)


def explained_failure(error: Exception, log: Path | None) -> PipelineError:
    """Find the one line that a task raised among what Spark tells of its end."""
    text = str(error)
    raised = re.search(r"^(?:\w+: )?pipeline\.errors\.\w+: (.+)$", text, re.MULTILINE)
    if raised:
        return LoadError(raised[1].strip())
    where = f" ({log} has Spark's own account)" if log else ""
    reason = with_remedy(_reason(error, text), f"{type(error).__name__}: {text}")
    return LoadError(f"the Spark job failed: {reason}{where}")


def with_remedy(reason: str, text: str) -> str:
    """Say what has happened and what to do, where a person can do something; otherwise give the reason alone.

    Args:
        reason: what the error says of itself, in one line.
        text: all that it says.
    """
    for pattern, cause, remedy in _REMEDIES:
        if re.search(pattern, text, re.MULTILINE):
            folder = os.environ.get("SPARK_LOCAL_DIRS") or os.environ.get("TMPDIR", "/tmp")  # noqa: S108
            return f"{cause.format(reason=reason, folder=folder)}: {remedy}"
    return reason


def _reason(error: Exception, text: str) -> str:
    # The last line of a Python traceback, or what the JVM says of the last attempt.
    python = re.findall(r"^((?:\w+\.)*\w+(?:Error|Exception)(?:: .+)?)$", text, re.MULTILINE)
    lost = re.search(
        r"Lost task \S+ in stage \S+ \(TID \d+\) \((\S+) executor [^)]*\): (?:[\w.$]+: )?(.+)$", text, re.MULTILINE
    )
    java = re.search(r"^: (.+)$", text, re.MULTILINE)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if python:
        return str(python[-1]).strip()
    if lost:
        return f"{lost[2].strip()} on {lost[1]}"
    return java[1].strip() if java else lines[0] if lines else type(error).__name__
