"""Run the steps that `pipeline.yml` declares, in their order."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

from extract import bucket, local
from extract.local import Found
from pipeline.cli import say
from pipeline.errors import PipelineError, SettingsError, UsageError
from pipeline.files import hold_lock
from pipeline.progress import working
from pipeline.s3 import s3_errors
from pipeline.settings import Settings, Step, object_uri, require_nameable
from pipeline.source import require_source, source_line
from pipeline.steps import StepResult, Task
from pipeline.units import duration


class ReadyStep(NamedTuple):
    """A step whose task has taken its parameters."""

    name: str
    run: Callable[[], StepResult]


def choose_steps(settings: Settings, only: str | None) -> Sequence[ReadyStep]:
    """Give the steps to run, after checking that all tasks exist and take their parameters.

    Args:
        settings: declares the steps.
        only: the name of the one step to run; None for all.

    Raises:
        UsageError: no step has that name.
        SettingsError: a step's task is no module of the project, or does not take the step's parameters.
    """
    names = [step.name for step in settings.steps]
    if only is not None and only not in names:
        raise UsageError(f"there is no step {only!r}: pipeline.yml declares {', '.join(names)}")
    ready = [make_ready(settings, step) for step in settings.steps]
    return [step for step in ready if only in (None, step.name)]


def make_ready(settings: Settings, step: Step) -> ReadyStep:
    """Find the task of a step, and let it read its parameters.

    Raises:
        SettingsError: the task is no module of the project, or does not take the parameters.
        UsageError: the parameters came from the command line, and make no sense.
    """
    if importlib.util.find_spec(step.task) is None:
        raise SettingsError(f"pipeline.yml: step {step.name} has the task {step.task!r}, which is no module here")
    module = importlib.import_module(step.task)
    if not all(callable(getattr(module, name, None)) for name in ("read_parameters", "run_step")):
        raise SettingsError(f"pipeline.yml: step {step.name} has the task {step.task!r}, which is no task of a step")
    task = cast(Task[Any], module)
    return ReadyStep(step.name, partial(task.run_step, settings, task.read_parameters(step.parameters)))


def check(settings: Settings, only: str | None) -> None:
    """Name the source, and check the settings and that there is one, without asking any server.

    Raises:
        UsageError: no step has the name of the one to run.
        SettingsError: a setting makes no sense, or the source's credentials are missing.
    """
    name_source("extract", settings)
    choose_steps(settings, only)


def name_source(command: str, settings: Settings, *, look: bool = False) -> None:
    """Say where the data comes from, and check that there is something, without asking any server.

    Args:
        command: the target of make.
        settings: name the source.
        look: ask an S3 store what it has; otherwise the folder in it is named.

    Raises:
        SettingsError: the source's credentials are missing, or a folder has nothing of the data set.
    """
    found: Found[Any] | None = None
    place = None
    if settings.source.kind == "files":
        found = local.find_local(settings)
    elif settings.source.kind == "s3":
        found = bucket.glance(settings) if look else None
        place = object_uri(settings.source.bucket, settings.source.prefix)
    say(f"{command} {source_line(settings, found.where if found else place)}")
    if found and (line := local.passed_over_line(found)):
        say(line)
    with s3_errors(settings.archive_uri):
        require_source(settings)


def run(settings: Settings, only: str | None = None) -> None:
    """Run the steps, and report each one's name, result and duration.

    Args:
        settings: the run's settings.
        only: the name of the one step to run; all of them by default.

    Raises:
        PipelineError: a step failed; the message begins with its name.
    """
    name_source("extract", settings, look=only is None)
    steps = choose_steps(settings, only)
    begun = time.monotonic()
    with only_run(settings):
        from pipeline.probe import require_server

        require_server(settings)
        for number, step in enumerate(steps, start=1):
            run_step(step, f"{number}/{len(steps)}")
    say(
        f"extract {settings.data_set.name}, {settings.mode}: {len(steps)} {'steps' if len(steps) > 1 else 'step'} in"
        f" {duration(time.monotonic() - begun)}, staged in {settings.staging_database}"
    )


def run_step(step: ReadyStep, place: str) -> None:
    """Run a step, and report its name, result and duration.

    Args:
        step: the step.
        place: which of how many it is, such as `1/3`.

    Raises:
        PipelineError: the step failed; the message begins with its name.
    """
    begun = time.monotonic()
    try:
        with working(step.name):
            result = step.run().result
    except PipelineError as error:
        raise type(error)(f"{step.name}: {error}") from error
    say(f"[{place}] {step.name}: {result} ({duration(time.monotonic() - begun)})")


@contextmanager
def only_run(settings: Settings) -> Iterator[None]:
    """Hold the right to land one data set in one mode; the system takes it back when the process ends.

    Raises:
        PipelineError: another run holds it, or the project's folder has a name that Java cannot be told.
    """
    require_nameable(settings.root)
    path = settings.archives_folder / f".{settings.data_set.name}.lock"
    with hold_lock(path, f"another make extract or make sample is landing {settings.data_set.name}, {settings.mode}"):
        yield
