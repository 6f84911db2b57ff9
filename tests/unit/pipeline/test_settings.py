from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from jinja2 import Environment

from pipeline.errors import SettingsError
from pipeline.settings import MODES, check_environment, load_settings

Write = Callable[[dict[str, Any]], Path]


@pytest.fixture
def declared(root: Path) -> dict[str, Any]:
    """What pipeline.yml declares, to be changed."""
    content: dict[str, Any] = yaml.safe_load((root / "pipeline.yml").read_text())
    return content


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a pipeline.yml of the test's own and gives its folder."""

    def to_folder(content: dict[str, Any]) -> Path:
        (tmp_path / "pipeline.yml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tmp_path

    return to_folder


def test_the_defaults_are_train_in_development_on_the_embedded_server(root: Path) -> None:
    settings = load_settings(root=root, environ={})

    assert settings.archive_uri == "s3://deepcvr-data/development/taobao_train.tar.gz"
    assert (settings.database, settings.staging_database) == (
        "deepcvr_development_train",
        "deepcvr_development_train_staging",
    )
    assert settings.mysql.is_embedded
    assert settings.mysql.unix_socket == root / ".embedded" / "mysql.sock"
    assert [step.name for step in settings.steps] == ["download", "unpack", "explode"]


@pytest.mark.parametrize(
    ("mode", "data_set", "database"),
    [
        ("production", "train", "deepcvr_train"),
        ("production", "test", "deepcvr_test"),
        ("development", "train", "deepcvr_development_train"),
        ("development", "test", "deepcvr_development_test"),
    ],
)
def test_each_mode_and_data_set_has_its_own_databases_and_folders(
    root: Path, mode: str, data_set: str, database: str
) -> None:
    settings = load_settings(root=root, environ={"DEEPCVR_MODE": mode, "DATASET": data_set})

    assert settings.database == database
    assert settings.archive_path == root / "data" / mode / "archives" / f"taobao_{data_set}.tar.gz"
    assert settings.member_path("sample").name == f"sample_skeleton_{data_set}.csv"


def test_an_argument_goes_before_deepcvr_mode_and_that_before_mode(root: Path) -> None:
    environment = {"DEEPCVR_MODE": "production", "MODE": "development"}

    assert load_settings(root=root, environ=environment).mode == "production"
    assert load_settings(root=root, environ=environment, mode="development").mode == "development"
    assert load_settings(root=root, environ={"MODE": "production"}).mode == "production"


def test_a_servers_password_is_in_no_representation(root: Path) -> None:
    environment = {"MYSQL_HOST": "db.example", "MYSQL_USER": "me", "MYSQL_PASSWORD": "open sesame"}
    settings = load_settings(root=root, environ=environment)

    assert settings.mysql.password == "open sesame"
    assert settings.mysql.port == 3306
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MODE": "staging"}, "MODE is 'staging', expected development or production"),
        ({"DATASET": "validation"}, "DATASET is 'validation', expected train or test"),
        ({"MYSQL_HOST": "db"}, "MYSQL_HOST is set but MYSQL_USER is not"),
        ({"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_PORT": "70000"}, "MYSQL_PORT is '70000'"),
        ({"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_PORT": "x"}, "MYSQL_PORT is 'x'"),
        ({"MYSQL_HOST": "db\n", "MYSQL_USER": "me"}, "MYSQL_HOST ends in a line break: set it without"),
        ({"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_PASSWORD": "x\n"}, "MYSQL_PASSWORD ends in a line break: set"),
        ({"FORCE": "maybe"}, "FORCE is 'maybe', expected 1, 0, true, false, yes or no"),
        ({"SOURCE": "S3"}, "SOURCE is 'S3', expected generated, s3, s3://bucket/prefix, or a folder or an archive"),
        ({"SOURCE": "s3://ab"}, "SOURCE is 's3://ab', which is no address such as s3://bucket/prefix"),
        ({"SOURCE": "s3://bucket/../x"}, "which is no address such as"),
        ({"SOURCE": "s3://bucket/x?y"}, "which is no address such as"),
        ({"SOURCE": "s3", "AWS_SESSION_TOKEN": "hush\n"}, "^AWS_SESSION_TOKEN ends in a line break: set it without$"),
        ({"AWS_ACCESS_KEY_ID": "hu\u201csh"}, "^AWS_ACCESS_KEY_ID holds a blank, a control character or a letter beyo"),
        ({"SOURCE": "s3", "AWS_SECRET_ACCESS_KEY": " hush"}, "^AWS_SECRET_ACCESS_KEY holds a blank, a control char"),
        ({"MODE": "production", "AWS_PROFILE": "x\x1b"}, "^AWS_PROFILE holds a blank, a control character or a lett"),
        (
            {"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_SSL_MODE": "on"},
            "MYSQL_SSL_MODE is 'on', expected disabled, preferred, required, verify_ca or verify_identity",
        ),
        ({"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_SSL_MODE": "VERIFY_CA"}, "MYSQL_SSL_CA is not set"),
        (
            {"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_SSL_MODE": "required", "MYSQL_SSL_CA": "ca.pem"},
            "MYSQL_SSL_MODE required verifies nothing: use verify_ca or verify_identity",
        ),
        ({"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_SSL_CA": "no/ca.pem"}, "ca.pem cannot be read: No such file"),
        (
            {"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_SSL_CA": "README.md"},
            r"README\.md is not a file of certificates in PEM",
        ),
        ({"MYSQL_HOST": "db", "MYSQL_USER": "me", "MYSQL_SSL_CA": "/dev/null"}, "/dev/null is not a file of cert"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(root: Path, environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(root=root, environ=environment)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("environment", "kind", "reason"),
    [
        ({}, "generated", "the default in development mode"),
        ({"MODE": "production"}, "s3", "the default in production mode"),
        ({"SOURCE": "s3"}, "s3", "SOURCE is s3"),
        ({"AWS_PROFILE": "mine"}, "s3", "AWS_PROFILE is set"),
        ({"AWS_ACCESS_KEY_ID": "mine"}, "s3", "AWS_ACCESS_KEY_ID is set"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, "s3", "AWS_ENDPOINT_URL is set"),
        ({"AWS_PROFILE": "", "AWS_DEFAULT_REGION": "eu-west-1"}, "generated", "the default in development mode"),
        ({"AWS_PROFILE": "mine", "SOURCE": "generated"}, "generated", "SOURCE is generated"),
        ({"AWS_SESSION_TOKEN": "x\n"}, "generated", "the default in development mode"),
        ({"MODE": "production", "SOURCE": "generated"}, "generated", "SOURCE is generated"),
    ],
)
def test_a_source_is_a_wish_of_the_environment_or_the_default_of_the_mode(
    root: Path, environment: dict[str, str], kind: str, reason: str
) -> None:
    source = load_settings(root=root, environ=environment).source

    assert (source.kind, source.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("s3://theirs/ali/ccp", "s3://theirs/ali/ccp/taobao_train.tar.gz"),
        ("s3://theirs/ali/ccp/", "s3://theirs/ali/ccp/taobao_train.tar.gz"),
        ("s3://theirs", "s3://theirs/taobao_train.tar.gz"),
        ("s3://theirs/", "s3://theirs/taobao_train.tar.gz"),
        ("s3://theirs/\u6570\u636e", "s3://theirs/%E6%95%B0%E6%8D%AE/taobao_train.tar.gz"),
        ("s3://theirs/my data (2019)", "s3://theirs/my data (2019)/taobao_train.tar.gz"),
    ],
)
def test_a_bucket_and_a_prefix_are_named_by_the_environment(root: Path, source: str, uri: str) -> None:
    settings = load_settings(root=root, environ={"SOURCE": source})

    assert settings.archive_uri == uri
    assert f"s3://{settings.source.bucket}/{settings.archive_key}" == unquote(uri)


def test_a_prefix_may_be_empty_and_a_bucket_ask_for_its_reader_to_pay(declared: dict[str, Any], write: Write) -> None:
    declared["source"] = {"bucket": "theirs", "prefixes": {"development": ""}, "requester_pays": True}
    settings = load_settings(root=write(declared), environ={})

    assert settings.archive_uri == "s3://theirs/taobao_train.tar.gz"
    assert settings.source.requester_pays


@pytest.mark.parametrize(
    ("text", "flag"),
    [("1", True), ("true", True), ("Yes", True), ("0", False), ("FALSE", False), ("no", False), ("", False)],
)
def test_a_flag_is_one_of_six_words_or_not_set(root: Path, text: str, flag: bool) -> None:
    assert load_settings(root=root, environ={"FORCE": text}).force is flag


def test_a_data_set_is_added_by_an_edit_of_pipeline_yml(declared: dict[str, Any], write: Write) -> None:
    declared["data_sets"]["tiny"] = {
        "archive": "tiny.tar.gz",
        "members": {"sample": "tiny_samples.csv", "common_feature": "tiny_groups.csv"},
    }
    settings = load_settings(root=write(declared), environ={"DATASET": "tiny"})

    assert settings.database == "deepcvr_development_tiny"
    assert settings.archive_uri == "s3://deepcvr-data/development/tiny.tar.gz"
    beside = load_settings(root=settings.root, environ={"DATASET": "test"})
    assert beside.database == "deepcvr_development_test"


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one place of pipeline.yml."""

    def apply(content: dict[str, Any]) -> None:
        *folders, last = path.split(".")
        for folder in folders:
            content = content[folder]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (change("source", None), "pipeline.yml: source is missing"),
        (change("source.bucket", None), "pipeline.yml: source.bucket is missing"),
        (
            change("source.prefixes.development", 7),
            "pipeline.yml: source.prefixes.development is missing or not a text",
        ),
        (change("source.requester_pays", "maybe"), "source.requester_pays is 'maybe', expected true or false"),
        (change("databases.development", "x`; drop database mysql"), "databases.development is 'x`; drop"),
        (change("databases.development", "{nothing}"), r"it may name \{mode\}, \{data_set\}"),
        (change("databases.development", "{mode.__class__}"), "databases.development is"),
        (change("data_sets.train.archive", "../train.tar.gz"), "data_sets.train.archive is '../train.tar.gz'"),
        (change("data_sets.train.members.sample", "/etc/passwd"), "data_sets.train.members.sample is '/etc/passwd'"),
        (
            change("data_sets.test.members.sample", "common_features_test.csv"),
            "test.members names one file",
        ),
        (change("data_sets.Train", {}), "a name under data_sets is 'Train'"),
        (change("extract", []), "extract must list at least one step"),
        (change("extract", [{"name": "x", "task": "os.system"}]), "step 1, task is 'os.system'"),
        (change("extract", [{"task": "extract.download"}]), "step 1.name is missing"),
        (
            change("tests", {"max_reject_share": 0.1}),
            "tests is unknown: the limits of tests are variables in dbt_pr",
        ),
    ],
)
def test_a_mistake_in_pipeline_yml_is_named_with_its_place(
    declared: dict[str, Any], write: Write, apply: Callable[[dict[str, Any]], None], message: str
) -> None:
    apply(declared)
    with pytest.raises(SettingsError, match=message):
        load_settings(root=write(declared), environ={})


@pytest.mark.parametrize("text", ["a: [", "- just a list", "\xff"])
def test_a_pipeline_yml_that_is_no_mapping_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "pipeline.yml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as caught:
        load_settings(root=tmp_path, environ={})
    assert "\n" not in str(caught.value)


def test_a_copy_without_pipeline_yml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pipeline\.yml is missing"):
        load_settings(root=tmp_path, environ={})


def test_the_names_of_data_sets_are_read_before_there_is_a_reader_of_yaml(
    declared: dict[str, Any], write: Write, root: Path
) -> None:
    folders = [root, write(declared)]
    for folder in folders:
        check_environment({"DATASET": "test"}, folder)
        with pytest.raises(SettingsError, match="DATASET is 'tset', expected train or test"):
            check_environment({"DATASET": "tset"}, folder)


@pytest.mark.parametrize(
    "text",
    ["data_sets: {a: {}}\n", "data_sets:\n    <<: *all\n", "data_sets: !!map\n  a: {}\n", "data_sets:\n  a: {}\n"],
)
def test_names_that_only_a_reader_of_yaml_can_tell_are_left_to_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "pipeline.yml").write_text(text)
    check_environment({"DATASET": "whatever"}, tmp_path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data_set", ["train", "test"])
def test_profiles_yml_names_the_same_databases(root: Path, mode: str, data_set: str) -> None:
    outputs = yaml.safe_load((root / "profiles.yml").read_text())["deepcvr"]["outputs"]
    environment = {"DEEPCVR_MODE": mode}
    schema = Environment(autoescape=False).from_string(outputs[data_set]["schema"]).render(env_var=environment.get)

    assert schema.strip() == load_settings(root=root, environ={**environment, "DATASET": data_set}).database
