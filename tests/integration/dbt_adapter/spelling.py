"""Dbt-tests-adapter in MySQL's SQL: it is written in that of Postgres, and is imported with these words replaced."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from dbt.tests import adapter

_TERM = r"(?:concat\([^()]*\)|cast\([^()]*\)|'[^'\n]*'|\w+(?:\.\w+)*)"
_TYPES = {
    "text": "char", "varchar(20)": "char(20)", "date": "date", "timestamp": "datetime", "timestamptz": "datetime",
    "smallint": "signed", "integer": "signed", "bigint": "signed", "real": "double", "double precision": "double",
    "numeric": "decimal(28, 6)", "{{ dbt.type_int() }}": "signed",
}  # fmt: skip


def _sha2(text: str) -> str:
    return hashlib.sha256(text.replace("EMPTY", "").encode()).hexdigest()


_WORDS: Sequence[tuple[str, str | Callable[[re.Match[str]], str]]] = (
    # Casts, texts and times.
    *((rf"({_TERM})::{re.escape(type_)}(?![\w(])", rf"cast(\1 as {name})") for type_, name in _TYPES.items()),
    (r"('\{.*\}')::json", r"json_extract(\1, '$')"),
    (r"""'id \|\| ' ~ "'-'" ~ ' \|\| first_name'""", '''"concat(id, '-', first_name)"'''),
    (rf"{_TERM}(?: \|\| {_TERM})+", lambda found: f"concat({found[0].replace(' || ', ', ')})"),
    (r"md5\((.*)\) as", r"sha2(\1, 256) as"),
    (r"interval '(\d+) (\w+)'", r"interval \1 \2"),
    (
        r"TIMESTAMP WITHOUT TIME ZONE|\bTIMESTAMP(?=,?$)|timestamp with(out)? time zone|(?<=timestamp_col: )timestamp",
        "datetime",
    ),
    (
        r"now\(\) as|(\(current_timestamp at time zone 'utc'\)|current_timestamp)::TIMESTAMP as",
        "current_timestamp() as",
    ),
    (r"as current_timestamp,", "as `current_timestamp`,"),
    (r"set session time zone 'Asia/Kolkata'", "set time_zone = '+05:30'"),
    (r"current_setting\('timezone'\)", "@@time_zone"),
    (r"--(?=,)", "-- "),
    (r'"varchar"\)', '"varchar(9)")'),
    (r"as varchar\((\d+)\)\)", r"as char(\1))"),
    (r"(?<=cast\()(null as) integer", r"\1 signed"),
    (r"(\d\d:\d\d:\d\d)-0(?!\d)", r"\1"),
    (r"TIMESTAMPTZ '", "TIMESTAMP '"),
    (r"date\('(\d{4}-12-31)'\)", r"cast('\1' as datetime)"),
    (r"full outer join", "left join"),
    (r"^(ab|a|1|EMPTY),[0-9a-f]{32}$", lambda found: f"{found[1]},{_sha2(found[1])}"),
    (r"'09/(\d\d)/2023'", r"'2023-09-\1'"),
    # Names.
    (r"\{(?:project\.)?database\}\.|\{\{ ?target\.database ?\}\}\.", ""),
    (r"""^( +\()("\w+"(?:,"\w+")+)\)$""", lambda found: found[1] + found[2].replace('"', "") + ")"),
    (r"""'"\{\}"'\.format""", '"{}".format'),
    (r"vacuum ", "analyze table "),
    (
        r"\bschema text\b|(?<=\()schema(?=\))|(?<=\(db, )schema(?=\))",
        lambda found: found[0].replace("schema", "`schema`"),
    ),
    (r"(drop schema if exists .*) cascade", r"\1"),
    (r"project\.test_dir", "Path(__file__).parent"),
    # What the profile says.
    (r"== project\.database", "== str(project.database)"),
    (r'\["target_dbname"\] == "dbt"', '["target_dbname"] == ""'),
    (r'\["target_host"\] == host', '["target_host"] == (host or "")'),
    (r'\["target_type"\] == "postgres"', '["target_type"] == "pymysql"'),
    (r'\["target_user"\] == "root"', '["target_user"] in ("root", "deepcvr")'),
    # What the catalog holds. The width of an integer is MariaDB's alone.
    (r"role=profile_user", "role=None"),
    (r'_type="(integer|bigint)"', lambda found: f'_type=AnyStringWith("{found[1].removesuffix("eger")}")'),
    (
        r"^from dbt.tests.util import (?=run_dbt, rm_file, get_artifact, check)",
        "from dbt.tests.util import AnyStringWith, ",
    ),
    (r'(?<=view_type=)"VIEW"', '"view"'),
    (r'(?<=table_type=)"BASE TABLE"', '"table"'),
    # What the server says.
    (r"syntax error at or near .limit.", "1064: "),
    (r"syntax error(?=. in seed_result)", "error in your sql syntax"),
    (r'"does not exist"$|"unrecognized privilege"$', '"Database Error in model my_invalid_model"'),
    # No view goes with the table that it reads.
    (r"exists=False", "exists=True"),
)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - its signature
        text = self.get_data(self.path).decode()
        for pattern, words in _WORDS:
            text = re.sub(pattern, words, text, flags=re.MULTILINE)
        return self.source_to_code(text.encode(), self.path)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{adapter.__name__}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.origin)
        return spec


def spelled_modules() -> Iterator[ModuleType]:
    """Import all modules of the package."""
    (folder,) = adapter.__path__
    sys.meta_path.insert(0, _Finder())
    for path in sorted(Path(folder).rglob("*.py")):
        yield importlib.import_module(".".join((adapter.__name__, *path.relative_to(folder).with_suffix("").parts)))
    del sys.meta_path[0]
