"""What a step of `pipeline.yml` is to the program that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pipeline.errors import SettingsError
from pipeline.settings import Settings


@dataclass(frozen=True)
class StepResult:
    """How a step ended.

    Attributes:
        result: one line for a person, such as `skipped: already landed` or `8.1 MB in 2.0 s`.
    """

    result: str


ParametersT = TypeVar("ParametersT")


class Task(Protocol[ParametersT]):
    """A module that `pipeline.yml` names as the task of a step, whose parameters have a form of its own."""

    def read_parameters(self, parameters: Mapping[str, Any]) -> ParametersT:
        """Give the step's parameters their form; called for all steps before the first is run.

        Raises:
            SettingsError: a parameter is unknown, or makes no sense.
        """

    def run_step(self, settings: Settings, parameters: ParametersT) -> StepResult:
        """Do the step's work, or find that it has been done."""


def byte_size(parameters: Mapping[str, Any], name: str, *, default: int) -> int:
    """Read a size such as `8 MiB` or a plain number of bytes from a step's parameters.

    Raises:
        SettingsError: the value is not a positive size.
    """
    value = parameters.get(name, default)
    units = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
    number, _, unit = str(value).strip().partition(" ")
    factor = units.get(unit.strip().lower())
    if factor is None or not number.isascii() or not number.isdigit() or int(number) == 0:
        raise SettingsError(f"pipeline.yml: {name} is {value!r}, expected a size such as '8 MiB'")
    return int(number) * factor


def refuse_unknown(parameters: Mapping[str, Any], known: set[str], *, step: str) -> None:
    """Refuse a parameter that the step's task does not know, so that no spelling mistake goes unseen.

    Raises:
        SettingsError: names the parameter and those that are known.
    """
    unknown = sorted(set(parameters) - known)
    if unknown:
        expected = ", ".join(sorted(known)) or "none"
        raise SettingsError(f"pipeline.yml: step {step} has no parameter {unknown[0]!r} (known: {expected})")
