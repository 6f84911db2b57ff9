"""Run the steps that `pipeline.yml` declares, in their order."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

from extract.s3 import s3_errors
from pipeline.cli import say
from pipeline.errors import PipelineError, SettingsError, UsageError
from pipeline.files import hold_lock
from pipeline.progress import working
from pipeline.settings import Settings, Step, require_nameable
from pipeline.source import require_source, source_line
from pipeline.steps import Task
from pipeline.units import duration


def choose_steps(settings: Settings, only: str | None) -> Sequence[Step]:
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
    for step in settings.steps:
        if importlib.util.find_spec(step.task) is None:
            raise SettingsError(f"pipeline.yml: step {step.name} has the task {step.task!r}, which is no module here")
        _task_of(step).read_parameters(step.parameters)
    return [step for step in settings.steps if only in (None, step.name)]


def check(settings: Settings, only: str | None) -> None:
    """Name the source, and check the settings and that there is one, without asking any server.

    Raises:
        UsageError: no step has the name of the one to run.
        SettingsError: a setting makes no sense, or the source's credentials are missing.
    """
    say(f"extract {source_line(settings)}")
    choose_steps(settings, only)
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
    say(f"extract {source_line(settings)}")
    steps = choose_steps(settings, only)
    begun = time.monotonic()
    with only_run(settings):
        from pipeline.probe import require_server  # noqa: PLC0415 - --help needs no driver

        require_server(settings)
        for number, step in enumerate(steps, start=1):
            run_step(step.name, f"{number}/{len(steps)}", partial(_result_of, step, settings))
    say(
        f"extract {settings.data_set.name}, {settings.mode}: {len(steps)} {'steps' if len(steps) > 1 else 'step'} in"
        f" {duration(time.monotonic() - begun)}, staged in {settings.staging_database}"
    )


def run_step(name: str, place: str, step: Callable[[], str]) -> None:
    """Run a step, and report its name, result and duration.

    Args:
        name: of the step.
        place: which of how many it is, such as `1/3`.
        step: does the work and gives its result in one line.

    Raises:
        PipelineError: the step failed; the message begins with its name.
    """
    begun = time.monotonic()
    try:
        with working(name):
            result = step()
    except PipelineError as error:
        raise type(error)(f"{name}: {error}") from error
    say(f"[{place}] {name}: {result} ({duration(time.monotonic() - begun)})")


def _result_of(step: Step, settings: Settings) -> str:
    return _task_of(step).run_step(settings, step.parameters).result


def _task_of(step: Step) -> Task:
    task = importlib.import_module(step.task)
    if not all(callable(getattr(task, name, None)) for name in ("read_parameters", "run_step")):
        raise SettingsError(f"pipeline.yml: step {step.name} has the task {step.task!r}, which is no task of a step")
    return cast(Task, task)


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
