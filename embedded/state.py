"""`make status`: the services and how far each data set has come; without the packages, what can be told without them.

Standard library only, but for what is imported when the packages are there.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embedded import mysql_server
from embedded.installation import was_broken_off
from embedded.running import ServiceStatus, describe_mysql, describe_s3, explained
from pipeline.commands import SETUP, make_command
from pipeline.settings import MODES, check_environment, names_of_data_sets

_PACKAGES = ("boto3", "numpy", "pymysql", "yaml")
_STAGES = ("downloaded", "unpacked", "staged", "built", "tested")
# As embedded.status tells of what it does not know.
_UNKNOWN = {"state": "unknown", "text": "?", "facts": {}}


def status_lines(root: Path, *, as_json: bool) -> Iterator[str]:
    """Tell of the services and of every data set. Starts nothing.

    Args:
        root: the project's folder.
        as_json: for programs: one object, whose keys are always the same.
    """
    has_packages = not was_broken_off(root / ".venv") and all(map(importlib.util.find_spec, _PACKAGES))
    services, told, lines = _with_settings(root) if has_packages else _before_setup(root)
    if as_json:
        content = {"services": [asdict(service) for service in services], **told}
        yield from json.dumps(content, indent=1).split("\n")
        return
    yield from (service.line for service in services)
    yield ""
    yield from lines


def _with_settings(root: Path) -> tuple[list[ServiceStatus], dict[str, Any], list[str]]:
    from embedded import status
    from embedded.services import find_services
    from pipeline.settings import load_settings

    settings = load_settings(root=root)
    # Where the embedded server has never been started, no database can be missed.
    has_server = not settings.mysql.is_embedded or mysql_server.data_folder(settings.embedded_dir).exists()
    found = status.read_status(settings, has_server=has_server)
    return find_services(settings), status.as_json(found), list(status.lines_of(found, settings))


def _before_setup(root: Path) -> tuple[list[ServiceStatus], dict[str, Any], list[str]]:
    check_environment(os.environ, root)
    chosen = (
        os.environ.get("DEEPCVR_MODE") or os.environ.get("MODE") or MODES[0],
        os.environ.get("DATASET") or "train",
    )
    base, run = root / ".embedded", make_command("run", chosen)
    if any((root / name).exists() for name in (".venv", ".embedded/data", "data")):
        problem = f"set-up is not complete, and what has been made is not known before: {SETUP} completes it, {run} too"
    else:
        problem = f"nothing is set up yet: {run} does everything, {SETUP} that alone"
    with explained(base):
        services = [describe_mysql(base), describe_s3(base)]
    data_sets = [
        {"mode": mode, "data_set": name, "database": None}
        | dict.fromkeys(_STAGES, _UNKNOWN)
        | {"next": make_command("run", (mode, name))}
        for mode in MODES
        for name in names_of_data_sets(root / "pipeline.yml") or [chosen[1]]
    ]
    return services, {"server": None, "problem": problem, "data_sets": data_sets}, [problem]
