"""Whatever stands in the settings: no name reaches SQL, a path or a URI that could mean more there than a name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from pipeline.settings import RECORD_KINDS, Settings, load_settings

Apply = Callable[[dict[str, Any], str], None]

HOSTILE = [
    "x`; drop database mysql; -- ",
    "x' or '1'='1",
    'x"',
    "x\\",
    "x\x00y",
    "x\ny",
    "x\u2028y",
    "\x1b[2Jx",
    "..",
    "../x",
    "x/../../y",
    "/etc/passwd",
    "~root",
    "$HOME",
    "$(id)",
    "x;y",
    "x#y",
    "x?y",
    "x%2e%2e",
    "x y",
    "-rf",
    ".hidden",
    "x/",
    "/x",
    "x//y",
    "x\uff0fy",
    "\u0430bc",
    "x" * 300,
    "",
    "{data_set.__class__}",
    "{mode!r}",
    "{data_set:>99}",
    "{0}",
    "{",
]

ALLOWED = {
    "step": {"x y"},
    "prefix": {"x y", "", "x;y", "$HOME", "$(id)", "-rf", ".hidden", "x' or '1'='1", "\u0430bc", "x\uff0fy", "x" * 300},
}

PARTS = st.sampled_from([*HOSTILE, "a", "A", "0", "_", "-", ".", "x_{data_set}", "{mode}"])
VALUES = st.text(max_size=80) | st.lists(PARTS, min_size=1, max_size=3).map("".join)


def put(path: str) -> Apply:
    """Puts a value into one place of pipeline.yml."""

    def apply(content: dict[str, Any], value: str) -> None:
        *folders, last = path.split(".")
        for folder in folders:
            content = content[folder]
        content[last] = value

    return apply


def rename_data_set(content: dict[str, Any], name: str) -> None:
    content["data_sets"] = {name: next(iter(content["data_sets"].values()))}


def rename_step(content: dict[str, Any], name: str) -> None:
    content["extract"][0]["name"] = name


def change_task(content: dict[str, Any], task: str) -> None:
    content["extract"][0]["task"] = task


PLACES: dict[str, Apply] = {
    "bucket": put("source.bucket"),
    "prefix": put("source.prefixes.development"),
    "archive": put("data_sets.train.archive"),
    "member of samples": put("data_sets.train.members.sample"),
    "member of common features": put("data_sets.train.members.common_feature"),
    "database": put("databases.development"),
    "data set": rename_data_set,
    "step": rename_step,
    "task": change_task,
}


@pytest.fixture
def declared(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What pipeline.yml declares, to be changed: to read it anew for every example would take most of the time."""
    content: dict[str, Any] = yaml.safe_load((root / "pipeline.yml").read_text())
    monkeypatch.setattr("pipeline.settings._read_yaml", lambda _path: content)
    return content


@pytest.mark.parametrize("place", PLACES)
def test_a_name_of_pipeline_yml_is_harmless_or_refused_in_one_line(
    root: Path, declared: dict[str, Any], place: str
) -> None:
    accepted, refused = [], []

    @settings(max_examples=300, deadline=None, database=None)
    @given(value=VALUES)
    def check(value: str) -> None:
        PLACES[place](declared, value)
        environ = {"DATASET": value} if place == "data set" else {}
        try:
            loaded = load_settings(root=root, environ=environ)
        except SettingsError as error:
            refused.append(value)
            assert_one_line(error)
        else:
            accepted.append(value)
            assert_harmless(loaded)

    for hostile in HOSTILE:
        check = example(value=hostile)(check)
    check()
    assert refused
    # The name of a step is for people, and may hold a blank; a key of S3 may hold whatever ends no address.
    assert set(accepted) & set(HOSTILE) <= ALLOWED.get(place, set())


@pytest.mark.parametrize("name", ["DATASET", "MODE", "DEEPCVR_MODE", "MYSQL_PORT"])
@given(value=VALUES.filter(lambda text: "\x00" not in text))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_choice_of_the_environment_is_one_of_those_declared_or_refused_in_one_line(
    root: Path, declared: dict[str, Any], name: str, value: str
) -> None:
    assert declared
    environ = {name: value, "MYSQL_HOST": "db", "MYSQL_USER": "me"}
    try:
        loaded = load_settings(root=root, environ=environ)
    except SettingsError as error:
        assert_one_line(error)
    else:
        assert loaded.data_set.name in ("train", "test")
        assert loaded.mode in ("development", "production")
        assert 0 < loaded.mysql.port < 65536


def assert_one_line(error: SettingsError) -> None:
    assert error.exit_code == 2
    assert str(error).isprintable()


def assert_harmless(loaded: Settings) -> None:
    """What is accepted can be written between backquotes, is a file of its folder, and is one object in one bucket."""
    for database in (loaded.database, loaded.staging_database):
        assert re.fullmatch("[a-z][a-z0-9_]{0,63}", database)
    for path, folder in [
        (loaded.archive_path, loaded.archives_folder),
        *((loaded.member_path(kind), loaded.unpacked_folder) for kind in RECORD_KINDS),
    ]:
        assert path.resolve().parent == folder.resolve()
        assert len(path.name) < 200
    uri = urlsplit(loaded.member_uri("sample"))
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("s3", loaded.source.bucket, f"/{loaded.archive_key}")
    assert uri.fragment == loaded.data_set.members["sample"]
    assert not uri.query
    assert not {"", ".", ".."} & set(PurePosixPath(uri.path).parts[1:])
    assert loaded.archive_key == f"{loaded.source.prefix}/{loaded.data_set.archive}".lstrip("/")
    assert loaded.archive_uri.isprintable()
    assert all(step.name.isprintable() for step in loaded.steps)
    assert all(re.fullmatch(r"(extract|spark_jobs)\.\w+", step.task, re.ASCII) for step in loaded.steps)
