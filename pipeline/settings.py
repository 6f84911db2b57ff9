"""The settings of a run: `pipeline.yml`, overridden by the environment."""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args
from urllib.parse import quote

from pipeline.errors import SettingsError

Mode = Literal["development", "production"]
RecordKind = Literal["sample", "common_feature"]
SourceKind = Literal["generated", "s3", "files"]
TlsMode = Literal["disabled", "preferred", "required", "verify_ca", "verify_identity"]

# What an archive is is told by its content.
ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")
MODES: tuple[Mode, ...] = get_args(Mode)
RECORD_KINDS: tuple[RecordKind, ...] = get_args(RecordKind)
TLS_MODES: tuple[TlsMode, ...] = get_args(TlsMode)

# Of generated source data, where a call says nothing else: the share of the full size, and what names
# the random numbers.
GENERATED_SCALE = 0.001
GENERATED_SEED = 20220601

# The tables that dbt builds and keeps whole, parents first.
CORE_TABLES = ("sample", "feature", "sample_feature", "common_feature_group")

_VERIFYING_MODES: tuple[TlsMode, ...] = ("verify_ca", "verify_identity")
SAMPLE_PARAMETERS = ("margin", "confidence", "seed", "strata", "allocation", "minimum", "clusters")

# Names that reach SQL, file names or S3 keys. 40 leaves room for `_staging` in MySQL's 64 characters.
_DATA_SET_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")
_DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# S3's own rule, with the capitals and underscores of its oldest buckets and of other stores.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
# Whatever S3 has no advice against ("Naming Amazon S3 objects": characters to avoid), and no ? or #, which end the key
# in an address.
_PREFIX = re.compile(r"""(?:(?!\.{1,2}(?:/|$))[^/?#%^~|`"<>{}\[\]\\]+(?:/(?!$)|$)){0,9}""")
_LONGEST_FILE_URI = 1500  # `asset` has room for 2,048 characters, the names of folders and members below among them
_DEFAULT_SOURCES: Mapping[str, str] = {"development": "generated", "production": "s3"}
_LONGEST_PREFIX = 500  # bytes; a key of S3 has 1,024 at most, and each may be three characters in an address
_PLAIN_IN_URI = " !$&'()*+,-./:;=@_"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE_BREAK = re.compile(r"[\r\n]\Z")
_UNSENDABLE = re.compile(r"[^!-~]")
_CREDENTIALS = {
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"), _UNSENDABLE),
    # No request has it in it: a blank may be part of it, but not where only a bad copy puts one.
    "AWS_SECRET_ACCESS_KEY": re.compile(r"[^ -~]|\A | \Z"),
}
# Set in the environment, each of these is the wish to read from S3 in development mode too.
_WISHES_FOR_S3 = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")
_STEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
_TASK_NAME = re.compile(r"(extract|spark_jobs)\.[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class TlsSettings:
    """Whether the connection to the server is encrypted, and how far the server is believed.

    Attributes:
        mode: one of the modes of MySQL's own clients (the MySQL manual, `--ssl-mode`).
        ca_file: the file that the certificates of the authorities were read from, for messages.
        ca_certificates: those certificates, in PEM: an executor on another machine needs no copy of the file.
    """

    mode: TlsMode = "preferred"
    ca_file: Path | None = None
    ca_certificates: str | None = field(default=None, repr=False)

    @property
    def is_verified(self) -> bool:
        """Whether the server's certificate must be signed by one of the authorities."""
        return self.mode in _VERIFYING_MODES


@dataclass(frozen=True)
class MysqlSettings:
    """Where the MySQL server is.

    Attributes:
        host: the server's host, or None for the embedded server, which is reached by its socket.
        unix_socket: the embedded server's socket.
        tls: how the connection to a host is encrypted; a socket's is not.
    """

    host: str | None
    port: int
    user: str
    password: str = field(repr=False)
    unix_socket: Path
    tls: TlsSettings = TlsSettings()

    @property
    def is_embedded(self) -> bool:
        """Whether the server is the embedded one."""
        return self.host is None

    @property
    def address(self) -> str:
        """The server as messages name it."""
        return f"the embedded MySQL server ({self.unix_socket})" if self.host is None else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class SourceSettings:
    """Where the archives come from.

    Attributes:
        kind: `generated`, which the embedded S3 server holds, `s3`, a store that boto3 finds, or `files` on this
            machine.
        reason: why it is this one, for a person.
        prefix: of the keys in the bucket, without a slash at its ends; may be empty.
        requester_pays: whether the one who reads is to say that they pay for it.
        path: of files, the folder that they are in, or the archive.
    """

    kind: SourceKind
    reason: str
    bucket: str
    prefix: str
    requester_pays: bool = False
    path: Path | None = None

    def key_of(self, archive: str) -> str:
        """Give the key of an archive in the bucket."""
        return str(PurePosixPath(self.prefix) / archive)


@dataclass(frozen=True)
class DataSet:
    """A data set: an archive and the CSV member that holds each kind of record.

    Attributes:
        archive: the archive's name, in the generated source and wherever this project writes one.
        names: all the names that it may have in a source, the likeliest first.
        members: the name of each CSV file.
    """

    name: str
    archive: str
    names: tuple[str, ...]
    members: Mapping[RecordKind, str]


@dataclass(frozen=True)
class Step:
    """A step of `make extract`: its name, the module that does it, and its parameters."""

    name: str
    task: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """Everything that a run of one data set in one mode is told from outside.

    Attributes:
        sample_folder: where `make sample` puts what it draws.
        export_folder: where `make export` puts what it writes.
        sample: the parameters of `make sample`.
        sample_task: the module that draws it.
        spark_master: the Spark master; None leaves it to Spark's own configuration, and to `local[*]` after that.
    """

    root: Path
    mode: Mode
    data_set: DataSet
    data_sets: Mapping[str, DataSet]
    source: SourceSettings
    mysql: MysqlSettings
    database: str
    archives_folder: Path
    unpacked_folder: Path
    sample_folder: Path
    export_folder: Path
    steps: tuple[Step, ...]
    sample: Mapping[str, Any]
    sample_task: str
    spark_master: str | None
    force: bool

    @property
    def staging_database(self) -> str:
        """The database that holds the staging tables and the registry."""
        return f"{self.database}_staging"

    @property
    def embedded_dir(self) -> Path:
        """The folder of the embedded services."""
        return self.root / ".embedded"

    @property
    def archive_key(self) -> str:
        """The archive's key in the bucket."""
        return self.source.key_of(self.data_set.archive)

    @property
    def archive_uri(self) -> str:
        """The archive's address, `s3://bucket/key`, or that of the files."""
        path = self.source.path
        return object_uri(self.source.bucket, self.archive_key) if path is None else file_uri(path)

    @property
    def archive_path(self) -> Path:
        """Where the archive lands."""
        return self.archives_folder / self.data_set.archive

    def member_path(self, kind: RecordKind) -> Path:
        """Where the CSV with this kind of record is unpacked."""
        return self.unpacked_folder / self.data_set.members[kind]

    def member_uri(self, kind: RecordKind) -> str:
        """The address of the CSV inside its archive, `s3://bucket/key#member`."""
        return f"{self.archive_uri}#{self.data_set.members[kind]}"


def object_uri(bucket: str, key: str) -> str:
    """Give an object's address, `s3://bucket/key`, in ASCII."""
    return f"s3://{bucket}/{quote(key, safe=_PLAIN_IN_URI)}"


def file_uri(path: Path) -> str:
    """Give the address of a file of this machine, `file:///path`, in ASCII."""
    return f"file://{quote(os.fsencode(path), safe=_PLAIN_IN_URI)}"


def load_settings(
    *,
    root: Path | None = None,
    environ: Mapping[str, str] | None = None,
    mode: str | None = None,
    data_set: str | None = None,
    force: bool | None = None,
) -> Settings:
    """Read `pipeline.yml` and what the environment overrides.

    Args:
        root: the project's folder; the one that holds this package by default.
        environ: the environment; the process's own by default.
        mode: overrides `DEEPCVR_MODE` and `MODE`.
        data_set: overrides `DATASET`.
        force: overrides `FORCE`.

    Raises:
        SettingsError: a setting is missing, unknown or not of the form that it must have.
    """
    root = root or Path(__file__).resolve().parents[1]
    environ = os.environ if environ is None else environ
    declared = _read_yaml(root / "pipeline.yml")
    the_mode = _choose_mode(mode or environ.get("DEEPCVR_MODE") or environ.get("MODE") or "development")
    data_sets = _data_sets(_section(declared, "data_sets"))
    chosen = data_sets[_choose_data_set(data_set or environ.get("DATASET") or "train", data_sets)]
    names = {"mode": the_mode, "data_set": chosen.name}
    folders = _section(declared, "folders")
    if "tests" in declared:
        raise SettingsError("pipeline.yml: tests is unknown: the limits of tests are variables in dbt_project.yml")
    return Settings(
        root=root,
        mode=the_mode,
        data_set=chosen,
        data_sets=data_sets,
        source=_source(environ, _section(declared, "source"), the_mode),
        mysql=read_mysql(environ, root),
        database=_matching(
            _DATABASE_NAME,
            _filled(_section(declared, "databases"), "databases", the_mode, names),
            f"databases.{the_mode}",
        ),
        archives_folder=root / _filled(folders, "folders", "archives", names),
        unpacked_folder=root / _filled(folders, "folders", "unpacked", names),
        sample_folder=root / _filled(folders, "folders", "samples", names),
        export_folder=root / _filled(folders, "folders", "exports", names),
        steps=_steps(declared.get("extract")),
        sample=_sample(_section(declared, "sample")),
        sample_task=_task(_section(declared, "sample"), "sample"),
        spark_master=environ.get("SPARK_MASTER") or None,
        force=read_flag("FORCE", environ.get("FORCE")) if force is None else force,
    )


def check_environment(environ: Mapping[str, str], root: Path) -> None:
    """Check what the environment says, by nothing but the standard library: before there is a `.venv`.

    What pipeline.yml declares is not checked, but for the name of the data set where that can be told.

    Raises:
        SettingsError: a setting makes no sense.
    """
    mode = _choose_mode(environ.get("DEEPCVR_MODE") or environ.get("MODE") or "development")
    names = names_of_data_sets(root / "pipeline.yml")
    if names:
        _choose_data_set(environ.get("DATASET") or "train", names)
    read_flag("FORCE", environ.get("FORCE"))
    _choose_source(environ, mode, _DEFAULT_SOURCES)
    read_mysql(environ, root)


def require_nameable(root: Path) -> None:
    """Check that Java can be told where the project is.

    Raises:
        SettingsError: its name would be taken apart, or is not what this process takes it for.
    """
    if os.pathsep in str(root):
        raise SettingsError(
            f"{root} has a colon, at which Python and Java take a path apart: move the project elsewhere"
        )
    try:
        str(root).encode()
    except UnicodeEncodeError:
        remedy = "move the project elsewhere" if sys.flags.utf8_mode else "set PYTHONUTF8=1, as make does"
        raise SettingsError(f"{root} is not UTF-8 to this Python, and Java is told of it so: {remedy}") from None


def read_flag(name: str, value: str | bool | None) -> bool:
    """Read a flag; what is not set, or empty, is no.

    Raises:
        SettingsError: it is none of 1, 0, true, false, yes and no.
    """
    text = str(value or "no").strip().lower()
    if text not in ("1", "true", "yes", "0", "false", "no"):
        raise SettingsError(f"{name} is {value!r}, expected 1, 0, true, false, yes or no")
    return text in ("1", "true", "yes")


def names_of_data_sets(path: Path) -> list[str]:
    """Read the names below data_sets as pipeline.yml is written; none where it is written in another way.

    Before set-up there is no reader of YAML.
    """
    found = re.search(r"^data_sets:[ \t]*\n((?:[ \t]+.*\n|[ \t]*(?:#.*)?\n)+)", path.read_text(encoding="utf-8"), re.M)
    lines = [line for line in found[1].splitlines() if line.strip() and line.strip()[0] != "#"] if found else []
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    names = [line.strip().rstrip(":") for line in lines if not line[indent:].startswith((" ", "\t"))]
    return names if all(map(_DATA_SET_NAME.fullmatch, names)) else []


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing: run from a complete copy of the project") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(declared, dict):
        raise SettingsError(f"{path} must hold source, data_sets, databases, folders, extract and sample")
    return cast(Mapping[str, Any], declared)


def _section(declared: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
    section = declared.get(name)
    if not isinstance(section, dict):
        raise SettingsError(f"pipeline.yml: {where}{name} is missing or not a mapping")
    return cast(Mapping[str, Any], section)


def _text(section: Mapping[str, Any], where: str, name: str) -> str:
    value = section.get(name)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"pipeline.yml: {where}.{name} is missing or not a text")
    return value


def _matching(pattern: re.Pattern[str], value: str, where: str) -> str:
    if not pattern.fullmatch(value):
        raise SettingsError(f"pipeline.yml: {where} is {value!r}, which does not match {pattern.pattern}")
    return value


def _filled(section: Mapping[str, Any], where: str, name: str, names: Mapping[str, str]) -> str:
    template = _text(section, where, name)
    try:
        return template.format_map(names)
    except (KeyError, ValueError, IndexError, AttributeError):
        known = ", ".join(f"{{{key}}}" for key in names)
        raise SettingsError(f"pipeline.yml: {where}.{name} is {template!r}; it may name {known}") from None


def _choose_mode(mode: str) -> Mode:
    if mode not in MODES:
        raise SettingsError(f"MODE is {mode!r}, expected {' or '.join(MODES)}")
    return cast(Mode, mode)


def _choose_data_set(name: str, names: Collection[str]) -> str:
    if name not in names:
        raise SettingsError(f"DATASET is {name!r}, expected {' or '.join(names)} (declared in pipeline.yml)")
    return name


def _source(environ: Mapping[str, str], declared: Mapping[str, Any], mode: Mode) -> SourceSettings:
    defaults = _section(declared, "defaults", "source.") if "defaults" in declared else {}
    kind, reason, address, path = _choose_source(environ, mode, {**_DEFAULT_SOURCES, **defaults})
    where = f"source.prefixes.{mode}"
    if address is None:
        bucket = _matching(_BUCKET, _text(declared, "source", "bucket"), "source.bucket")
        prefix = _section(declared, "prefixes", "source.").get(mode)
        if not isinstance(prefix, str):
            raise SettingsError(f"pipeline.yml: {where} is missing or not a text")
    else:
        bucket, prefix = address
    if not _is_prefix(prefix):
        raise SettingsError(f"pipeline.yml: {where} is {prefix!r}, expected the beginning of a key of S3, or ''")
    requester_pays = declared.get("requester_pays", False)
    if not isinstance(requester_pays, bool):
        raise SettingsError(f"pipeline.yml: source.requester_pays is {requester_pays!r}, expected true or false")
    return SourceSettings(kind, reason, bucket, prefix, requester_pays, path)


def _choose_source(
    environ: Mapping[str, str], mode: Mode, defaults: Mapping[str, Any]
) -> tuple[SourceKind, str, tuple[str, str] | None, Path | None]:
    """Choose the kind of source, say why, and give the bucket and the prefix, or the path, that are named for it."""
    wish, where = environ.get("SOURCE") or None, "SOURCE"
    reason = f"SOURCE is {wish}"
    if wish is None and mode == "development":
        names = [name for name in _WISHES_FOR_S3 if environ.get(name)]
        wish, reason = ("s3", f"{names[0]} is set") if names else (None, "")
    if wish is None:
        where = f"pipeline.yml: source.defaults.{mode}"
        wish, reason = _text(defaults, "source.defaults", mode), f"the default in {mode} mode"
    address, path = None, None
    kind: SourceKind = "generated" if wish == "generated" else "s3"
    if wish.startswith("s3://"):
        bucket, _, prefix = wish.removeprefix("s3://").partition("/")
        address = bucket, prefix.removesuffix("/")
        if not _BUCKET.fullmatch(bucket) or not _is_prefix(address[1]):
            raise SettingsError(f"{where} is {wish!r}, which is no address such as s3://bucket/prefix")
    elif wish not in ("generated", "s3"):
        kind, path = "files", _existing(wish, where)
        reason = "SOURCE names it" if where == "SOURCE" else reason
    if kind == "s3":
        of_aws = [name for name in environ if name.startswith("AWS_")]
        _require_sendable(environ, {name: _CREDENTIALS.get(name, _CONTROL) for name in of_aws})
    return kind, reason, address, path


def _existing(wish: str, where: str) -> Path:
    """Find the folder or the file that is named as a source; a relative name starts from where the command is given."""
    try:
        path = Path(wish).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"{where} is {wish!r}, expected generated, s3, s3://bucket/prefix, or a folder or an archive on this"
            f" machine ({getattr(error, 'strerror', None) or 'no such path'})"
        ) from None
    if len(file_uri(path)) > _LONGEST_FILE_URI:
        raise SettingsError(f"{where} is {wish!r}: its name is too long: give the folder a shorter one")
    return path


def _is_prefix(prefix: str) -> bool:
    is_key = _PREFIX.fullmatch(prefix) and prefix.isprintable() and prefix == prefix.strip()
    return bool(is_key) and len(prefix.encode()) <= _LONGEST_PREFIX


def _require_sendable(environ: Mapping[str, str], patterns: Mapping[str, re.Pattern[str]]) -> None:
    """Refuse, by the variable's name, what no request can carry: the server or the driver would tell it as a fault.

    Nothing is said of the value, which may be a secret.
    """
    for name, pattern in sorted(patterns.items()):
        value = environ.get(name, "")
        if pattern.search(value):
            at_end = value.endswith(("\n", "\r"))
            what = "ends in a line break" if at_end else "holds a blank, a control character or a letter beyond ASCII"
            raise SettingsError(f"{name} {what}: set it without")


def _data_sets(section: Mapping[str, Any]) -> Mapping[str, DataSet]:
    return {str(name): _data_set(str(name), section) for name in section}


def _data_set(name: str, section: Mapping[str, Any]) -> DataSet:
    where = f"data_sets.{name}"
    _matching(_DATA_SET_NAME, name, "a name under data_sets")
    declared = _section(section, name, "data_sets.")
    members = _section(declared, "members", f"{where}.")
    files = {
        kind: _matching(_FILE_NAME, _text(members, f"{where}.members", kind), f"{where}.members.{kind}")
        for kind in RECORD_KINDS
    }
    if len(set(files.values())) < len(files):
        raise SettingsError(f"pipeline.yml: {where}.members names one file for two kinds of records")
    names = declared.get("archive")
    names = names if isinstance(names, list) and names else [_text(declared, where, "archive")]
    archives = [_matching(_FILE_NAME, str(each), f"{where}.archive") for each in names]
    stems = dict.fromkeys(_without_ending(each) for each in archives)
    every = dict.fromkeys([*archives, *(stem + ending for stem in stems for ending in ARCHIVE_ENDINGS)])
    return DataSet(name=name, archive=archives[0], names=tuple(every), members=files)


def _without_ending(name: str) -> str:
    return next((name.removesuffix(ending) for ending in ARCHIVE_ENDINGS if name.endswith(ending)), name)


def _steps(declared: Any) -> tuple[Step, ...]:
    if not isinstance(declared, list) or not declared:
        raise SettingsError("pipeline.yml: extract must list at least one step")
    return tuple(_step(item, number) for number, item in enumerate(declared, start=1))


def _step(declared: Any, number: int) -> Step:
    where = f"extract, step {number}"
    if not isinstance(declared, dict):
        raise SettingsError(f"pipeline.yml: {where} must have a name and a task")
    parameters = {str(key): value for key, value in declared.items() if key not in ("name", "task")}
    task = _task(declared, where)
    name = _matching(_STEP_NAME, _text(declared, where, "name"), f"{where}, name")
    return Step(name=name, task=task, parameters=parameters)


def _task(declared: Mapping[str, Any], where: str) -> str:
    return _matching(_TASK_NAME, _text(declared, where, "task"), f"{where}, task")


def _sample(section: Mapping[str, Any]) -> Mapping[str, Any]:
    _refuse_unknown(section, "sample", ("task", *SAMPLE_PARAMETERS))
    missing = [name for name in SAMPLE_PARAMETERS if section.get(name) is None]
    if missing:
        raise SettingsError(f"pipeline.yml: sample.{missing[0]} is missing")
    return {name: section[name] for name in SAMPLE_PARAMETERS}


def _refuse_unknown(section: Mapping[str, Any], where: str, known: tuple[str, ...]) -> None:
    unknown = [str(name) for name in section if name not in known]
    if unknown:
        raise SettingsError(f"pipeline.yml: {where}.{unknown[0]} is unknown, expected {' or '.join(known)}")


def read_mysql(environ: Mapping[str, str], root: Path) -> MysqlSettings:
    """Read where the server is, from `MYSQL_*`.

    Args:
        environ: the variables.
        root: the project's folder, with the embedded server and that which a relative `MYSQL_SSL_CA` starts from.

    Raises:
        SettingsError: a variable makes no sense.
    """
    host = environ.get("MYSQL_HOST") or None
    socket = root / ".embedded" / "mysql.sock"
    if host is None:
        return MysqlSettings(host=None, port=0, user="root", password="", unix_socket=socket)
    _require_sendable(environ, {"MYSQL_HOST": _CONTROL, "MYSQL_USER": _CONTROL, "MYSQL_PASSWORD": _LINE_BREAK})
    port = environ.get("MYSQL_PORT") or "3306"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"MYSQL_PORT is {port!r}, expected a number from 1 to 65535")
    user = environ.get("MYSQL_USER")
    if not user:
        raise SettingsError("MYSQL_HOST is set but MYSQL_USER is not: set MYSQL_USER and MYSQL_PASSWORD")
    return MysqlSettings(
        host=host,
        port=int(port),
        user=user,
        password=environ.get("MYSQL_PASSWORD", ""),
        unix_socket=socket,
        tls=_tls(environ, root),
    )


def _tls(environ: Mapping[str, str], root: Path) -> TlsSettings:
    """Read `MYSQL_SSL_MODE` and `MYSQL_SSL_CA`. A CA alone means verify_ca, as it does to MySQL's own clients."""
    ca = environ.get("MYSQL_SSL_CA") or None
    mode = (environ.get("MYSQL_SSL_MODE") or ("verify_ca" if ca else "preferred")).lower()
    if mode not in TLS_MODES:
        raise SettingsError(f"MYSQL_SSL_MODE is {mode!r}, expected {', '.join(TLS_MODES[:-1])} or {TLS_MODES[-1]}")
    if mode not in _VERIFYING_MODES:
        if ca:
            raise SettingsError(
                f"MYSQL_SSL_CA is set, but MYSQL_SSL_MODE {mode} verifies nothing: use verify_ca or verify_identity"
            )
        return TlsSettings(cast(TlsMode, mode))
    if not ca:
        raise SettingsError(f"MYSQL_SSL_MODE is {mode} but MYSQL_SSL_CA is not set: name the file of the CA (PEM)")
    path = root / ca  # dbt, which is run from the root, finds the same file
    return TlsSettings(cast(TlsMode, mode), ca_file=path, ca_certificates=_read_certificates(path))


def _read_certificates(path: Path) -> str:
    try:
        certificates = path.read_text(encoding="ascii", errors="ignore")  # bundles name their authorities in comments
    except OSError as error:
        raise SettingsError(f"MYSQL_SSL_CA: {path} cannot be read: {error.strerror or error}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"MYSQL_SSL_CA: {path} is not a file of certificates in PEM") from None
    return certificates
