"""sqlfluff over what dbt compiles; `make lint` is the quick way, without a database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.settings import MysqlSettings
from tests.integration.dbt.project import create_project


def test_the_compiled_sql_is_clean(mysql_by_socket: MysqlSettings, root: Path, tmp_path: Path) -> None:
    project = create_project(tmp_path / "root", root, mysql_by_socket)
    for name in (".sqlfluff", ".sqlfluffignore"):
        (project.folder / name).symlink_to(root / name)
    linted = subprocess.run(
        [Path(sys.executable).with_name("sqlfluff"), "lint", "dbt_project", "--format", "json"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"violations": [{' not in linted.stdout
    assert linted.stdout.count('"filepath"') > 20, linted.stderr
    assert linted.returncode == 0
