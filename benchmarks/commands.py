"""Running a command of the project as a person does, with its time and the memory of all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.background import beside
from pipeline.errors import PipelineError
from tests.processes import descendants

# A sample costs the kernel about 20 ms of work, on pages that the measured processes use.
_SECONDS_BETWEEN_SAMPLES = 1.0
_STOP_SECONDS = 20


@dataclass(frozen=True)
class Finished:
    """A command that has succeeded.

    Attributes:
        seconds: how long it took, its own start-up included.
        output: what it printed.
        peak_bytes: the most memory that it and all processes below it held at one time.
    """

    seconds: float
    output: str
    peak_bytes: int


def run(command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run a command to its end.

    Raises:
        PipelineError: it failed; the message has the end of what it printed.
    """
    begun = time.monotonic()
    with _started(command, folder, environment) as process, _sampled(process.pid) as samples:
        output, _ = process.communicate()
        seconds = time.monotonic() - begun
    if process.returncode != 0:
        name = " ".join(map(str, command))
        raise PipelineError(f"{name} failed in {folder}: {' '.join(output.split())[-500:]}")
    return Finished(seconds, output, max(samples, default=0))


@contextmanager
def _started(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process group of its own, of which nothing is left at the end."""
    process = subprocess.Popen(  # noqa: S603 - the project's own commands
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # and no session: what leaves that is taken for a server, which outlives its command
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _sampled(pid: int) -> Iterator[list[int]]:
    """Collect the memory of a process and those below it, now and then, until the block ends."""
    samples: list[int] = []

    def sample(ended: threading.Event) -> None:
        while not ended.wait(_SECONDS_BETWEEN_SAMPLES):
            samples.append(sum(map(memory_of, [pid, *descendants(pid)])))

    with beside(sample):
        yield samples


def memory_of(pid: int) -> int:
    """Give the memory of a process in bytes, its share of shared pages included (PSS); 0 where it has ended."""
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_full_info().pss)
    return 0
